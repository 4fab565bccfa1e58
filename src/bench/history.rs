//! The same again over a long history: ten million confirmed messages and a million dead letters.

use std::time::{Duration, Instant};

use super::burst::{Bench, Burst};
use super::past::Past;
use super::rig::Database;
use super::runs::Runs;
use super::table::{Figure, Goal};
use super::{drain, intake, whole};

const ROUND: &str = "history: the same over many confirmed messages and dead letters";
const WITHOUT: &str = "the figure without";

pub(super) async fn round(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let (old, new) = (bench.rig.database("history").await?, bench.rig.database("no_history").await?);
    let (messages, letters) = (bench.plan.history, bench.plan.dead_letters);
    bench.tell(&format!("making a history of {messages} confirmed messages and {letters} dead letters"));
    let past = Past { from: bench.numbers(messages + letters), confirmed: messages, dead: letters };
    past.make(&old).await?;
    bench.tell("on the way to the next checkpoint");
    on_the_way(bench, &old).await?;
    let mut runs = Runs::new(ROUND);
    for run in 1..=bench.plan.runs {
        bench.tell(&format!("beside the history, run {run} of {}", bench.plan.runs));
        let (without, with) = (intake::at_256(bench, &new).await?, intake::at_256(bench, &old).await?);
        runs.add("without, intake", without.accepted_per_second);
        runs.add("intake at 256 connections", with.accepted_per_second);
        runs.add("without, log", without.wal_bytes);
        runs.add("intake at 256 connections, log", with.wal_bytes);
        for (who, measured) in [("without, ", &without), ("intake at 256 connections, ", &with)] {
            if let Some(pages) = measured.full_pages {
                runs.add(format!("{who}whole pages in the log"), pages);
            }
            if let Some(postgres) = measured.postgres_us {
                runs.add(format!("{who}Postgres"), postgres);
            }
        }
        for database in [&new, &old] {
            database.confirm_what_is_owed().await?;
        }
        runs.add("without, drain", drain::at_once(bench, &new, 64, bench.plan.small_backlog).await?.per_second);
        runs.add(
            "drain, 0 ms sink, 64 in flight",
            drain::at_once(bench, &old, 64, bench.plan.small_backlog).await?.per_second,
        );
        runs.add("without, whole", whole::at_saturation(bench, &new).await?);
        runs.add("whole path at saturation", whole::at_saturation(bench, &old).await?);
    }
    looks(bench, &old, past, &mut runs).await?;
    Ok(figures(&runs))
}

fn figures(runs: &Runs) -> Vec<Figure> {
    let nearly = Some(Goal::AtLeast(0.9));
    let soon = Some(Goal::AtMost(20.0));
    let figures = [
        runs.ratio("intake at 256 connections", "events/s", "without, intake", WITHOUT, nearly),
        runs.ratio("intake at 256 connections, log", "bytes/event", "without, log", WITHOUT, None),
        runs.figure("intake at 256 connections, whole pages in the log", "/event", None),
        runs.figure("without, whole pages in the log", "/event", None),
        runs.figure("intake at 256 connections, Postgres", "µs of CPU/event", None),
        runs.figure("without, Postgres", "µs of CPU/event", None),
        runs.ratio("drain, 0 ms sink, 64 in flight", "/s", "without, drain", WITHOUT, nearly),
        runs.ratio("whole path at saturation", "events/s", "without, whole", WITHOUT, nearly),
        runs.figure("list of 100 dead letters, by HTTP", "ms", soon),
        runs.figure("list of 100 dead letters of a reason, by HTTP", "ms", soon),
        runs.figure("count of dead letters, by HTTP", "ms", soon),
        runs.figure("a receipt, by HTTP", "ms", None),
    ];
    figures.into_iter().flatten().collect()
}

/// Takes as many events as it needs until most pages of the indexes have been touched since the checkpoint. The first touch
/// writes a page to the log whole, and an event's key is random, so right after a checkpoint many an event does that, and the
/// fewer the longer ago it was. What has no history has had no page at that checkpoint.
async fn on_the_way(bench: &mut Bench, database: &Database) -> anyhow::Result<()> {
    let mut confirmd = bench.confirmd(database, "intake", 64).await?;
    let most = bench.plan.history / 70;
    let during = Duration::from_secs(120);
    let burst =
        Burst { database, connections: 8, during, most, batch: 1000, rate: None, map: true, until_confirmed: false };
    bench.burst(&mut confirmd, &burst).await?;
    database.confirm_what_is_owed().await?;
    confirmd.stop().await
}

/// Asks what an operator asks, over HTTP.
async fn looks(bench: &mut Bench, database: &Database, past: Past, runs: &mut Runs) -> anyhow::Result<()> {
    let confirmd = bench.confirmd(database, "intake", 64).await?;
    for n in 0..20 {
        let event = past.event_id(past.from + past.confirmed / 20 * n);
        let replay = r#"{"filter": {"reason": "rejected"}, "dry_run": true}"#;
        let asked = [
            ("list of 100 dead letters, by HTTP", "GET", "/v1/dead-letters?limit=100".to_owned(), ""),
            (
                "list of 100 dead letters of a reason, by HTTP",
                "GET",
                "/v1/dead-letters?reason=rejected&limit=100".to_owned(),
                "",
            ),
            ("count of dead letters, by HTTP", "POST", "/v1/dead-letters/replay".to_owned(), replay),
            ("a receipt, by HTTP", "GET", format!("/v1/events/{event}"), ""),
        ];
        for (name, method, path, body) in asked {
            let began = Instant::now();
            super::service::ask(confirmd.address, &bench.token, method, &path, body).await?;
            // The first answers come from empty pools and unplanned statements.
            if 2 < n {
                runs.add(name, began.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    confirmd.stop().await
}
