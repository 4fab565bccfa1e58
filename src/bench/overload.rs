//! Overload: what others notice when Twilio hangs, when one caller floods, and when peers hold connections and say nothing.
//!
//! Everything is in pairs: the same paced callers on a service that is left alone, and on one that is not, in turns.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::burst::Bench;
use super::load::LoadReport;
use super::os;
use super::part::{self, Serving};
use super::rig::Database;
use super::runs::Runs;
use super::service::{ServiceOptions, arrivals, new_token, serve};
use super::table::{Figure, Goal};

const ROUND: &str = "overload: 200 events/s on 16 connections, beside whoever burdens the same service";
const ALONE: &str = "left alone";

const CONNECTIONS: u32 = 16;
const RATE: u32 = 200;
/// Of the paced callers, each time.
const LOOKED_AT: Duration = Duration::from_secs(2);
const RUNS: u32 = 4;

/// Requests to Twilio that hang at once.
const HANGING: u32 = 200;
/// Answered before that, so that the lane knows how many there may be.
const ANSWERED: u32 = 3_000;
const IDLE: u32 = 10_000;
const SLOW: u32 = 500;

pub(super) async fn round(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let mut runs = Runs::new(ROUND);
    hanging(bench, &mut runs).await?;
    flooded(bench, &mut runs).await?;
    held(bench, &mut runs).await?;
    let at_most = |most| Some(Goal::AtMost(most));
    let figures = [
        runs.figure("p50, left alone", "ms", None),
        runs.figure("p99, left alone", "ms", None),
        runs.ratio("p50, Twilio hangs 200 times", "ms", "p50, before Twilio hangs", ALONE, None),
        runs.ratio("p99, Twilio hangs 200 times", "ms", "p99, before Twilio hangs", ALONE, at_most(1.5)),
        runs.figure("delivery's sessions in use, Twilio hangs 200 times", "", at_most(0.0)),
        runs.ratio("p50, another caller floods", "ms", "p50, before another floods", ALONE, None),
        runs.ratio("p99, another caller floods", "ms", "p99, before another floods", ALONE, None),
        runs.figure("refused of the others, another caller floods", "requests", at_most(0.0)),
        runs.figure("taken of who floods", "events/s", None),
        runs.ratio("p50, 10,000 idle and 500 slow connections", "ms", "p50, before they are held", ALONE, None),
        runs.ratio("p99, 10,000 idle and 500 slow connections", "ms", "p99, before they are held", ALONE, at_most(2.0)),
        runs.figure("memory of the service, 10,000 idle and 500 slow connections", "MB", None),
    ];
    Ok(figures.into_iter().flatten().collect())
}

