//! Opening the store: pools, schema, writers.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::migrate::{Migrate as _, MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::task::JoinSet;

use super::clock::Clock;
use super::session::{SessionOptions, Sessions};
use super::{Doors, Inbox, InboxOptions, Ledger, Operator, Outbox, OutboxOptions, StoreError, Upkeep, UpkeepOptions};
use crate::domain::{AccountSid, Actor};

/// Everything about the store that somebody decides.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub connect: PgConnectOptions,
    /// For the writers of the inbox.
    pub intake: SessionOptions,
    /// For claiming and settling.
    pub delivery: SessionOptions,
    /// For receipts, lists, operators' commands and upkeep.
    pub reads: SessionOptions,
    pub inbox: InboxOptions,
    pub outbox: OutboxOptions,
    pub upkeep: UpkeepOptions,
    /// Lanes that are shown even when they have nothing to do.
    pub accounts: Vec<AccountSid>,
    pub clock: Clock,
}

/// The store: one Postgres, and nothing else.
#[derive(Clone)]
pub struct Store {
    pub inbox: Inbox,
    pub outbox: Outbox,
    pub ledger: Ledger,
    pub operator: Operator,
    pub upkeep: Upkeep,
    intake: Sessions,
    delivery: Sessions,
    reads: Sessions,
    clock: Clock,
    inbox_options: InboxOptions,
}

impl Store {
    /// Connects nothing yet: each pool connects when it is used.
    pub fn new(options: StoreOptions) -> Self {
        let StoreOptions { connect, intake, delivery, reads, inbox, outbox, upkeep, accounts, clock } = options;
        let intake = Sessions::new(connect.clone(), "intake", &intake);
        let delivery = Sessions::new(connect.clone(), "delivery", &delivery);
        let reads = Sessions::new(connect, "reads", &reads);
        Self {
            inbox: Inbox::new(&inbox),
            outbox: Outbox { sessions: delivery.clone(), clock: clock.clone(), options: outbox },
            ledger: Ledger { sessions: reads.clone(), clock: clock.clone(), accounts: accounts.clone() },
            operator: Operator { sessions: reads.clone(), clock: clock.clone(), accounts, actor: Actor::process() },
            // Its statements read much at times, and Postgres knows best how.
            upkeep: Upkeep { sessions: reads.clone(), clock: clock.clone(), options: upkeep },
            intake,
            delivery,
            reads,
            clock,
            inbox_options: inbox,
        }
    }

    /// Starts the writers of the inbox. What a lane behind one of these doors has room for is handed over at once.
    pub fn start_writers(&self, doors: &Doors) -> JoinSet<()> {
        self.inbox.start(&self.intake, &self.clock, doors, &self.inbox_options)
    }

    /// No more is taken; what has queued is still written, and then the writers end.
    pub fn close_inbox(&self) {
        self.inbox.close();
    }

    /// Connections that are open and, of these, idle, by pool: for the metrics.
    pub fn pools(&self) -> [(&'static str, u32, usize); 3] {
        [("intake", &self.intake), ("delivery", &self.delivery), ("reads", &self.reads)]
            .map(|(name, sessions)| (name, sessions.pool().size(), sessions.pool().num_idle()))
    }

    /// Closes the pools.
    pub async fn close(&self) {
        for sessions in [&self.intake, &self.delivery, &self.reads] {
            sessions.pool().close().await;
        }
    }

    /// How much an acknowledged commit survives.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn durability(&self) -> Result<Durability, StoreError> {
        let (fsync, standbys): (String, String) = self
            .reads
            .run(|session| {
                Box::pin(async move {
                    sqlx::query_as(
                        "-- Store::durability
                        select current_setting('fsync'), current_setting('synchronous_standby_names')",
                    )
                    .fetch_one(session)
                    .await
                })
            })
            .await?;
        Ok(match (fsync.as_str(), standbys.is_empty()) {
            ("on", true) => Durability::Local,
            ("on", false) => Durability::Standby,
            _ => Durability::None,
        })
    }
}

/// What an acknowledged commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// `fsync` is off: a crash of the machine may lose it. For tests only.
    None,
    /// A crash of every process; a failover may lose the last moments.
    Local,
    /// A failover, too: a synchronous standby has it.
    Standby,
}

/// Longest wait of a migration for a lock. Everybody behind it waits, too, and must not come to the end of
/// `database.lock_timeout` by that: callers would be answered 503.
const MIGRATION_LOCK_TIMEOUT: Duration = Duration::from_millis(500);
/// How often a migration that met a lock is tried, before somebody is asked to look: for half a minute.
const MIGRATION_TRIES: u32 = 60;

