//! Hours of a little of everything.

use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::time::sleep;

use super::shared::{given_up, millis, only_503, takes};
use crate::harness::figures::Figures;
use crate::harness::machine::{files, memory};
use crate::harness::run::Run;
use crate::harness::world::{PLAIN, World};
use crate::outside::orders::{How, Phase, Rule, Say, Weather};

const BACK: Duration = Duration::from_secs(60);

/// What is looked at in a quiet moment.
struct Look {
    memory: i64,
    files: i64,
    sessions: i64,
    dead_rows: i64,
}

type What = fn(&Look) -> i64;

const SESSIONS: &str = "select count(*) from pg_stat_activity where application_name like 'confirmd-%'";
const DEAD_ROWS: &str =
    "select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables where relname = 'feedback'";

/// Faults one after the other, each of another kind and at another time. One replica lives through all of it.
pub(super) async fn of_everything(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::new(run, "F61", &PLAIN).await;
    let load = world.load(3, millis(60));
    let (until, mut faults, mut looks) = (Instant::now() + run.soak, 0, Vec::new());
    while Instant::now() < until {
        let quiet = world.dice.random_range(1500..6000);
        sleep(millis(quiet)).await;
        assert!(takes(&world, 5, BACK).await, "callers are served before fault {faults}");
        looks.push(look(&world).await);
        let kind = world.dice.random_range(0..9);
        play(&mut world, kind).await;
        faults += 1;
    }
    load.end().await;
    world.heal().await;
    world.drains(BACK).await;
    figures.did(format!("{faults} faults in {} s", run.soak.as_secs()));
    // Whatever grows has grown by the last third. What is learned at the beginning (sessions, buffers) is not growth.
    let third = looks.len() / 3;
    let (early, late) = (&looks[third..2 * third], &looks[2 * third..]);
    let middle = |looks: &[Look], what: What| {
        let mut seen: Vec<i64> = looks.iter().map(what).collect();
        seen.sort_unstable();
        seen.get(seen.len() / 2).copied().unwrap_or_default()
    };
    let grows: [(&str, What, i64); 3] = [
        ("KiB of memory", |look| look.memory, 1024),
        ("open files", |look| look.files, 8),
        ("sessions of Postgres", |look| look.sessions, 8),
    ];
    for (what, of, most) in grows {
        let (early, late) = (middle(early, of), middle(late, of));
        let told = format!("{what}: {early} in the second third, {late} in the last (at most {most} more)");
        figures.show(told, late <= early + most);
    }
    let dead = looks.iter().map(|look| look.dead_rows).max().unwrap_or(0);
    figures.at_most("dead rows of the queue, at most", usize::try_from(dead).unwrap(), 5000);
    figures.none("given up", given_up(&world).await);
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

async fn look(world: &World) -> Look {
    let pid = world.replicas[0].pid();
    Look {
        memory: i64::try_from(memory(pid, "VmRSS")).unwrap(),
        files: i64::try_from(files(pid)).unwrap(),
        sessions: world.cluster.number(SESSIONS).await,
        dead_rows: world.cluster.number(DEAD_ROWS).await,
    }
}

/// One fault, and its end.
async fn play(world: &mut World, kind: u32) {
    let answers = |status, body: &str| Say::Answer { status, headers: Vec::new(), body: body.to_owned() };
    let while_it_lasts = millis(world.dice.random_range(300..2500));
    match kind {
        0 => {
            world.replicas[1].kill().await;
            world.replicas[1].start().await;
        }
        1 => {
            world.cluster.stop("immediate");
            world.cluster.start().await;
        }
        2 => world.cluster.try_sql(END_ALL).await,
        3 => {
            world.outside.play(Rule::always(answers(503, "{\"code\": 20503}")).chance(0.7)).await;
            sleep(while_it_lasts).await;
        }
        4 => {
            world.outside.play(Rule::always(Say::Stop { at: Phase::Heard, how: How::Hang }).taken().chance(0.5)).await;
            sleep(while_it_lasts).await;
        }
        5 => {
            for wire in ["db-0", "db-1"] {
                world.outside.weather(wire, Weather { silent: true, ..Weather::default() }).await;
            }
            sleep(while_it_lasts).await;
            for wire in ["db-0", "db-1"] {
                world.outside.weather(wire, Weather::default()).await;
            }
        }
        6 => {
            for wire in ["twilio-0", "twilio-1"] {
                world.outside.cut(wire).await;
            }
        }
        7 => {
            world.replicas[1].signal("STOP");
            sleep(while_it_lasts + millis(1500)).await;
            world.replicas[1].signal("CONT");
        }
        _ => {
            world.outside.play(Rule::always(answers(429, "{\"code\": 20429}")).chance(0.5)).await;
            sleep(while_it_lasts).await;
        }
    }
    world.outside.behave().await;
}

const END_ALL: &str = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'confirmd-%'";
