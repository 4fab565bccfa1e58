//! Who holds a lease, and who only believes that he does.

use std::process::Command;
use std::time::Duration;

use rand::RngExt;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::shared::{Stopped, confirmed_twice, millis, now, only_503, takes};
use crate::harness::callers::{Manner, Part, request};
use crate::harness::figures::Figures;
use crate::harness::http::ask;
use crate::harness::run::Run;
use crate::harness::world::{BOTH, PLAIN, Setting, World};
use crate::outside::orders::{How, Phase, Rule, Say};

const LONGEST: Duration = Duration::from_secs(240);

/// Few places in flight, so that leases wait for one.
const NARROW: Setting = Setting {
    roles: BOTH,
    with: &[("ACCOUNTS__0__ACCOUNT_SID", crate::harness::callers::ACCOUNT), ("ACCOUNTS__0__MAX_CONCURRENCY", "4")],
    postgres: &[],
};

/// Stopped while its requests are under way, until others have taken its leases over; then it goes on.
pub(super) async fn zombies(run: &Run) -> Figures {
    wakes(run, "F38", &PLAIN, (16, 15), 300, run.form.pick(4, 40)).await
}

/// Stopped while leases wait for a place in flight: when it goes on, others hold them.
pub(super) async fn late_wakers(run: &Run) -> Figures {
    wakes(run, "F39", &NARROW, (24, 40), 100, run.form.pick(4, 20)).await
}

async fn wakes(run: &Run, row: &str, setting: &Setting, load: (u64, u64), late: u64, rounds: usize) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::new(run, row, setting).await;
    let answers = Rule::always(Say::Takes { status: 201, late });
    world.outside.play(answers.clone()).await;
    // Many, because whoever told the one that is stopped waits for it.
    let load = world.load(load.0, millis(load.1));
    let (mut held, mut stops) = (0, Vec::new());
    for round in 0..rounds {
        sleep(millis(world.dice.random_range(300..600))).await;
        let replica = round % 2;
        // Nobody answers what it sends now: when it wakes, it takes that for failed.
        let hangs = Rule::always(Say::Stop { at: Phase::Heard, how: How::Hang }).only_to(replica).taken();
        world.outside.behave().await;
        world.outside.play(hangs).await;
        world.outside.play(answers.clone()).await;
        sleep(millis(200)).await;
        // Its leases end after 2 s: it wakes while others are sending what it held, or when they have.
        let nap = if round % 4 < 3 { world.dice.random_range(2000..2250) } else { 3000 };
        let from = now();
        world.replicas[replica].signal("STOP");
        world.outside.behave().await;
        world.outside.play(answers.clone()).await;
        let leased = world.cluster.words("select message_sid from feedback where lease_token is not null").await;
        held += leased.len();
        sleep(millis(nap)).await;
        world.replicas[replica].signal("CONT");
        stops.push(Stopped { replica, from, to: now(), leased });
    }
    load.end().await;
    world.drains(LONGEST).await;
    figures.did(format!("{rounds} times stopped for 2 to 3 s"));
    figures.show(format!("{held} leases were held meanwhile"), 0 < held);
    figures.none("messages confirmed to two who ran", confirmed_twice(&world.twilio(), &stops));
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

/// Event and message are told at the same instant, each at another replica.
pub(super) async fn both_at_once(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F37", &PLAIN).await;
    let actions = run.form.pick(400, 10_000);
    let (mut left, mut taken) = (actions, 0);
    while 0 < left {
        let mut telling = JoinSet::new();
        for pair in 0..left.min(16) {
            let login = world.callers.begin(Manner::MessageFirst);
            for (place, part) in [Part::Message, Part::Event].into_iter().enumerate() {
                let tellers = world.tellers();
                let at = tellers.at[(place + pair) % 2];
                telling.spawn(async move {
                    let (path, body) = request(login, Manner::MessageFirst, part);
                    let told = ask(at, &tellers.token, "POST", path, Some(&body), Duration::from_secs(15)).await;
                    let ok = crate::harness::callers::is_ok(&told);
                    tellers.callers.note(part, login, told);
                    ok
                });
            }
        }
        left -= left.min(16);
        taken += telling.join_all().await.into_iter().filter(|ok| *ok).count();
    }
    figures.did(format!("{actions} actions, event and message at the same instant"));
    figures.show(format!("{taken} of {} taken at once", 2 * actions), taken == 2 * actions);
    world.drains(LONGEST).await;
    let stuck = world.cluster.number("select count(*) from parked").await;
    figures.none("events parked whose message is known", usize::try_from(stuck).unwrap());
    world.account_for(&mut figures).await;
    figures
}

/// The machines' clocks differ from Postgres's and from each other's, by an hour and by a day.
pub(super) async fn wrong_clocks(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::unstarted(run, "F16", &PLAIN).await;
    let clocks: &[[&str; 2]] =
        run.form.pick(&[["+1h", "-1h"]], &[["+1h", "-1h"], ["-1d", "+1d"], ["+0 x10", "-1h"], ["+1d", "+0"]]);
    world.begin_sampling();
    world.outside.play(Rule::always(Say::Takes { status: 201, late: 40 })).await;
    for clocks in clocks {
        for (replica, clock) in world.replicas.iter_mut().zip(clocks) {
            replica.kill().await;
            replica.variables.extend(faketime(clock));
            replica.begin();
        }
        for replica in &mut world.replicas {
            replica.becomes_ready(Duration::from_secs(60)).await;
        }
        let load = world.load(6, millis(20));
        let enough = takes(&world, run.form.pick(400, 2000), LONGEST).await;
        load.end().await;
        let drained = world.drains(Duration::from_secs(20)).await;
        figures.show(format!("with clocks at {clocks:?} all is taken and confirmed"), enough && drained);
    }
    figures.none("messages confirmed to two who ran", confirmed_twice(&world.twilio(), &[]));
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

/// What makes a process believe another time; only of the day, not how long something takes.
pub(super) fn faketime(clock: &str) -> [(String, String); 3] {
    let find = "ls /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1";
    let found = Command::new("/bin/sh").args(["-c", find]).output().unwrap();
    let library = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    assert!(!library.is_empty(), "the row needs libfaketime: apt-get install libfaketime");
    let pairs = [("LD_PRELOAD", library.as_str()), ("FAKETIME", clock), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))
}
