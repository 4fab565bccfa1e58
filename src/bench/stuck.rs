//! A stuck reader: the same while another session holds a transaction open, so that nothing dead can be tidied away.

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::time::{Duration, Instant};

use super::burst::{Bench, confirmed, heard};
use super::rig::Database;
use super::runs::Runs;
use super::table::{Figure, Goal};
use super::whole;

const ROUND: &str = "a stuck reader: a transaction is held open the whole time";

pub(super) async fn round(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let database = bench.rig.database("stuck").await?;
    let mut runs = Runs::new(ROUND);
    for run in 1..=bench.plan.runs {
        bench.tell(&format!("without a stuck reader and with one, run {run} of {}", bench.plan.runs));
        runs.add("without", whole::at_saturation(bench, &database).await?);
        let reader = held(&database).await?;
        runs.add("whole path at saturation", whole::at_saturation(bench, &database).await?);
        if bench.rig.count_statements(&database).await? {
            let (first, last) = claims(bench, &database).await?;
            runs.add("a claim in the first fifth of a backlog", first);
            runs.add("a claim in the last fifth of a backlog", last);
        }
        reader.close().await?;
        database.execute("vacuum feedback").await?;
    }
    let figures = [
        runs.ratio("whole path at saturation", "events/s", "without", "without the reader", None),
        runs.ratio(
            "a claim in the last fifth of a backlog",
            "µs a row",
            "a claim in the first fifth of a backlog",
            "one in the first fifth",
            Some(Goal::AtMost(2.0)),
        ),
    ];
    Ok(figures.into_iter().flatten().collect())
}

/// A session with a snapshot that stays.
async fn held(database: &Database) -> anyhow::Result<PgConnection> {
    let mut reader = PgConnection::connect(&database.url).await?;
    sqlx::raw_sql("begin isolation level repeatable read; select count(*) from feedback").execute(&mut reader).await?;
    Ok(reader)
}

/// Drains a backlog, and gives how long Postgres took to claim a row in the first and in the last fifth of it.
async fn claims(bench: &mut Bench, database: &Database) -> anyhow::Result<(f64, f64)> {
    let number = bench.plan.small_backlog;
    let from = bench.numbers(number);
    database.owe(from, number).await?;
    bench.rig.count_statements(database).await?;
    let in_all = heard(&bench.sink).await? + u64::from(number);
    let mut confirmd = bench.confirmd(database, "worker", 64).await?;
    let until = Instant::now() + Duration::from_secs(120);
    let mut first = None;
    let mut until_four_fifths = None;
    while heard(&bench.sink).await? < in_all && Instant::now() < until {
        let so_far = claimed(database).await?;
        if first.is_none() && f64::from(number) / 5.0 <= so_far.rows {
            first = Some(so_far);
        }
        if until_four_fifths.is_none() && f64::from(number) / 5.0 * 4.0 <= so_far.rows {
            until_four_fifths = Some(so_far);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    confirmed(database, &mut confirmd, &bench.sink, in_all).await?;
    let all = claimed(database).await?;
    bench.rig.statements(database).await?;
    confirmd.stop().await?;
    let (first, rest) = (first.unwrap_or(all), until_four_fifths.unwrap_or(all));
    let last = Claimed { ms: all.ms - rest.ms, rows: all.rows - rest.rows };
    Ok((first.us_a_row(), last.us_a_row()))
}

/// How long claims took so far, and how many rows they gave.
#[derive(Clone, Copy)]
struct Claimed {
    ms: f64,
    rows: f64,
}

impl Claimed {
    fn us_a_row(self) -> f64 {
        self.ms * 1e3 / self.rows.max(1.0)
    }
}

async fn claimed(database: &Database) -> anyhow::Result<Claimed> {
    let (ms, rows): (f64, f64) = sqlx::query_as(
        "select coalesce(sum(total_exec_time), 0)::float8, coalesce(sum(rows), 0)::float8 from pg_stat_statements
         where dbid = (select oid from pg_database where datname = current_database())
           and query like '-- Outbox::claim%'",
    )
    .fetch_one(&database.pool)
    .await?;
    Ok(Claimed { ms, rows })
}
