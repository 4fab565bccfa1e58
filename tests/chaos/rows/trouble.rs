//! Postgres is there, and does not serve as it should: full, locked, refusing, or quarrelling.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::sleep;

use super::database::IMPATIENT;
use super::shared::{given_up, millis, nobody_waited_longer, only_503, takes};
use crate::harness::callers::{Manner, Part, action_of, request};
use crate::harness::cluster::url;
use crate::harness::figures::Figures;
use crate::harness::http::{Told, ask};
use crate::harness::run::Run;
use crate::harness::world::{BOTH, PLAIN, Setting, World};
use crate::outside::orders::{Happening, Rule, Say};

const DEADLINE: Duration = Duration::from_secs(10);
const BACK: Duration = Duration::from_secs(60);

const FEW: Setting = Setting { roles: BOTH, with: &[("DATABASE__INTAKE_CONNECTIONS", "4")], postgres: &[] };

pub(super) async fn exhausted_pool(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F10", &FEW).await;
    world.cluster.sql(SLOW).await;
    let load = world.load(run.form.pick(60, 200), millis(1));
    let until = Instant::now() + Duration::from_secs(run.form.pick(5, 30));
    let (mut dead, before) = (0, world.twilio().len());
    while Instant::now() < until {
        for replica in &world.replicas {
            let told = ask(replica.address, "", "GET", "/livez", None, Duration::from_secs(2)).await;
            dead += usize::from(!matches!(told, Told::Ok(_)));
        }
        sleep(millis(100)).await;
    }
    let sent = world.twilio().len() - before;
    load.end().await;
    world.cluster.sql("drop trigger slow on event").await;
    figures.none("times that /livez was not 200 within 2 s", dead);
    figures.show(format!("{sent} requests to Twilio meanwhile"), 0 < sent);
    only_503(&world, &mut figures);
    nobody_waited_longer(&world, &mut figures, DEADLINE + Duration::from_secs(1));
    world.account_for(&mut figures).await;
    figures
}

const SLOW: &str = "
    create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.3); return null; end $$;
    create trigger slow after insert on event for each statement execute function slow();";

pub(super) async fn locks(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F11", &IMPATIENT).await;
    let load = world.load(8, millis(15));
    assert!(takes(&world, 40, BACK).await, "callers are served");
    // One action is locked: who speaks of it waits, the others do not.
    let login = world.callers.begin(Manner::EventFirst);
    let mut holder = world.cluster.connect().await.unwrap();
    let lock = format!(
        "begin; insert into action (namespace, action_id, first_seen_at) select namespace, '{}', now() from event limit 1",
        action_of(login)
    );
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut holder).await.unwrap();
    let (path, body) = request(login, Manner::EventFirst, Part::Event);
    let tellers = world.tellers();
    let told = ask(tellers.at[0], &tellers.token, "POST", path, Some(&body), DEADLINE).await;
    figures.show(format!("who speaks of the locked action is told {told:?} (503)"), told == Told::No(503));
    world.callers.note(Part::Event, login, told);
    figures.show("the others are served meanwhile", takes(&world, 60, Duration::from_secs(20)).await);
    sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();
    // A whole table is locked.
    let mut longest = Duration::ZERO;
    for _ in 0..run.form.pick(1, 5) {
        sqlx::raw_sql("begin; lock table event in access exclusive mode").execute(&mut holder).await.unwrap();
        sleep(Duration::from_secs(run.form.pick(4, 10))).await;
        sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();
        let freed = Instant::now();
        takes(&world, 20, BACK).await;
        longest = longest.max(freed.elapsed());
    }
    load.end().await;
    holder.close().await.unwrap();
    only_503(&world, &mut figures);
    nobody_waited_longer(&world, &mut figures, Duration::from_secs(3));
    figures.no_longer_than("longest from the end of a lock to 20 acknowledgements", longest, Duration::from_secs(5));
    world.account_for(&mut figures).await;
    figures
}

pub(super) async fn refused_sessions(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F12", &PLAIN).await;
    let mut admin = PgConnection::connect(&url(world.cluster.address, "postgres")).await.unwrap();
    let load = world.load(8, millis(15));
    let away = Duration::from_secs(run.form.pick(4, 15));
    let mut longest = Duration::ZERO;
    let connected =
        || (0..2).map(|n| world.outside.times(&Happening::Connected { name: format!("db-{n}") })).max().unwrap_or(0);
    let mut most = 0;
    for (refuse, serve) in [
        ("alter database confirmd allow_connections false", "alter database confirmd allow_connections true"),
        ("alter role chaos password 'another'", "alter role chaos password 'chaos'"),
    ] {
        assert!(takes(&world, 40, BACK).await, "callers are served");
        sqlx::raw_sql(refuse).execute(&mut admin).await.unwrap();
        sqlx::raw_sql(END_ALL).execute(&mut admin).await.unwrap();
        let before = connected();
        sleep(away).await;
        most = most.max(connected() - before);
        sqlx::raw_sql(serve).execute(&mut admin).await.unwrap();
        let again = Instant::now();
        takes(&world, 20, BACK).await;
        longest = longest.max(again.elapsed());
    }
    load.end().await;
    admin.close().await.unwrap();
    only_503(&world, &mut figures);
    nobody_waited_longer(&world, &mut figures, DEADLINE);
    figures.no_longer_than(
        "longest from the end of the refusal to 20 acknowledgements",
        longest,
        Duration::from_secs(5),
    );
    let bound = usize::try_from(away.as_secs()).unwrap() * 5 * 3;
    figures.at_most("connections that a replica tried in one refusal, for its three pools", most, bound);
    world.account_for(&mut figures).await;
    figures
}