/// Brings the schema up to date. One at a time: others wait for it and find nothing to do. Gives what was applied.
///
/// # Errors
/// Where Postgres cannot be reached, refuses, or holds a migration that was changed since it ran.
pub async fn migrate(connect: &PgConnectOptions) -> Result<Vec<i64>, StoreError> {
    let pending = pending_migrations(connect).await?;
    let mut tries = 0;
    loop {
        tries += 1;
        // A pool of one: sqlx's migrator, given a bare connection, is no future that a task may be spawned around.
        let pool = PgPoolOptions::new().max_connections(1).after_connect(|session, _| Box::pin(limit_lock(session)));
        let pool = pool.connect_with(connect.clone()).await?;
        let done = migrate_and_grant(&pool).await;
        pool.close().await;
        match done {
            Ok(()) => return Ok(pending),
            Err(error) => match refusal(&error) {
                Some((code, _)) if code == LOCK_NOT_AVAILABLE && tries < MIGRATION_TRIES => {
                    tracing::info!(tries, "Waiting for a lock to migrate the schema; somebody else holds it");
                }
                Some((code, told)) if code == INSUFFICIENT_PRIVILEGE => {
                    return Err(StoreError::MayNotMigrate(told.to_owned()));
                }
                _ => return Err(error.into()),
            },
        }
    }
}

async fn migrate_and_grant(pool: &PgPool) -> Result<(), MigrateError> {
    migrations().run(pool).await?;
    let separate: bool = sqlx::query_scalar(
        "select count(*) = 3 from pg_roles where rolname in ('confirmd_migrate', 'confirmd_app', 'confirmd_read')",
    )
    .fetch_one(pool)
    .await?;
    // Where there is one role for all, it needs no grants.
    if separate {
        sqlx::raw_sql(PRIVILEGES).execute(pool).await?;
    }
    Ok(())
}

/// What the separate roles may do. Beside the file that makes them, because who operates Postgres reads both.
const PRIVILEGES: &str = include_str!("../../deploy/postgres/privileges.sql");

async fn limit_lock(session: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("select set_config('lock_timeout', $1, false)")
        .bind(format!("{}ms", MIGRATION_LOCK_TIMEOUT.as_millis()))
        .execute(session)
        .await
        .map(drop)
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
const LOCK_NOT_AVAILABLE: &str = "55P03";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// With which code, and in which words, Postgres refused a migration.
fn refusal(error: &MigrateError) -> Option<(Cow<'_, str>, &str)> {
    let (MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) = error else { return None };
    let refused = cause.as_database_error()?;
    Some((refused.code()?, refused.message()))
}

/// How long a Postgres may take to say which migrations it has: one that says nothing must not keep us waiting.
pub(super) const SCHEMA_DEADLINE: Duration = Duration::from_secs(5);

/// How the schema stands to this binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaVersions {
    /// Migrations that this binary knows and the database does not have: it cannot work without them.
    pub pending: Vec<i64>,
    /// Migrations that the database has and this binary does not know, because a newer one applied them. They only add, so
    /// that this one goes on: deploy/UPGRADING.md.
    pub newer: Vec<i64>,
}

/// Compares the schema with what this binary knows.
///
/// # Errors
/// Where Postgres cannot be reached, does not answer in time, or refuses.
pub async fn schema_versions(connect: &PgConnectOptions) -> Result<SchemaVersions, StoreError> {
    tokio::time::timeout(SCHEMA_DEADLINE, ask_schema_versions(connect)).await.map_err(|_| StoreError::Deadline)?
}

/// Migrations that this binary knows and the database does not have.
///
/// # Errors
/// As [`schema_versions`].
pub async fn pending_migrations(connect: &PgConnectOptions) -> Result<Vec<i64>, StoreError> {
    Ok(schema_versions(connect).await?.pending)
}

/// The same, with what each of them would do.
///
/// # Errors
/// As [`pending_migrations`].
pub async fn pending_statements(connect: &PgConnectOptions) -> Result<Vec<PendingMigration>, StoreError> {
    let pending = pending_migrations(connect).await?;
    let migrations = migrations();
    let found = migrations.iter().filter(|migration| pending.contains(&migration.version));
    let told = |migration: &sqlx::migrate::Migration| PendingMigration {
        version: migration.version,
        description: migration.description.to_string(),
        sql: migration.sql.as_str().to_owned(),
    };
    Ok(found.map(told).collect())
}

/// A migration that this binary knows and the database does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingMigration {
    pub version: i64,
    pub description: String,
    pub sql: String,
}

async fn ask_schema_versions(connect: &PgConnectOptions) -> Result<SchemaVersions, StoreError> {
    let mut session: PgConnection = connect.connect().await?;
    let known: bool =
        sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null").fetch_one(&mut session).await?;
    let applied: Vec<i64> = if known {
        session.list_applied_migrations("_sqlx_migrations").await?.iter().map(|applied| applied.version).collect()
    } else {
        Vec::new()
    };
    session.close().await?;
    let known: Vec<i64> = migrations().iter().map(|migration| migration.version).collect();
    let without = |these: &[i64], those: &[i64]| these.iter().filter(|one| !those.contains(one)).copied().collect();
    Ok(SchemaVersions { pending: without(&known, &applied), newer: without(&applied, &known) })
}

/// A newer binary may have migrated before: what it added does not stop this one.
fn migrations() -> Migrator {
    let mut migrations = sqlx::migrate!();
    migrations.set_ignore_missing(true);
    migrations
}
