//! Taking events: alone, beside the obvious design, beside the raw limit; and in batches.

use std::time::Duration;

use tokio::time::Instant;

use super::burst::{Bench, Burst, Measured};
use super::ids;
use super::part::Serving;
use super::rig::Database;
use super::runs::Runs;
use super::table::{Figure, Goal};

const ROUND: &str = "intake: single events with keys of their own, nothing delivered";
const BATCHES: &str = "batch intake: /v1/events/batch, 8 connections";
const OBVIOUS: &str = "the obvious design (a transaction and an insert each, pool of 10)";

/// How many times the obvious design it should be, by connections.
const fn goal(connections: u32) -> Option<Goal> {
    match connections {
        16 => Some(Goal::AtLeast(1.2)),
        64 => Some(Goal::AtLeast(2.2)),
        256 => Some(Goal::AtLeast(3.5)),
        _ => None,
    }
}

/// The most that intake may cost, service and Postgres together, in microseconds of processor time an event.
const MOST_CPU_US: f64 = 55.0;

pub(super) async fn round(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let (ours, theirs) = (bench.rig.database("intake").await?, bench.rig.database("obvious").await?);
    let mut confirmd = bench.confirmd(&ours, "intake", 64).await?;
    let mut pool_of_10 = bench.obvious(&theirs, 10, false).await?;
    let mut pool_of_32 = bench.obvious(&theirs, 32, false).await?;
    let mut runs = Runs::new(ROUND);
    let plan = bench.plan.clone();
    for connections in plan.connections {
        for run in 1..=plan.runs {
            bench.tell(&format!("intake at {connections} connections, run {run} of {}", plan.runs));
            let measured = single(bench, &ours, &mut confirmd, *connections, true).await?;
            note(&mut runs, *connections, "confirmd", &measured);
            let measured = single(bench, &theirs, &mut pool_of_10, *connections, false).await?;
            note(&mut runs, *connections, "obvious, pool of 10", &measured);
            let measured = single(bench, &theirs, &mut pool_of_32, *connections, false).await?;
            note(&mut runs, *connections, "obvious, pool of 32", &measured);
        }
    }
    for run in 1..=plan.runs {
        bench.tell(&format!("the raw limit, run {run} of {}", plan.runs));
        let raw = raw(bench, &theirs).await?;
        runs.add("the same event rows by inserts of 1,000 from one client", raw);
    }
    for server in [confirmd, pool_of_10, pool_of_32] {
        server.stop().await?;
    }
    Ok(figures(&runs, plan.connections))
}

async fn single(
    bench: &mut Bench,
    database: &Database,
    server: &mut Serving,
    connections: u32,
    map: bool,
) -> anyhow::Result<Measured> {
    let (during, most) = (bench.plan.burst, bench.plan.most());
    let burst = Burst { database, connections, during, most, batch: 1, rate: None, map, until_confirmed: false };
    bench.burst(server, &burst).await
}

fn note(runs: &mut Runs, connections: u32, who: &str, measured: &Measured) {
    let name = |what: &str| format!("{connections} connections, {who}{what}");
    runs.add(name(""), measured.accepted_per_second);
    runs.add(name(", p50"), measured.load.p50_ms);
    runs.add(name(", p99"), measured.load.p99_ms);
    runs.add(name(", log"), measured.wal_bytes);
    if let (Some(service), Some(postgres)) = (measured.service_us, measured.postgres_us) {
        runs.add(name(", service"), service);
        runs.add(name(", Postgres"), postgres);
        runs.add(name(", both"), service + postgres);
    }
}