const END_ALL: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where datname = 'confirmd' and pid <> pg_backend_pid()";

pub(super) async fn quarrels(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F13", &PLAIN).await;
    world.cluster.sql(QUARREL).await;
    let load = world.load(run.form.pick(8, 24), millis(5));
    let most = run.form.pick(100, 5000);
    let forced = async || world.cluster.number("select last_value from forced").await;
    let enough = crate::harness::comes_true(Duration::from_secs(600), async || most <= forced().await).await;
    load.end().await;
    figures.show(format!("{} statements were ended by a deadlock or a serialization failure", forced().await), enough);
    world.cluster.sql("drop function quarrel cascade").await;
    only_503(&world, &mut figures);
    nobody_waited_longer(&world, &mut figures, DEADLINE);
    world.account_for(&mut figures).await;
    figures
}

/// A sequence goes on whatever becomes of its transaction.
const QUARREL: &str = "
    create sequence forced;
    create function quarrel() returns trigger language plpgsql as $$ begin
        if random() < 0.2 then
            perform nextval('forced');
            raise exception 'forced' using errcode = case when random() < 0.5 then '40P01' else '40001' end;
        end if;
        return null;
    end $$;
    create trigger quarrel after insert on event for each statement execute function quarrel();
    create trigger quarrel after insert on message for each statement execute function quarrel();
    create trigger quarrel after update or delete on feedback for each statement execute function quarrel();";

pub(super) async fn full_disk(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::unstarted(run, "F14", &PLAIN).await;
    world.cluster.stop("fast");
    let disk = Disk::mount(&world.folder.join("postgres"), "200m");
    world.cluster.start().await;
    for replica in &mut world.replicas {
        replica.start().await;
    }
    world.begin_sampling();
    let load = world.load(6, millis(10));
    let rounds = run.form.pick(1, 4);
    let mut longest = Duration::ZERO;
    for _ in 0..rounds {
        assert!(takes(&world, 60, BACK).await, "callers are served");
        disk.fill();
        sleep(Duration::from_secs(2)).await;
        // The log needs a new file, and there is no room for one: Postgres ends itself.
        world.cluster.try_sql("select pg_switch_wal()").await;
        sleep(Duration::from_secs(1)).await;
        world.cluster.try_sql("select pg_switch_wal()").await;
        sleep(Duration::from_secs(2)).await;
        disk.make_room();
        world.cluster.kill().await;
        let accepts = world.cluster.start().await;
        takes(&world, 1, BACK).await;
        longest = longest.max(accepts.elapsed());
    }
    load.end().await;
    let panics = world.cluster.log().matches("No space left on device").count();
    figures.did(format!("{rounds} times full"));
    figures.show(format!("{panics} times Postgres said that there is no space left"), rounds <= panics);
    only_503(&world, &mut figures);
    nobody_waited_longer(&world, &mut figures, DEADLINE);
    figures.no_longer_than(
        "longest from Postgres's return to the next acknowledgement",
        longest,
        Duration::from_secs(3),
    );
    world.account_for(&mut figures).await;
    drop(disk);
    figures
}

/// A small disk in memory, for what is in a folder. Needs root.
struct Disk(std::path::PathBuf);

impl Disk {
    /// Moves a cluster's data there.
    fn mount(cluster: &Path, size: &str) -> Self {
        let disk = cluster.join("disk");
        let sh = format!(
            "set -e; cd '{}'; mkdir disk; mount -t tmpfs -o size={size} confirmd-chaos disk; chown --reference=data disk; \
             cp -a data disk/data; rm -rf data; ln -s disk/data data",
            cluster.display()
        );
        let output = Command::new("/bin/sh").args(["-c", &sh]).output().unwrap();
        assert!(output.status.success(), "the row needs root: {}", String::from_utf8_lossy(&output.stderr));
        Self(disk)
    }

    fn fill(&self) {
        // It ends when there is no room left, which is what is wanted.
        Command::new("dd")
            .arg("if=/dev/zero")
            .arg(format!("of={}/ballast", self.0.display()))
            .arg("bs=64k")
            .output()
            .unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.0).output().unwrap();
    }
}

/// Twilio is away for a while: nobody storms it, neither while it is away nor when it is back.
pub(super) async fn outage(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F33", &PLAIN).await;
    let answer = Say::Answer { status: 503, headers: Vec::new(), body: "{\"code\": 20503}".to_owned() };
    world.outside.play(Rule::always(answer)).await;
    let load = world.load(6, millis(15));
    assert!(takes(&world, 200, BACK).await, "callers are served");
    // By now the breakers are open.
    let (before, seconds) = (world.twilio().len(), run.form.pick(5, 60));
    sleep(Duration::from_secs(seconds)).await;
    let probes = world.twilio().len() - before;
    let healed = super::shared::now();
    world.outside.behave().await;
    assert!(takes(&world, 100, BACK).await, "callers are served");
    load.end().await;
    let drained = world.drains(Duration::from_secs(120)).await;
    let requests = world.twilio();
    let most = (0..600)
        .map(|tenth| healed + tenth * 100)
        .map(|from| requests.iter().filter(|heard| (from..from + 20).contains(&heard.at)).count())
        .max()
        .unwrap_or(0);
    figures.did(format!("an outage of {seconds} s"));
    // Two replicas, one probe a half second each, and a little for the edges.
    figures.at_most("requests while it is away", probes, usize::try_from(seconds).unwrap() * 4 + 4);
    figures.show(format!("all is confirmed after it (at most {most} requests in 20 ms)"), drained);
    figures.none("given up", given_up(&world).await);
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}