/// A service with the room that the load needs, and what else it is told.
async fn service(
    bench: &Bench,
    database: &Database,
    sink: SocketAddr,
    also: &[(&'static str, String)],
) -> anyhow::Result<Serving> {
    let options = ServiceOptions {
        database_url: &database.url,
        role: "all",
        sink,
        concurrency: HANGING,
        token: &bench.token,
        also,
    };
    serve(&options).await
}

/// The paced callers, who are not to notice.
async fn look(bench: &mut Bench, server: &mut Serving) -> anyhow::Result<LoadReport> {
    let most = RATE * u32::try_from(LOOKED_AT.as_secs())?;
    let from = bench.numbers(most);
    let report = part::load(&load_args(server.address, &bench.token, from, most, CONNECTIONS, 1, Some(RATE))).await?;
    server.check()?;
    Ok(report)
}

fn load_args(
    target: SocketAddr,
    token: &str,
    from: u32,
    most: u32,
    connections: u32,
    batch: u32,
    rate: Option<u32>,
) -> Vec<String> {
    let mut args = vec!["--target".to_owned(), target.to_string(), "--token".into(), token.to_owned()];
    for (name, value) in [("connections", connections), ("from", from), ("most", most), ("batch", batch)] {
        args.extend([format!("--{name}"), value.to_string()]);
    }
    // Longer than the events last, if they are paced.
    let during = if rate.is_some() { LOOKED_AT * 2 } else { FLOOD };
    args.extend(["--during".to_owned(), format!("{}ms", during.as_millis())]);
    args.extend(rate.iter().flat_map(|rate| ["--rate".to_owned(), rate.to_string()]));
    args
}

fn note(runs: &mut Runs, name: &str, report: &LoadReport) {
    runs.add(format!("p50, {name}"), report.p50_ms);
    runs.add(format!("p99, {name}"), report.p99_ms);
}

async fn alone(bench: &mut Bench, server: &mut Serving, runs: &mut Runs, name: &str) -> anyhow::Result<()> {
    let report = look(bench, server).await?;
    ensure!(report.refused == 0, "{} requests were refused of who was alone", report.refused);
    note(runs, name, &report);
    note(runs, "left alone", &report);
    Ok(())
}

async fn hanging(bench: &mut Bench, runs: &mut Runs) -> anyhow::Result<()> {
    let (free, stuck) = (bench.rig.database("over_free").await?, bench.rig.database("over_stuck").await?);
    let sink = ["sink", "--delay", "0ms", "--hang-after", &ANSWERED.to_string()].map(str::to_owned);
    let sink = Serving::part(&sink).await?;
    let patient =
        [("CONFIRMD_DELIVERY__REQUEST_TIMEOUT", "60s".to_owned()), ("CONFIRMD_DELIVERY__LEASE", "5m".to_owned())];
    let mut left_alone = service(bench, &free, bench.sink.address, &[]).await?;
    let owed = ANSWERED + 2 * HANGING;
    let from = bench.numbers(owed);
    stuck.owe(from, owed).await?;
    let mut burdened = service(bench, &stuck, sink.address, &patient).await?;
    let until = Instant::now() + Duration::from_secs(20);
    while arrivals(sink.address, 0, 0).await?.0 < u64::from(ANSWERED + HANGING) {
        ensure!(Instant::now() < until, "Twilio never had {HANGING} requests to hang on to");
        sleep(Duration::from_millis(20)).await;
    }
    for run in 1..=RUNS {
        bench.tell(&format!("Twilio hangs, run {run} of {RUNS}"));
        alone(bench, &mut left_alone, runs, "before Twilio hangs").await?;
        let report = look(bench, &mut burdened).await?;
        ensure!(report.refused == 0, "{} requests were refused because Twilio hangs", report.refused);
        note(runs, "Twilio hangs 200 times", &report);
        let in_use = stuck
            .number(
                "select count(*) from pg_stat_activity
                 where datname = current_database() and application_name = 'confirmd-delivery' and state <> 'idle'",
            )
            .await?;
        runs.add("delivery's sessions in use, Twilio hangs 200 times", in_use as f64);
    }
    let hung = arrivals(sink.address, 0, 0).await?.0;
    ensure!(hung == u64::from(ANSWERED + HANGING), "{hung} requests came, so that {HANGING} did not hang all the time");
    left_alone.stop().await?;
    burdened.stop().await?;
    sink.stop().await
}

/// How long a flood goes on: longer than one look takes.
const FLOOD: Duration = Duration::from_secs(3);

async fn flooded(bench: &mut Bench, runs: &mut Runs) -> anyhow::Result<()> {
    let database = bench.rig.database("over_flood").await?;
    let token = new_token();
    let also = [
        ("CONFIRMD_CALLERS__1__NAME", "flood".to_owned()),
        ("CONFIRMD_CALLERS__1__SCOPES", "ingest".to_owned()),
        ("CONFIRMD_CALLERS__1__TOKENS_SHA256", super::service::digest(&token)),
        // As it is by default.
        ("CONFIRMD_INTAKE__MAX_WAITING_PER_CALLER", "5000".to_owned()),
    ];
    let mut server = service(bench, &database, bench.sink.address, &also).await?;
    for run in 1..=RUNS {
        bench.tell(&format!("a caller floods, run {run} of {RUNS}"));
        alone(bench, &mut server, runs, "before another floods").await?;
        // Batches of a thousand, twice as many at once as the whole queue holds.
        let most = 400_000;
        let args = load_args(server.address, &token, bench.numbers(most), most, 20, 1000, None);
        let flood: JoinHandle<anyhow::Result<LoadReport>> = tokio::spawn(async move { part::load(&args).await });
        let before = accepted(&database).await?;
        let began = Instant::now();
        // It has begun when the first of it is taken.
        let begun = async {
            while accepted(&database).await? == before {
                sleep(Duration::from_millis(10)).await;
            }
            anyhow::Ok(())
        };
        timeout(FLOOD, begun).await.context("the flood never began")??;
        let report = look(bench, &mut server).await?;
        note(runs, "another caller floods", &report);
        runs.add("refused of the others, another caller floods", f64::from(report.refused));
        flood.await??;
        let taken = accepted(&database).await? - before - i64::from(report.answered);
        runs.add("taken of who floods", taken as f64 / began.elapsed().as_secs_f64());
    }
    server.stop().await
}

async fn accepted(database: &Database) -> anyhow::Result<i64> {
    database.number("select count(*) from event").await
}

async fn held(bench: &mut Bench, runs: &mut Runs) -> anyhow::Result<()> {
    let database = bench.rig.database("over_held").await?;
    let also = [
        ("CONFIRMD_SERVER__MAX_CONNECTIONS", "12000".to_owned()),
        ("CONFIRMD_SERVER__MAX_CONNECTIONS_PER_PEER", "12000".to_owned()),
        // By default nobody may idle for longer than 10 s, and would be gone by the end.
        ("CONFIRMD_SERVER__HEADER_TIMEOUT", "2m".to_owned()),
    ];
    let mut server = service(bench, &database, bench.sink.address, &also).await?;
    for run in 1..=RUNS {
        bench.tell(&format!("before connections are held, run {run} of {RUNS}"));
        alone(bench, &mut server, runs, "before they are held").await?;
    }
    bench.tell("connections are held");
    let target = server.address.to_string();
    let args = ["hold", "--target", &target, "--idle", &IDLE.to_string(), "--slow", &SLOW.to_string()];
    let mut holding = Serving::part(&args.map(str::to_owned)).await?;
    for run in 1..=RUNS {
        bench.tell(&format!("while connections are held, run {run} of {RUNS}"));
        let report = look(bench, &mut server).await?;
        ensure!(report.refused == 0, "{} requests were refused because connections are held", report.refused);
        note(runs, "10,000 idle and 500 slow connections", &report);
        holding.check()?;
    }
    if let Some(peak) = os::peak_memory(server.pid) {
        runs.add("memory of the service, 10,000 idle and 500 slow connections", peak as f64 / 1e6);
    }
    holding.stop().await?;
    server.stop().await
}
