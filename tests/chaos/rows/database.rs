//! Postgres fails, or the wire to it does.

use std::time::{Duration, Instant};

use rand::RngExt;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::shared::{millis, nobody_waited_longer, only_503, takes};
use crate::harness::callers::{Manner, Part, request};
use crate::harness::figures::Figures;
use crate::harness::run::Run;
use crate::harness::world::{BOTH, PLAIN, Setting, World};
use crate::outside::orders::{Happening, Place, Then, Weather};

/// A request's own time limit is 10 s.
const DEADLINE: Duration = Duration::from_secs(10);
const BACK: Duration = Duration::from_secs(30);

/// Sessions of confirmd that have stayed in a transaction without doing anything for longer than a second.
const FORGOTTEN: &str = "select count(*) from pg_stat_activity
    where application_name like 'confirmd-%' and state like 'idle in transaction%'
      and clock_timestamp() - state_change > interval '1 second'";

pub(super) async fn callers_hang_up(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::new(run, "F04", &PLAIN).await;
    for number in 0..2 {
        world.outside.weather(&format!("db-{number}"), Weather { delay: 5, ..Weather::default() }).await;
    }
    let load = world.load(2, millis(5));
    let batches = run.form.pick(40, 400);
    let (mut forgotten, mut left) = (0, 0);
    for batch in 0..batches {
        let mut leaving = JoinSet::new();
        for _ in 0..5 {
            let after = millis(world.dice.random_range(0..60));
            let tellers = world.tellers();
            let at = tellers.at[left % 2];
            left += 1;
            let number = u32::try_from(left).unwrap();
            // Whole transactions and single statements, on each of the pools.
            leaving.spawn(async move {
                let (method, path, body) = match number % 5 {
                    0 | 1 => ("POST", "/v1/dead-letters/replay", Some(json!({"filter": {}, "dry_run": false}))),
                    2 => ("GET", "/v1/lanes", None),
                    _ => {
                        let login = tellers.callers.begin(Manner::Exact);
                        let (path, body) = request(login, Manner::Exact, Part::Event);
                        tellers.callers.note(Part::Event, login, crate::harness::http::Told::Unknown);
                        ("POST", path, Some(body))
                    }
                };
                let asking = crate::harness::http::ask(at, &tellers.token, method, path, body.as_ref(), DEADLINE);
                drop(timeout(after, asking).await);
            });
        }
        leaving.join_all().await;
        if batch % 10 == 0 {
            forgotten += world.cluster.number(FORGOTTEN).await;
        }
    }
    load.end().await;
    world.replicas[0].kill().await;
    world.replicas[1].kill().await;
    figures.did(format!("{left} hung up"));
    figures.none("sessions that stayed in a transaction", usize::try_from(forgotten).unwrap());
    let begins = world.cluster.log().matches("already a transaction in progress").count();
    figures.none("BEGINs within a transaction", begins);
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

pub(super) async fn kill(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::new(run, "F05", &PLAIN).await;
    let load = world.load(8, millis(10));
    let rounds = run.form.pick(4, 30);
    let mut longest = Duration::ZERO;
    for _ in 0..rounds {
        assert!(takes(&world, 20, BACK).await, "callers are served");
        world.cluster.stop_writing().await;
        assert!(takes(&world, 20, BACK).await, "callers are served");
        sleep(millis(world.dice.random_range(0..200))).await;
        world.cluster.kill().await;
        sleep(millis(world.dice.random_range(0..600))).await;
        let accepts = world.cluster.start().await;
        takes(&world, 1, BACK).await;
        longest = longest.max(accepts.elapsed());
    }
    load.end().await;
    only_503(&world, &mut figures);
    nobody_waited_longer(&world, &mut figures, DEADLINE);
    figures.no_longer_than(
        "longest from Postgres's return to the next acknowledgement",
        longest,
        Duration::from_secs(3),
    );
    figures.did(format!("{rounds} kills of Postgres"));
    world.account_for(&mut figures).await;
    figures
}

/// Nothing in confirmd can be told to do without `synchronous_commit`: so a trigger turns it off again behind its back.
///
/// What Postgres has not written yet is lost for certain: the process that would write it is stopped (SIGSTOP) before
/// the acknowledgements that count, and all are killed after them.
pub(super) async fn kill_without_synchronous_commit(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let setting = Setting {
        roles: BOTH,
        with: &[],
        postgres: &["autovacuum = off", "bgwriter_lru_maxpages = 0", "wal_buffers = 16MB"],
    };
    let world = World::new(run, "F05-off", &setting).await;
    world.cluster.sql(OFF_BEHIND_ITS_BACK).await;
    let rounds = run.form.pick(2, 5);
    for _ in 0..rounds {
        // Its own load each time: nobody who tried again may make good what was lost.
        world.cluster.stop_writing().await;
        let load = world.load(4, millis(5));
        assert!(takes(&world, 40, BACK).await, "callers are served");
        world.cluster.kill().await;
        load.end().await;
        world.cluster.start().await;
    }
    figures.did(format!("{rounds} kills of Postgres"));
    let mut broken = Figures::default();
    world.account_for(&mut broken).await;
    figures.done.extend(broken.done);
    let lost = broken.shown.iter().find(|shown| shown.what.starts_with("K1 "));
    figures.show(lost.map_or("nothing was lost".to_owned(), |shown| format!("found: {}", shown.what)), lost.is_some());
    figures
}

/// On every table: a single commit that waits would write what the others left.
const OFF_BEHIND_ITS_BACK: &str = "
    create function off_behind_its_back() returns trigger language plpgsql
        as $$ begin perform set_config('synchronous_commit', 'off', true); return null; end $$;
    do $$ declare its_name regclass; begin
        for its_name in select oid from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace loop
            execute format('create trigger off_behind_its_back after insert or update or delete on %s
                            for each statement execute function off_behind_its_back()', its_name);
        end loop;
    end $$;";

pub(super) async fn restarts(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F06", &PLAIN).await;
    let load = world.load(6, millis(20));
    let rounds = run.form.pick(4, 50);
    for round in 0..rounds {
        assert!(takes(&world, 20, BACK).await, "callers are served");
        world.cluster.stop(if round % 2 == 0 { "fast" } else { "immediate" });
        world.cluster.start().await;
    }
    let until = Instant::now() + Duration::from_secs(run.form.pick(5, 60));
    let mut ended = 0;
    while Instant::now() < until {
        ended += world
            .cluster
            .number(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where application_name like 'confirmd-%' and pid <> pg_backend_pid()",
            )
            .await;
        sleep(millis(200)).await;
    }
    assert!(takes(&world, 20, BACK).await, "callers are served");
    load.end().await;
    only_503(&world, &mut figures);
    nobody_waited_longer(&world, &mut figures, DEADLINE);
    figures.did(format!("{rounds} restarts, {ended} sessions ended"));
    world.account_for(&mut figures).await;
    figures
}

pub(super) async fn commits_whose_answer_is_lost(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F08", &PLAIN).await;
    let load = world.load(8, millis(10));
    let cuts = run.form.pick(30, 500);
    for number in 0..2 {
        let place = Place::After("COMMIT".to_owned());
        world.outside.gate(&format!("db-{number}"), place, Then::Cut, u32::try_from(cuts).unwrap(), 0.3).await;
    }
    let met = |number: usize| world.outside.times(&Happening::Gate { name: format!("db-{number}") });
    let enough = crate::harness::comes_true(Duration::from_secs(300), async || cuts <= met(0) + met(1)).await;
    figures.show(format!("{} commits lost their answer (at least {cuts})", met(0) + met(1)), enough);
    load.end().await;
    only_503(&world, &mut figures);
    nobody_waited_longer(&world, &mut figures, DEADLINE);
    world.account_for(&mut figures).await;
    figures
}

/// As for callers who wait no longer than two and a half seconds.
pub(super) const IMPATIENT: Setting = Setting {
    roles: BOTH,
    with: &[
        ("DATABASE__ACQUIRE_TIMEOUT", "500ms"),
        ("DATABASE__STATEMENT_TIMEOUT", "1500ms"),
        ("DATABASE__LOCK_TIMEOUT", "1s"),
        ("SERVER__REQUEST_TIMEOUT", "2500ms"),
        ("SERVER__BODY_TIMEOUT", "2s"),
    ],
    postgres: &[],
};

pub(super) async fn black_hole(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F09", &IMPATIENT).await;
    let load = world.load(8, millis(20));
    let mut longest = Duration::ZERO;
    for _ in 0..run.form.pick(1, 5) {
        assert!(takes(&world, 40, BACK).await, "callers are served");
        for number in 0..2 {
            world.outside.weather(&format!("db-{number}"), Weather { silent: true, ..Weather::default() }).await;
        }
        sleep(Duration::from_secs(10)).await;
        for number in 0..2 {
            world.outside.weather(&format!("db-{number}"), Weather::default()).await;
        }
        let healed = Instant::now();
        takes(&world, 20, BACK).await;
        longest = longest.max(healed.elapsed());
    }
    load.end().await;
    only_503(&world, &mut figures);
    nobody_waited_longer(&world, &mut figures, Duration::from_secs(3));
    figures.no_longer_than("longest from the end of a silence to 20 acknowledgements", longest, Duration::from_secs(5));
    figures.did(format!("{} silences of 10 s", run.form.pick(1, 5)));
    world.account_for(&mut figures).await;
    figures
}
