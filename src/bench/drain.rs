//! Draining a backlog: after an outage, say.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use super::burst::{Bench, confirmed, heard};
use super::os;
use super::rig::Database;
use super::runs::Runs;
use super::table::{Figure, Goal};

const ROUND: &str = "drain: a backlog of feedback that is owed";

/// What so many requests in flight can be at most, if each takes 80 ms.
fn possible(concurrency: u32) -> f64 {
    f64::from(concurrency) / 0.080
}

/// How a drain went.
pub(super) struct Drained {
    pub(super) per_second: f64,
    pub(super) service_us: Option<f64>,
    pub(super) postgres_us: Option<f64>,
    pub(super) peak_memory: Option<u64>,
}

pub(super) async fn round(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let database = bench.rig.database("drain").await?;
    let slow_database = bench.rig.database("slow_drain").await?;
    let plan = bench.plan.clone();
    let mut runs = Runs::new(ROUND);
    for run in 1..=plan.runs {
        for concurrency in plan.concurrency {
            bench.tell(&format!("drain to a 0 ms sink, {concurrency} in flight, run {run} of {}", plan.runs));
            let drained = drained(bench, &database, *concurrency, plan.backlog, plan.drain).await?;
            runs.add(format!("0 ms sink, {concurrency} in flight"), drained.per_second);
            if let (Some(service), Some(postgres)) = (drained.service_us, drained.postgres_us) {
                runs.add(format!("0 ms sink, {concurrency} in flight, CPU"), service + postgres);
            }
            bench.tell(&format!("drain to an 80 ms sink, {concurrency} in flight, run {run} of {}", plan.runs));
            let drained = for_a_while(bench, &slow_database, *concurrency).await?;
            runs.add(format!("80 ms sink, {concurrency} in flight"), drained.per_second);
            runs.add(format!("possible, {concurrency}"), possible(*concurrency));
            if let Some(peak) = drained.peak_memory {
                runs.add(format!("80 ms sink, {concurrency} in flight, peak memory"), peak as f64 / 1e6);
            }
        }
    }
    Ok(figures(&runs, plan.concurrency))
}

fn figures(runs: &Runs, concurrency: &[u32]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for n in concurrency {
        figures.push(runs.figure(&format!("0 ms sink, {n} in flight"), "/s", None));
        figures.push(runs.figure(&format!("0 ms sink, {n} in flight, CPU"), "µs of CPU each", None));
    }
    for n in concurrency {
        let share = (*n == 1024).then_some(Goal::AtLeast(0.75));
        let slow = format!("80 ms sink, {n} in flight");
        figures.push(runs.ratio(&slow, "/s", &format!("possible, {n}"), "what 80 ms allow", share));
        let memory = (*n == 1024).then_some(Goal::AtMost(120.0));
        figures.push(runs.figure(&format!("{slow}, peak memory"), "MB", memory));
    }
    figures.into_iter().flatten().collect()
}

/// Drains a whole backlog to the sink that answers at once: from the first request there to the last commit.
pub(super) async fn at_once(
    bench: &mut Bench,
    database: &Database,
    concurrency: u32,
    number: u32,
) -> anyhow::Result<Drained> {
    drained(bench, database, concurrency, number, Duration::MAX).await
}

/// The same, but only what is drained of it in `longest`, if that is less.
async fn drained(
    bench: &mut Bench,
    database: &Database,
    concurrency: u32,
    number: u32,
    longest: Duration,
) -> anyhow::Result<Drained> {
    fill_up(bench, database, number).await?;
    let (cpu, before) = (bench.rig.cpu(), heard(&bench.sink).await?);
    let mut confirmd = bench.confirmd(database, "worker", concurrency).await?;
    let asked = Instant::now();
    while heard(&bench.sink).await? == before {
        confirmd.check()?;
        ensure!(asked.elapsed() < TO_BEGIN, "nothing was sent within {TO_BEGIN:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    let all = before + u64::from(number);
    let whole = confirmed(database, &mut confirmd, &bench.sink, all);
    if let Ok(ended) = tokio::time::timeout(longest, whole).await {
        ended?;
    }
    let came = (heard(&bench.sink).await?.min(all) - before) as f64;
    let per_second = came / began.elapsed().as_secs_f64();
    let each = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e6 / came);
    let service_us = each(os::cpu(confirmd.pid));
    let postgres_us = each(bench.rig.cpu().zip(cpu).map(|(after, before)| after.saturating_sub(before)));
    let peak_memory = os::peak_memory(confirmd.pid);
    confirmd.terminate().await?;
    Ok(Drained { per_second, service_us, postgres_us, peak_memory })
}

/// Drains to the slow sink for a while, and counts what comes there once the lane has found its limit.
async fn for_a_while(bench: &mut Bench, database: &Database, concurrency: u32) -> anyhow::Result<Drained> {
    fill_up(bench, database, bench.plan.backlog).await?;
    let mut confirmd = bench.confirmd_with(database, "worker", concurrency, &bench.slow_sink).await?;
    tokio::time::sleep(TO_FIND_THE_LIMIT).await;
    let before = heard(&bench.slow_sink).await?;
    let began = Instant::now();
    tokio::time::sleep(bench.plan.slow_drain).await;
    let after = heard(&bench.slow_sink).await?;
    confirmd.check()?;
    let per_second = (after - before) as f64 / began.elapsed().as_secs_f64();
    ensure!(database.owes_something().await?, "the backlog was too small");
    let peak_memory = os::peak_memory(confirmd.pid);
    confirmd.terminate().await?;
    Ok(Drained { per_second, service_us: None, postgres_us: None, peak_memory })
}

/// Owes so much in all.
async fn fill_up(bench: &mut Bench, database: &Database, number: u32) -> anyhow::Result<()> {
    let left = u32::try_from(database.number("select count(*) from feedback").await?)?;
    let missing = number.saturating_sub(left);
    let from = bench.numbers(missing);
    database.owe(from, missing).await
}

/// How long a service may take until its first request.
const TO_BEGIN: Duration = Duration::from_secs(30);

/// A lane doubles what it has in flight with each answer's round: eight rounds of 80 ms to a thousand.
const TO_FIND_THE_LIMIT: Duration = Duration::from_millis(1500);
