//! Processes of ours are killed at random.

use std::time::Duration;

use rand::RngExt;
use serde_json::Value;
use tokio::time::sleep;

use super::shared::{millis, nobody_waited_longer, only_503, takes};
use crate::harness::comes_true;
use crate::harness::figures::Figures;
use crate::harness::http::{Told, ask, ask_often};
use crate::harness::run::Run;
use crate::harness::world::{Setting, World};
use crate::outside::orders::{Rule, Say};

const WORKERS: Setting = Setting { roles: &["worker", "worker", "intake"], with: &[], postgres: &[] };
const INTAKES: Setting = Setting { roles: &["all", "all"], with: &[], postgres: &[] };

pub(super) async fn of_workers(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::new(run, "F01", &WORKERS).await;
    // So that there is always something on the way.
    world.outside.play(Rule::always(Say::Takes { status: 201, late: 40 })).await;
    let load = world.load(8, millis(run.form.pick(40, 10)));
    let rounds = run.form.pick(12, 200);
    kill_again_and_again(&mut world, rounds).await;
    let events = run.form.pick(200, 20_000);
    let enough =
        takes(&world, (events * 2_usize).saturating_sub(world.callers.taken()), Duration::from_secs(300)).await;
    load.end().await;
    figures.show(format!("{events} events or more were told of"), enough);
    world.heal().await;
    world.drains(Duration::from_secs(60)).await;
    let (interrupted, longest) = world.interruptions().await;
    let requests = world.twilio();
    let mut messages: Vec<_> = requests.iter().filter_map(|heard| heard.message_sid.clone()).collect();
    messages.sort_unstable();
    messages.dedup();
    figures.at_most("further requests for a message", requests.len() - messages.len(), interrupted);
    // The short form shares the machine with all kinds of tests.
    let soon = millis(run.form.pick(5000, 1000));
    figures.no_longer_than("longest from the end of a lost lease to the next request", longest, soon);
    figures.did(format!("{rounds} kills, {interrupted} attempts interrupted"));
    world.account_for(&mut figures).await;
    figures
}

pub(super) async fn of_intake(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::new(run, "F03", &INTAKES).await;
    let load = world.load(8, millis(10));
    let rounds = run.form.pick(12, 200);
    kill_again_and_again(&mut world, rounds).await;
    load.end().await;
    only_503(&world, &mut figures);
    figures.did(format!("{rounds} kills"));
    world.account_for(&mut figures).await;
    figures
}

/// Told to stop under load, and started again.
pub(super) async fn orderly_stops(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::new(run, "F48", &INTAKES).await;
    world.outside.play(Rule::always(Say::Takes { status: 201, late: 100 })).await;
    let load = world.load(8, millis(10));
    let rounds = run.form.pick(6, 100);
    let (mut in_order, mut left) = (0, 0);
    for round in 0..rounds {
        let life = world.dice.random_range(50..500);
        sleep(millis(life)).await;
        let replica = &mut world.replicas[round % 2];
        replica.signal("TERM");
        in_order += usize::from(replica.ends_within(Duration::from_secs(6)).await == Ok(Some(0)));
        // Its leases end with it, unless it was cut off from Postgres.
        left += usize::from(replica.log().lines().last().is_none_or(|line| !line.contains("Stopped")));
        replica.start().await;
    }
    load.end().await;
    figures.show(format!("ended with 0 within 6 s: {in_order} of {rounds}"), in_order == rounds);
    figures.none("that ended without having stopped everything", left);
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

/// One of the first two replicas, after a moment.
async fn kill_again_and_again(world: &mut World, rounds: usize) {
    for _ in 0..rounds {
        let (victim, life) = (world.dice.random_range(0..2), world.dice.random_range(5..800));
        sleep(millis(life)).await;
        world.replicas[victim].kill().await;
        world.replicas[victim].start().await;
    }
}

const CHATTY: Setting = Setting { roles: &["all", "all"], with: &[("LOG__FILTER", "trace")], postgres: &[] };

/// Nobody takes what they log.
pub(super) async fn unread_logs(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::unstarted(run, "F15", &CHATTY).await;
    for replica in &mut world.replicas {
        replica.unread = true;
        replica.start().await;
    }
    // A log holds thousands of lines, and a question that is answered in a moment is one: so it is full in a moment, too.
    let full = comes_true(Duration::from_secs(120), async || {
        for replica in &world.replicas {
            ask_often(replica.address, "/livez", 500, Duration::from_secs(5)).await;
        }
        dropped(&world).await.iter().all(|lines| 0 < *lines)
    })
    .await;
    figures.show("the logs of both are full", full);

    world.begin_sampling();
    let before = dropped(&world).await;
    let load = world.load(6, millis(15));
    let enough = takes(&world, run.form.pick(150, 3000), Duration::from_secs(120)).await;
    load.end().await;
    figures.show("callers are served all the while", enough);
    let after = dropped(&world).await;
    let counted = before.iter().zip(&after).all(|(before, after)| before < after);
    figures.show(format!("confirmd_log_lines_dropped_total: {after:?}, before the load {before:?}"), counted);
    nobody_waited_longer(&world, &mut figures, Duration::from_secs(2));
    only_503(&world, &mut figures);
    // Who stops may not wait for its log either.
    for replica in &mut world.replicas {
        replica.signal("TERM");
        let ended = replica.ends_within(Duration::from_secs(7)).await;
        figures.show(format!("told to stop, it ended with {ended:?}"), ended == Ok(Some(0)));
        replica.unread = false;
    }
    world.account_for(&mut figures).await;
    figures
}

/// Lines that each replica says it could not hand on.
async fn dropped(world: &World) -> Vec<u64> {
    let (token, mut dropped) = (world.tellers().token, Vec::new());
    for replica in &world.replicas {
        let told = ask(replica.address, &token, "GET", "/metrics", None, Duration::from_secs(5)).await;
        // Who does not answer says none: that fails the row.
        let text = if let Told::Ok(Value::String(text)) = told { text } else { String::new() };
        let line = text.lines().find_map(|line| line.strip_prefix("confirmd_log_lines_dropped_total "));
        dropped.push(line.and_then(|number| number.parse().ok()).unwrap_or(0));
    }
    dropped
}
