//! The whole path at once: callers call, feedback is delivered to a sink that answers at once, everything is durable.

use std::time::Duration;

use super::burst::{Bench, Burst, Measured, ms};
use super::os;
use super::part::Serving;
use super::rig::Database;
use super::runs::Runs;
use super::table::{Figure, Goal};

const ROUND: &str = "whole path: POST, commit, POST at a 0 ms sink, confirmed in Postgres; 64 in flight";
const OBVIOUS: &str = "the obvious design (polling, row by row)";
const CONNECTIONS: u32 = 256;
const CONCURRENCY: u32 = 64;

pub(super) async fn round(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let (ours, theirs) = (bench.rig.database("whole").await?, bench.rig.database("obvious_whole").await?);
    let mut confirmd = bench.confirmd(&ours, "all", CONCURRENCY).await?;
    let mut obvious = bench.obvious(&theirs, 10, true).await?;
    let mut runs = Runs::new(ROUND);
    let plan = bench.plan.clone();
    for run in 1..=plan.runs {
        for rate in [50, 1000] {
            bench.tell(&format!("whole path at {rate} events/s, run {run} of {}", plan.runs));
            paced(bench, &ours, &mut confirmd, rate, &mut runs).await?;
        }
    }
    for run in 1..=plan.runs {
        bench.tell(&format!("whole path at saturation, run {run} of {}", plan.runs));
        let measured = saturated(bench, &ours, &mut confirmd, plan.burst * 2).await?;
        note(&mut runs, "confirmd", &measured);
        let measured = saturated(bench, &theirs, &mut obvious, plan.burst).await?;
        note(&mut runs, "obvious", &measured);
    }
    if let Some(peak) = os::peak_memory(confirmd.pid) {
        runs.add("peak memory of the service", peak as f64 / 1e6);
    }
    if bench.rig.count_statements(&ours).await? {
        let measured = saturated(bench, &ours, &mut confirmd, plan.burst).await?;
        let statements = bench.rig.statements(&ours).await?;
        runs.add("statements", statements / f64::from(measured.load.answered.max(1)));
    }
    confirmd.stop().await?;
    obvious.stop().await?;
    Ok(figures(&runs))
}

/// As many as are answered, from 256 callers.
pub(super) async fn saturated(
    bench: &mut Bench,
    database: &Database,
    server: &mut Serving,
    during: Duration,
) -> anyhow::Result<Measured> {
    let most = u32::try_from(during.as_millis() * 40).unwrap_or(u32::MAX);
    let burst = Burst {
        database,
        connections: CONNECTIONS,
        during,
        most,
        batch: 1,
        rate: None,
        map: true,
        until_confirmed: true,
    };
    bench.burst(server, &burst).await
}

/// What the history is compared with: the whole path at saturation.
pub(super) async fn at_saturation(bench: &mut Bench, database: &Database) -> anyhow::Result<f64> {
    let mut confirmd = bench.confirmd(database, "all", CONCURRENCY).await?;
    saturated(bench, database, &mut confirmd, Duration::from_millis(300)).await?;
    let measured = saturated(bench, database, &mut confirmd, bench.plan.burst).await?;
    confirmd.stop().await?;
    Ok(measured.confirmed_per_second)
}

async fn paced(
    bench: &mut Bench,
    database: &Database,
    server: &mut Serving,
    rate: u32,
    runs: &mut Runs,
) -> anyhow::Result<()> {
    let during = bench.plan.paced;
    let most = u32::try_from(during.as_millis()).unwrap_or(u32::MAX) * rate / 1000;
    let rate_of = Some(rate);
    let burst =
        Burst { database, connections: 32, during, most, batch: 1, rate: rate_of, map: true, until_confirmed: true };
    let measured = bench.burst(server, &burst).await?;
    for (share, name) in [(0.5, "p50"), (0.99, "p99")] {
        runs.add(format!("{rate}/s, POST to POST, {name}"), ms(&measured.post_to_post, share));
        runs.add(format!("{rate}/s, 202 to POST, {name}"), ms(&measured.answer_to_post, share));
    }
    Ok(())
}

fn note(runs: &mut Runs, who: &str, measured: &Measured) {
    runs.add(format!("{who}, accepted"), measured.accepted_per_second);
    runs.add(format!("{who}, confirmed"), measured.confirmed_per_second);
    runs.add(format!("{who}, log"), measured.wal_bytes);
    runs.add(format!("{who}, dead tuples"), measured.dead_tuples);
    for (share, name) in [(0.5, "p50"), (0.99, "p99")] {
        runs.add(format!("{who}, 202 to POST, {name}"), ms(&measured.answer_to_post, share));
    }
    if let (Some(service), Some(postgres)) = (measured.service_us, measured.postgres_us) {
        runs.add(format!("{who}, service"), service);
        runs.add(format!("{who}, Postgres"), postgres);
        runs.add(format!("{who}, both"), service + postgres);
    }
}

fn figures(runs: &Runs) -> Vec<Figure> {
    let mut figures = vec![
        runs.ratio("confirmd, confirmed", "events/s", "obvious, confirmed", OBVIOUS, Some(Goal::AtLeast(4.0))),
        runs.figure("confirmd, accepted", "events/s", None),
        runs.figure("obvious, confirmed", "events/s", None),
        runs.figure("confirmd, both", "µs of CPU/event", Some(Goal::AtMost(110.0))),
        runs.figure("confirmd, service", "µs of CPU/event", None),
        runs.figure("confirmd, Postgres", "µs of CPU/event", None),
        runs.figure("obvious, both", "µs of CPU/event", None),
        runs.figure("confirmd, log", "bytes/event", Some(Goal::AtMost(2048.0))),
        runs.figure("obvious, log", "bytes/event", None),
        runs.figure("confirmd, dead tuples", "rows", None),
        runs.figure("statements", "/event", Some(Goal::AtMost(0.1))),
        runs.figure("peak memory of the service", "MB", Some(Goal::AtMost(48.0))),
    ];
    for rate in [50, 1000] {
        for (name, most) in [("p50", 2.0), ("p99", 10.0)] {
            let goal = (rate == 50).then_some(Goal::AtMost(most));
            figures.push(runs.figure(&format!("{rate}/s, POST to POST, {name}"), "ms", goal));
            figures.push(runs.figure(&format!("{rate}/s, 202 to POST, {name}"), "ms", None));
        }
    }
    for name in ["p50", "p99"] {
        figures.push(runs.figure(&format!("confirmd, 202 to POST, {name}"), "ms", None));
    }
    figures.into_iter().flatten().collect()
}
