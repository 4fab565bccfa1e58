//! The machine gives too little, or tells Postgres the wrong time.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::leases::faketime;
use super::shared::{given_up, millis, only_503, takes};
use crate::harness::figures::Figures;
use crate::harness::machine::{Bound, memory, worked};
use crate::harness::run::Run;
use crate::harness::world::{PLAIN, World};
use crate::outside::orders::{Rule, Say};

const LONGEST: Duration = Duration::from_secs(120);

/// What a process may have, and what each of its connections may add to that. In KiB.
const MEMORY: u64 = 64 << 10;
const MEMORY_OF_A_CONNECTION: u64 = 16;

/// One replica has few file descriptors, the other little memory.
pub(super) async fn little_of_everything(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::unstarted(run, "F18", &PLAIN).await;
    let connections = run.form.pick(100, 350);
    let most = MEMORY + MEMORY_OF_A_CONNECTION * connections;
    // Only root may bound the memory; what it takes can be seen without.
    let bound = run.form.pick(false, true).then(|| Bound::new("memory", &[("memory.limit_in_bytes", most << 10)]));
    world.replicas[0].under = ["prlimit", "--nofile=64"].map(str::to_owned).into();
    if let Some(bound) = &bound {
        world.replicas[1].under = bound.words();
    }
    for replica in &mut world.replicas {
        replica.start().await;
    }
    world.begin_sampling();
    let load = world.load(6, millis(20));
    assert!(takes(&world, 60, LONGEST).await, "callers are served");

    // Connections that nobody uses, more than there are descriptors; the kernel completes what the process does not.
    let few = world.replicas[0].pid();
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(world.replicas[0].address).await.unwrap());
    }
    sleep(millis(200)).await;
    let (before, began) = (worked(few), Instant::now());
    sleep(Duration::from_secs(run.form.pick(3, 8))).await;
    let share = (worked(few) - before).as_secs_f64() / began.elapsed().as_secs_f64();
    drop(idle);
    let said = world.replicas[0].log().matches("Too many open files").count();
    figures.show(format!("it could not accept: {said} times (at least once)"), 0 < said);
    figures.show(format!("share of a processor meanwhile: {:.0} % (below 20 %)", share * 100.0), share < 0.2);
    figures.show("callers are served after it", takes(&world, 60, LONGEST).await);

    // Connections that nobody uses, as many as there may be, beside the load.
    let small = world.replicas[1].pid();
    let mut idle = Vec::new();
    for _ in 0..connections {
        idle.push(TcpStream::connect(world.replicas[1].address).await.unwrap());
    }
    figures.show("callers are served beside idle connections", takes(&world, run.form.pick(300, 5000), LONGEST).await);
    drop(idle);
    load.end().await;
    let (seen, most) = (memory(small, "VmHWM"), usize::try_from(most).unwrap());
    let told = format!("KiB at the peak, with {connections} idle connections");
    figures.at_most(&told, usize::try_from(seen).unwrap(), most);
    if let Some(bound) = &bound {
        let killed = bound.read("memory.oom_control").contains("oom_kill 0");
        figures.show(format!("nothing was killed for want of memory: {killed}"), killed);
    }
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    drop(bound);
    figures
}

/// One replica gets a twentieth of a processor, while the other has what it needs.
pub(super) async fn little_time(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F19", &PLAIN).await;
    // So that there is always something on the way.
    world.outside.play(Rule::always(Say::Takes { status: 201, late: 40 })).await;
    let bound = Bound::new("cpu", &[("cpu.cfs_period_us", 100_000), ("cpu.cfs_quota_us", 5_000)]);
    let load = world.load(8, millis(20));
    for _ in 0..run.form.pick(1, 4) {
        assert!(takes(&world, 60, LONGEST).await, "callers are served");
        bound.set("cpu.cfs_quota_us", 5_000);
        bound.holds(world.replicas[1].pid());
        let beside = takes(&world, 100, LONGEST).await;
        figures.show("callers are served beside it", beside);
        sleep(Duration::from_secs(run.form.pick(4, 10))).await;
        bound.set("cpu.cfs_quota_us", -1);
    }
    load.end().await;
    world.drains(LONGEST).await;
    let throttled = bound.read("cpu.stat");
    let throttled = throttled.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse::<u64>().ok());
    let throttled = throttled.unwrap_or(0);
    figures.show(format!("{throttled} times it had to wait for its share (at least 50)"), 50 <= throttled);
    let requests = world.twilio();
    let mut messages: Vec<_> = requests.iter().filter_map(|heard| heard.message_sid.clone()).collect();
    messages.sort_unstable();
    messages.dedup();
    let explained = "select count(*) from attempt_on_record where verdict in ('interrupted', 'retry')";
    let explained = usize::try_from(world.cluster.number(explained).await).unwrap();
    figures.at_most("further requests for a message", requests.len() - messages.len(), explained);
    figures.none("given up", given_up(&world).await);
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    drop(bound);
    figures
}

/// Postgres's clock jumps, forth and back, while every second request fails and is tried again.
pub(super) async fn jumping_clock(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::unstarted(run, "F17", &PLAIN).await;
    world.cluster.stop("fast");
    let clock = world.folder.join("clock");
    let sets = |text: &str| std::fs::write(&clock, text).unwrap();
    sets("+0");
    let [library, _, monotonic] = faketime("+0");
    let file = ("FAKETIME_TIMESTAMP_FILE".to_owned(), clock.to_str().unwrap().to_owned());
    world.cluster.environment([library, monotonic, file, ("FAKETIME_NO_CACHE".to_owned(), "1".to_owned())]);
    world.cluster.start().await;
    world.clocks_differ = true;
    for replica in &mut world.replicas {
        replica.start().await;
    }
    world.begin_sampling();
    let refusal = Say::Answer { status: 503, headers: Vec::new(), body: "{\"code\": 20503}".to_owned() };
    let storm = [Rule::always(refusal).chance(0.5), Rule::always(Say::Takes { status: 201, late: 150 })];
    for _ in 0..run.form.pick(1, 2) {
        for (jump, to, most) in [("+1 h", "+3600", AT_ONCE), ("-4 h", "-10800", PULLED_IN), ("+3 h", "+0", AT_ONCE)] {
            for rule in &storm {
                world.outside.play(rule.clone()).await;
            }
            let load = world.load(6, millis(20));
            assert!(takes(&world, 60, LONGEST).await, "callers are served");
            let before = world.cluster.number(SECONDS).await;
            sets(to);
            let jumped = 3000 < (world.cluster.number(SECONDS).await - before).abs();
            let owed = world.cluster.number("select count(*) from feedback").await;
            figures.show(format!("the clock jumps by {jump}, while {owed} are owed"), jumped && 0 < owed);
            figures.show("callers are served after it", takes(&world, 60, LONGEST).await);
            load.end().await;
            world.outside.behave().await;
            let ended = Instant::now();
            figures.show("all is confirmed after it", world.drains(LONGEST).await);
            figures.no_longer_than("after how long", ended.elapsed(), most);
        }
    }
    figures.none("given up", given_up(&world).await);
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

/// A lease and a backoff, and a little.
const AT_ONCE: Duration = Duration::from_secs(6);
/// What a clock that went back has put off further than anything can be is brought back by housekeeping, once a minute.
const PULLED_IN: Duration = Duration::from_secs(85);

const SECONDS: &str = "select extract(epoch from clock_timestamp())::bigint";
