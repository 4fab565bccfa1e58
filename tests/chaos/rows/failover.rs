//! Another Postgres takes over: one that has all that was acknowledged, or one that has not.

use std::collections::BTreeSet;
use std::time::Duration;

use super::shared::{millis, nobody_waited_longer, only_503, takes};
use crate::harness::checker::{Breaches, Ledgers};
use crate::harness::database::Database;
use crate::harness::figures::Figures;
use crate::harness::run::Run;
use crate::harness::world::{PLAIN, World};

const DEADLINE: Duration = Duration::from_secs(10);
const BACK: Duration = Duration::from_secs(60);

/// The standby takes over, again and again; nothing is acknowledged that it does not have.
pub(super) async fn with_a_synchronous_standby(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = started(run, "F07").await;
    let load = world.load(6, millis(15));
    let (rounds, mut longest) = (run.form.pick(1, 10), Duration::ZERO);
    for round in 0..rounds {
        assert!(takes(&world, 40, BACK).await, "callers are served");
        let standby = world.cluster.standby(&world.folder.join(format!("postgres-{round}"))).await;
        assert!(takes(&world, 60, BACK).await, "callers are served");
        world.cluster.kill().await;
        let promoted = world.goes_on_with(standby).await;
        takes(&world, 1, BACK).await;
        longest = longest.max(promoted.elapsed());
    }
    load.end().await;
    world.begin_sampling();
    only_503(&world, &mut figures);
    nobody_waited_longer(&world, &mut figures, DEADLINE);
    figures.no_longer_than("longest from the promotion to the next acknowledgement", longest, Duration::from_secs(5));
    figures.did(format!("{rounds} times the standby took over"));
    world.account_for(&mut figures).await;
    figures
}

/// What the standby has not got is gone with the primary, acknowledged or not: where the promise of a 2xx ends. How much
/// that is, and that who tells it all again has it all again.
pub(super) async fn without_one(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = started(run, "F07-off").await;
    let (rounds, mut acknowledged, mut lost, mut untaken) = (run.form.pick(1, 5), 0, 0, 0);
    for round in 0..rounds {
        let follower = world.cluster.follower(&world.folder.join(format!("postgres-{round}"))).await;
        // Its own load each time: nobody who tried again may make good what was lost.
        let load = world.load(6, millis(15));
        assert!(takes(&world, 40, BACK).await, "callers are served");
        world.cluster.stop_sending().await;
        assert!(takes(&world, 60, BACK).await, "callers are served");
        world.cluster.kill().await;
        load.end().await;
        world.goes_on_with(follower).await;
        acknowledged = world.callers.taken();
        lost += gone(&world).await;
        untaken += world.tell_all_again().await;
    }
    world.begin_sampling();
    figures.did(format!("{rounds} times a standby took over that was behind"));
    figures.show(
        format!("of {acknowledged} acknowledged, gone with the primary: {lost} (at least {rounds})"),
        rounds <= lost,
    );
    figures.none("told again in vain", untaken);
    only_503(&world, &mut figures);
    nobody_waited_longer(&world, &mut figures, DEADLINE);
    let mut accounts = Figures::default();
    world.account_for(&mut accounts).await;
    figures.done.extend(accounts.done);
    // What is on record of a request is gone as well: no more can be said of how often, and why, Twilio was asked.
    let (of_requests, others): (Vec<_>, Vec<_>) =
        accounts.shown.into_iter().partition(|shown| OF_REQUESTS.iter().any(|law| shown.what.starts_with(law)));
    let counts: BTreeSet<_> = of_requests.iter().filter_map(|shown| shown.what.split(" (").next()).collect();
    figures.did(format!("gone with the primary what was on record of requests: {counts:?}"));
    figures.shown.extend(others);
    figures
}

const OF_REQUESTS: [&str; 3] = ["K5 ", "K6 ", "K7 "];

async fn started(run: &Run, name: &str) -> World {
    let mut world = World::unstarted(run, name, &PLAIN).await;
    for replica in &mut world.replicas {
        replica.start().await;
    }
    world
}

/// Parts of logins that were acknowledged, and are not there.
async fn gone(world: &World) -> usize {
    let mut connection = world.cluster.connect().await.unwrap();
    let database = Database::read(&mut connection).await.unwrap();
    let mut breaches = Breaches::default();
    Ledgers { callers: &world.callers.book(), database: &database, twilio: &world.twilio() }.compare(&mut breaches);
    breaches.count("K1")
}
