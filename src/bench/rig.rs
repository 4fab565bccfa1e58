//! The bench's own Postgres, its databases, and what Postgres says of itself.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use super::{ids, os};
use crate::postgres::{Afterwards, EmbeddedOptions, EmbeddedPostgres};
use crate::store;

/// What differs from what `confirmd dev` starts, besides the memory: room for the log, so that no checkpoint falls into one
/// run and not into the next; and no archive, nor helpers of the two who make the history, so that it is made quickly.
const SETTINGS: [&str; 6] = [
    "max_wal_size=8GB",
    "checkpoint_timeout=30min",
    "wal_level=minimal",
    "max_wal_senders=0",
    "maintenance_work_mem=1GB",
    "max_parallel_maintenance_workers=0",
];

/// A Postgres of its own, with everything durable; gone afterwards, however we end.
pub(super) struct Rig {
    postgres: EmbeddedPostgres,
    pid: u32,
    counts_statements: bool,
}

impl Rig {
    pub(super) async fn start(data: &Path, missing: &mut Vec<String>) -> anyhow::Result<Self> {
        let mut options =
            EmbeddedOptions { afterwards: Afterwards::Remove, max_connections: 100, ..EmbeddedOptions::lasting(data) };
        options.settings = SETTINGS.iter().map(|setting| (*setting).to_owned()).collect();
        options.settings.push(format!("shared_buffers={}MB", shared_buffers()));
        let counts_statements = can_count_statements();
        if counts_statements {
            options.settings.push("shared_preload_libraries=pg_stat_statements".into());
        } else {
            missing.push("statements: this Postgres comes without pg_stat_statements".into());
        }
        let postgres = tokio::task::spawn_blocking(move || EmbeddedPostgres::start(options)).await??;
        let pid_file = postgres.data_dir().join("cluster/postmaster.pid");
        let pid = std::fs::read_to_string(&pid_file)?.lines().next().and_then(|line| line.parse().ok());
        Ok(Self { pid: pid.context("the server does not tell its process id")?, postgres, counts_statements })
    }

    /// A database with confirmd's schema.
    pub(super) async fn database(&self, name: &str) -> anyhow::Result<Database> {
        let database = self.empty_database(name).await?;
        store::migrate(&database.url.parse()?).await?;
        Ok(database)
    }

    /// A database with nothing in it.
    pub(super) async fn empty_database(&self, name: &str) -> anyhow::Result<Database> {
        self.postgres.create_database_if_absent(name).await?;
        let url = self.postgres.url(name);
        let connect: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new().max_connections(3).connect_with(connect.disable_statement_logging()).await?;
        let database = Database { url, pool };
        if self.counts_statements {
            database.execute("create extension if not exists pg_stat_statements").await?;
            // Not on the server's command line, which nothing could overrule later.
            database.execute("alter system set pg_stat_statements.track = 'none'").await?;
            database.execute("select pg_reload_conf()").await?;
        }
        Ok(database)
    }

    /// Counts statements from now on, from none.
    pub(super) async fn count_statements(&self, database: &Database) -> anyhow::Result<bool> {
        if self.counts_statements {
            database.execute("alter system set pg_stat_statements.track = 'top'").await?;
            database.execute("select pg_reload_conf()").await?;
            database.execute("select pg_stat_statements_reset()").await?;
        }
        Ok(self.counts_statements)
    }

    /// Statements that confirmd ran since, in this database; and counts no more.
    pub(super) async fn statements(&self, database: &Database) -> anyhow::Result<f64> {
        let ran = "select coalesce(sum(calls), 0)::bigint from pg_stat_statements
                   where dbid = (select oid from pg_database where datname = current_database()) and query like '-- %::%'";
        let ran = database.number(ran).await?;
        database.execute("alter system set pg_stat_statements.track = 'none'").await?;
        database.execute("select pg_reload_conf()").await?;
        Ok(ran as f64)
    }

    /// Processor time of the server and all its sessions so far.
    pub(super) fn cpu(&self) -> Option<Duration> {
        os::cpu_with_children(self.pid)
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(|| self.postgres.stop()).await?.context("cannot stop Postgres")
    }
}

/// In MiB: a quarter of the memory, where the manual tells to begin.
/// <https://www.postgresql.org/docs/current/runtime-config-resource.html#GUC-SHARED-BUFFERS>
pub(super) fn shared_buffers() -> u64 {
    os::memory().map_or(1024, |memory| (memory / 4).max(128))
}

