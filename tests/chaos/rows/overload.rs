//! More is told than Postgres takes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::abuse::{PATIENCE, paced};
use super::shared::{millis, only_503, quantile};
use crate::harness::figures::Figures;
use crate::harness::http::{Told, ask};
use crate::harness::machine::memory;
use crate::harness::run::Run;
use crate::harness::world::{BOTH, Setting, World};

/// One writer with small batches, so that what the service can take is little beside what its callers can tell.
const NARROW: Setting =
    Setting { roles: BOTH, with: &[("INTAKE__WRITERS", "1"), ("INTAKE__BATCH", "20")], postgres: &[] };

/// A slow disk: each batch takes 50 ms longer.
const SLOW: &str = "
    create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.05); return null; end $$;
    create trigger slow after insert on event for each statement execute function slow();";

/// Callers who wait for their answers, few enough that each has one.
const CAPABLE: u32 = 64;
/// The default of `server.request_timeout`, and a moment for the way.
const DEADLINE: Duration = Duration::from_secs(11);

/// Ten times as much as is taken.
pub(super) async fn tenfold(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F54", &NARROW).await;
    world.cluster.sql(SLOW).await;
    let (at, pid) = (world.replicas[0].address, world.replicas[0].pid());
    let capacity = capacity(at, &world.other, Duration::from_secs(run.form.pick(3, 10))).await;
    let during = Duration::from_secs(run.form.pick(6, 60));
    let every = Duration::from_secs_f64(0.1 / capacity);
    let begun = Instant::now();
    let flood = paced(at, &world.other, "flood", every, during);
    let watch = async {
        sleep(during / 3).await;
        let early = memory(pid, "VmRSS");
        sleep((begun + during).saturating_duration_since(Instant::now())).await;
        (early, memory(pid, "VmRSS"), recovery(at, &world.other).await)
    };
    let (told, (early, late, recovery)) = tokio::join!(flood, watch);
    let took = |wanted: fn(&Told) -> bool| -> Vec<Duration> {
        told.iter().filter(|(_, told)| wanted(told)).map(|(took, _)| *took).collect()
    };
    let (taken, shed) = (took(|told| matches!(told, Told::Ok(_))), took(|told| *told == Told::No(503)));
    let (rate, offered) = (per_second(taken.len(), during), per_second(told.len(), during));
    figures.did(format!("{offered:.0} events/s offered, {capacity:.0}/s possible"));
    figures.show(format!("{rate:.0}/s taken (at least 80 % of what is possible)"), 0.8 * capacity <= rate);
    figures.show(format!("offered at least eight times that: {:.1}", offered / capacity), 8.0 * capacity <= offered);
    figures.none("answers that are neither 2xx nor 503", told.len() - taken.len() - shed.len());
    figures.no_longer_than("p99 of those taken", quantile(&taken, 0.99), DEADLINE);
    figures.no_longer_than("p99 of those refused", quantile(&shed, 0.99), millis(run.form.pick(2000, 50)));
    let room = early / 10;
    figures.show(
        format!("memory {early} KiB after a third of it, {late} KiB at its end (10 % more at most)"),
        late <= early + room,
    );
    figures.no_longer_than("from its end until an event is taken within 0.5 s", recovery, Duration::from_secs(2));
    world.cluster.sql("drop trigger slow on event").await;
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

fn per_second(count: usize, during: Duration) -> f64 {
    count as f64 / during.as_secs_f64()
}

/// Events a second that are taken of callers who each wait for their answer.
async fn capacity(at: SocketAddr, token: &str, during: Duration) -> f64 {
    let (begun, mut callers) = (Instant::now(), JoinSet::new());
    for caller in 0..CAPABLE {
        let token = token.to_owned();
        callers.spawn(async move {
            let mut taken = 0;
            while begun.elapsed() < during {
                taken += u32::from(matches!(tell(at, &token, &format!("capable-{caller}-{taken}")).await, Told::Ok(_)));
            }
            taken
        });
    }
    let taken: u32 = callers.join_all().await.into_iter().sum();
    f64::from(taken) / begun.elapsed().as_secs_f64()
}

/// How long it takes from now until an event is taken as if nothing had been.
async fn recovery(at: SocketAddr, token: &str) -> Duration {
    let ended = Instant::now();
    for number in 0.. {
        let asked = Instant::now();
        let told = tell(at, token, &format!("after-{number}")).await;
        if matches!(told, Told::Ok(_)) && asked.elapsed() < millis(500) || PATIENCE < ended.elapsed() {
            break;
        }
        sleep(millis(20)).await;
    }
    ended.elapsed()
}

async fn tell(at: SocketAddr, token: &str, id: &str) -> Told {
    let body = json!({"event_id": id, "type": "otp.completed", "action_id": id});
    ask(at, token, "POST", "/v1/events", Some(&body), PATIENCE).await
}