fn figures(runs: &Runs, connections: &[u32]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for n in connections {
        let name = |who: &str, what: &str| format!("{n} connections, {who}{what}");
        let (confirmd, ten) = (|what| name("confirmd", what), |what| name("obvious, pool of 10", what));
        figures.push(runs.ratio(&confirmd(""), "events/s", &ten(""), OBVIOUS, goal(*n)));
        figures.push(runs.figure(&ten(""), "events/s", None));
        figures.push(runs.figure(&name("obvious, pool of 32", ""), "events/s", None));
        let below = (*n == 256).then_some(Goal::AtMost(1.0));
        figures.push(runs.ratio(&confirmd(", p50"), "ms", &ten(", p50"), "the obvious design's", below));
        figures.push(runs.ratio(&confirmd(", p99"), "ms", &ten(", p99"), "the obvious design's", below));
        let cpu = (*n == 256).then_some(Goal::AtMost(MOST_CPU_US));
        figures.push(runs.figure(&confirmd(", both"), "µs of CPU/event", cpu));
        figures.push(runs.figure(&confirmd(", service"), "µs of CPU/event", None));
        figures.push(runs.figure(&confirmd(", Postgres"), "µs of CPU/event", None));
        figures.push(runs.figure(&ten(", both"), "µs of CPU/event", None));
        figures.push(runs.figure(&confirmd(", log"), "bytes/event", None));
    }
    figures.push(runs.figure("the same event rows by inserts of 1,000 from one client", "events/s", None));
    figures.into_iter().flatten().collect()
}

/// The event rows alone, as fast as one client can insert them: what no service is faster than.
async fn raw(bench: &mut Bench, database: &Database) -> anyhow::Result<f64> {
    let until = Instant::now() + bench.plan.burst;
    let began = Instant::now();
    let mut inserted = 0.0;
    while Instant::now() < until {
        let from = bench.numbers(1000);
        let numbers: Vec<u32> = (from..from + 1000).collect();
        sqlx::query(
            "insert into event (namespace, event_id, action_id, fingerprint, resolve, occurred_at, accepted_at, state, message_sids)
            select $1, event_id, action_id, $4, 'latest', now(), now(), 'parked', '{}'
            from unnest($2::text[], $3::text[]) as told (event_id, action_id)",
        )
        .bind(ids::NAMESPACE)
        .bind(numbers.iter().map(|n| ids::event_id(*n).to_string()).collect::<Vec<_>>())
        .bind(numbers.iter().map(|n| ids::action_id(*n).to_string()).collect::<Vec<_>>())
        .bind([0_u8; 32])
        .execute(&database.pool)
        .await?;
        inserted += 1000.0;
    }
    Ok(inserted / began.elapsed().as_secs_f64())
}

pub(super) async fn batches(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let database = bench.rig.database("intake").await?;
    let mut confirmd = bench.confirmd(&database, "intake", 64).await?;
    let mut runs = Runs::new(BATCHES);
    for run in 1..=bench.plan.runs {
        for batch in [100, 1000] {
            bench.tell(&format!("batches of {batch}, run {run} of {}", bench.plan.runs));
            // Whole batches, and as many of them as are answered in the time.
            let (during, most) = (bench.plan.burst / 2, bench.plan.most() / 1000 * 1000);
            let database = &database;
            let burst =
                Burst { database, connections: 8, during, most, batch, rate: None, map: true, until_confirmed: false };
            let measured = bench.burst(&mut confirmd, &burst).await?;
            runs.add(format!("batches of {batch}"), measured.accepted_per_second);
            if let (Some(service), Some(postgres)) = (measured.service_us, measured.postgres_us) {
                runs.add(format!("batches of {batch}, CPU"), service + postgres);
            }
        }
    }
    confirmd.stop().await?;
    let figures = [100, 1000].into_iter().flat_map(|batch| {
        let cpu = runs.figure(&format!("batches of {batch}, CPU"), "µs of CPU/event", None);
        [runs.figure(&format!("batches of {batch}"), "events/s", None), cpu]
    });
    Ok(figures.flatten().collect())
}

/// What the history is compared with: intake at 256 connections.
pub(super) async fn at_256(bench: &mut Bench, database: &Database) -> anyhow::Result<Measured> {
    let mut confirmd = bench.confirmd(database, "intake", 64).await?;
    // The first second of a process finds empty pools and unplanned statements.
    warm(bench, database, &mut confirmd).await?;
    let measured = single(bench, database, &mut confirmd, 256, true).await?;
    confirmd.stop().await?;
    Ok(measured)
}

async fn warm(bench: &mut Bench, database: &Database, server: &mut Serving) -> anyhow::Result<()> {
    let during = Duration::from_millis(300);
    let burst = Burst {
        database,
        connections: 256,
        during,
        most: 20_000,
        batch: 1,
        rate: None,
        map: true,
        until_confirmed: false,
    };
    bench.burst(server, &burst).await.map(drop)
}
