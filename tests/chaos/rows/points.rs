//! Killed at a named point: gates on the wires stop a process exactly there.

use std::time::Duration;

use super::shared::millis;
use crate::harness::figures::Figures;
use crate::harness::run::Run;
use crate::harness::within;
use crate::harness::world::{Setting, World};
use crate::outside::orders::{Happening, How, Phase, Place, Rule, Say, Then};

/// How long it may take until a process stands at its point.
const PATIENCE: Duration = Duration::from_secs(20);

/// A point, and how a process comes to stand there.
struct Point {
    name: &'static str,
    at: At,
}

enum At {
    /// On the wire to Postgres, before a statement is carried.
    Before(&'static str),
    /// On the wire to Postgres, when a statement was carried out and its answer is on the way back.
    After(&'static str),
    /// On the wire to Twilio, before this part of the request is carried.
    Request(&'static str),
    /// At Twilio, when the exchange has come so far.
    Twilio(Phase),
    /// While it drains, with requests that nobody answers.
    Draining,
}

const POINTS: [Point; 13] = [
    Point { name: "in the mapping's upsert", at: At::Before("Inbox::register") },
    Point { name: "intake before COMMIT", at: At::Before("COMMIT") },
    Point { name: "intake after COMMIT, before its answer", at: At::After("COMMIT") },
    Point { name: "after a claim's commit", at: At::After("Outbox::claim") },
    Point { name: "connected, before the request", at: At::Request("head") },
    Point { name: "after the request's head", at: At::Request("body") },
    Point { name: "after the request's body", at: At::Twilio(Phase::Heard) },
    Point { name: "after the answer's status line", at: At::Twilio(Phase::StatusLine) },
    Point { name: "in the answer's body", at: At::Twilio(Phase::MidBody) },
    Point { name: "before settling", at: At::Before("Outbox::settle") },
    Point { name: "settled, before the answer", at: At::After("Outbox::settle") },
    Point { name: "in giving back", at: At::Before("Outbox::give_back") },
    Point { name: "in draining", at: At::Draining },
];

/// So few in flight that others wait behind them, whatever the machine, and have to be given back.
const FEW_IN_FLIGHT: Setting = Setting {
    roles: &["all", "all"],
    with: &[("ACCOUNTS__0__ACCOUNT_SID", crate::harness::callers::ACCOUNT), ("ACCOUNTS__0__MAX_CONCURRENCY", "4")],
    postgres: &[],
};

pub(super) async fn all(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::new(run, "F02", &FEW_IN_FLIGHT).await;
    let load = world.load(6, millis(10));
    let rounds = run.form.pick(1, 10);
    for point in &POINTS {
        let mut met = 0;
        for round in 0..rounds {
            met += usize::from(kill_at(&mut world, point, round % 2).await);
        }
        figures.show(format!("killed {}: {met} of {rounds}", point.name), met == rounds);
    }
    load.end().await;
    world.account_for(&mut figures).await;
    figures
}

/// Whether the process came to stand at that point, where it was killed.
async fn kill_at(world: &mut World, point: &Point, victim: usize) -> bool {
    let (db, twilio) = (format!("db-{victim}"), format!("twilio-{victim}"));
    let gate = |name: &str| Happening::Gate { name: name.to_owned() };
    let stopped = Happening::Stopped { by: victim.to_string() };
    let (name, what) = match &point.at {
        At::Before(_) | At::After(_) => (&db, gate(&db)),
        At::Request(_) => (&twilio, gate(&twilio)),
        At::Twilio(_) | At::Draining => (&twilio, stopped),
    };
    let before = world.outside.times(&what);
    match &point.at {
        At::Before("Outbox::give_back") => {
            // Answers that never come fill the places in flight, and others wait behind them. When enough have timed out,
            // the lane leaves Twilio alone, and what waits goes back.
            world.outside.gate(name, Place::Before("Outbox::give_back".to_owned()), Then::Hold, 1, 1.0).await;
            world.outside.play(Rule::always(Say::Stop { at: Phase::Heard, how: How::Hang })).await;
        }
        At::Before(statement) => {
            world.outside.gate(name, Place::Before((*statement).to_owned()), Then::Hold, 1, 1.0).await;
        }
        At::After(statement) => {
            world.outside.gate(name, Place::After((*statement).to_owned()), Then::Hold, 1, 1.0).await;
        }
        At::Request(part) => {
            world.outside.cut(name).await;
            world.outside.gate(name, Place::Before((*part).to_owned()), Then::Hold, 1, 1.0).await;
        }
        At::Twilio(phase) => {
            world.outside.play(Rule::always(Say::Stop { at: *phase, how: How::Hang }).taken()).await;
        }
        At::Draining => {
            world.outside.play(Rule::always(Say::Stop { at: Phase::Heard, how: How::Hang })).await;
            if !world.outside.happens(&what, before + 1, PATIENCE).await {
                return false;
            }
            // What is on its way is over within 400 ms, and so would be the draining: what comes of it is held on its way.
            world.outside.gate(&db, Place::Before("Outbox::settle".to_owned()), Then::Hold, 1, 1.0).await;
            world.replicas[victim].signal("TERM");
            let draining = async || !world.replicas[victim].is_ready().await;
            within(PATIENCE, "it drains", draining).await;
        }
    }
    let met = world.outside.happens(&what, before + 1, PATIENCE).await;
    world.replicas[victim].kill().await;
    for wire in [&db, &twilio] {
        world.outside.open_gate(wire).await;
    }
    world.outside.behave().await;
    world.replicas[victim].start().await;
    met
}