/// Where builds of Postgres keep their libraries, seen from their programs.
fn can_count_statements() -> bool {
    let Ok(programs) = EmbeddedPostgres::programs() else { return false };
    let places = ["../lib", "../lib/postgresql", "../lib64"];
    let names = ["pg_stat_statements.so", "pg_stat_statements.dylib"];
    places.iter().any(|place| names.iter().any(|name| programs.join(place).join(name).exists()))
}

/// One database of the rig.
#[derive(Clone, Debug)]
pub(super) struct Database {
    pub(super) url: String,
    pub(super) pool: PgPool,
}

impl Database {
    pub(super) async fn number(&self, sql: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(sql).fetch_one(&self.pool).await?)
    }

    pub(super) async fn version(&self) -> anyhow::Result<String> {
        let version: String =
            sqlx::query_scalar("select current_setting('server_version')").fetch_one(&self.pool).await?;
        Ok(format!("PostgreSQL {version}"))
    }

    /// Bytes of write-ahead log that the server has written so far.
    pub(super) async fn wal(&self) -> anyhow::Result<i64> {
        self.number("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint").await
    }

    /// Pages that the server has written to its log whole so far: those touched for the first time since a checkpoint.
    /// Postgres tells since version 14.
    pub(super) async fn full_pages(&self) -> Option<i64> {
        self.number("select wal_fpi::bigint from pg_stat_wal").await.ok()
    }

    /// Rows of the hot table that wait for a vacuum.
    pub(super) async fn dead_tuples(&self) -> anyhow::Result<i64> {
        self.number("select n_dead_tup from pg_stat_user_tables where relname = 'feedback'").await
    }

    /// Looks at one row at most, so that looking often costs nothing.
    pub(super) async fn owes_something(&self) -> anyhow::Result<bool> {
        Ok(self.number("select count(*) from (select from feedback limit 1) as one").await? != 0)
    }

    pub(super) async fn execute(&self, sql: impl Into<String>) -> anyhow::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&self.pool).await?;
        Ok(())
    }

    /// Registers messages, each for an action of its own.
    pub(super) async fn map(&self, from: u32, number: u32) -> anyhow::Result<()> {
        self.by_two(
            "with told as (select * from unnest($1::text[], $2::text[]) as told (message_sid, action_id)),
            actions as (
                insert into action (namespace, action_id, first_seen_at) select $4, action_id, now() from told
            )
            insert into message (message_sid, account_sid, namespace, action_id, sent_at, registered_at)
            select message_sid, $3, $4, action_id, now(), now() from told",
            from,
            number,
        )
        .await
    }

    /// Owes Twilio so many messages that nobody has tried yet.
    pub(super) async fn owe(&self, from: u32, number: u32) -> anyhow::Result<()> {
        self.by_two(
            "with told as (select * from unnest($1::text[], $2::text[]) as told (message_sid, action_id)),
            owed as (
                insert into message (message_sid, account_sid, namespace, action_id, sent_at, registered_at, owed_at, last_event_at)
                select message_sid, $3, $4, action_id, now(), now(), now(), now() from told
                returning message_sid, account_sid
            )
            insert into feedback (message_sid, account_sid, known_at, owed_at, due_at)
            select message_sid, account_sid, now(), now(), now() from owed",
            from,
            number,
        )
        .await?;
        self.execute("analyze feedback").await
    }

    /// What intake alone has left behind, as if it had been delivered.
    pub(super) async fn confirm_what_is_owed(&self) -> anyhow::Result<()> {
        self.execute(
            "insert into confirmation (message_sid, account_sid, attempts, confirmed_at, number, status, took_ms)
             select message_sid, account_sid, 1, now(), 1, 201, 0 from feedback;
             truncate feedback",
        )
        .await
    }

    /// Says it of each number, by two clients: as many as there are processors.
    async fn by_two(&self, sql: &'static str, from: u32, number: u32) -> anyhow::Result<()> {
        let middle = from + number / 2;
        let say = async |some: Range<u32>| {
            for from in some.clone().step_by(A_STATEMENT) {
                let numbers = || (from..some.end).take(A_STATEMENT);
                sqlx::query(sql)
                    .bind(numbers().map(|n| ids::message_sid(n).to_string()).collect::<Vec<_>>())
                    .bind(numbers().map(|n| ids::action_id(n).to_string()).collect::<Vec<_>>())
                    .bind(ids::ACCOUNT_SID)
                    .bind(ids::NAMESPACE)
                    .execute(&self.pool)
                    .await?;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(say(from..middle), say(middle..from + number))?;
        Ok(())
    }
}

/// Rows that one statement of the bench's own makes.
const A_STATEMENT: usize = 5_000;
