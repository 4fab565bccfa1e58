//! Processes of ours are killed at random.

use std::time::Duration;

use rand::RngExt;
use tokio::time::sleep;

use super::shared::{millis, only_503, takes};
use crate::harness::figures::Figures;
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
    let rounds = run.form.pick(20, 200);
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
    figures.no_longer_than("longest from the end of a lost lease to the next request", longest, millis(1000));
    figures.did(format!("{rounds} kills, {interrupted} attempts interrupted"));
    world.account_for(&mut figures).await;
    figures
}

pub(super) async fn of_intake(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::new(run, "F03", &INTAKES).await;
    let load = world.load(8, millis(10));
    let rounds = run.form.pick(20, 200);
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
