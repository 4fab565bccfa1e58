//! More is asked for than can be done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::abuse::{PATIENCE, paced};
use super::shared::{millis, only_503, quantile};
use crate::harness::callers::is_ok;
use crate::harness::figures::Figures;
use crate::harness::http::{Told, ask};
use crate::harness::machine::memory;
use crate::harness::run::Run;
use crate::harness::world::{BOTH, Setting, World};

/// What can be committed is small and known: each event takes 25 ms, and four commits may be under way.
const SMALL: Setting = Setting {
    roles: BOTH,
    with: &[
        ("INTAKE__BATCH", "10"),
        ("INTAKE__MAX_WAITING", "1000"),
        ("INTAKE__MAX_WAITING_PER_CALLER", "1000"),
        ("SERVER__MAX_CONNECTIONS", "8000"),
        ("SERVER__MAX_CONNECTIONS_PER_PEER", "8000"),
    ],
    postgres: &[],
};

const SLOW: &str = "
    create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.025); return null; end $$;
    create trigger slow after insert on event for each row execute function slow();";

/// Ten times as many events as can be taken.
pub(super) async fn ten_times(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F54", &SMALL).await;
    world.cluster.sql(SLOW).await;
    let (at, during) = (world.replicas[0].address, Duration::from_secs(run.form.pick(15, 60)));
    // A load that is met: its callers wait for each other.
    let looked_at = Duration::from_secs(5);
    let (taken, began) = (Arc::<AtomicU64>::default(), Instant::now());
    let mut callers = JoinSet::new();
    for caller in 0..32 {
        let (taken, token) = (taken.clone(), world.other.clone());
        callers.spawn(async move {
            let mut number = 0;
            while began.elapsed() < looked_at {
                number += 1;
                let id = format!("capacity-{caller}-{number}");
                let body = json!({"event_id": id, "type": "otp.completed", "action_id": id});
                let told = ask(at, &token, "POST", "/v1/events", Some(&body), PATIENCE).await;
                taken.fetch_add(u64::from(is_ok(&told)), Ordering::SeqCst);
            }
        });
    }
    callers.join_all().await;
    let capacity = taken.load(Ordering::SeqCst) as f64 / began.elapsed().as_secs_f64();
    let pid = world.replicas[0].pid();
    let every = Duration::from_secs_f64(1.0 / (10.0 * capacity));
    let began = Instant::now();
    let memories = async {
        sleep(during / 2).await;
        let half = memory(pid, "VmRSS");
        sleep(during / 2).await;
        (half, memory(pid, "VmRSS"))
    };
    let overload = paced(at, &world.other, "overload", every, during);
    // The rest is answered when the queue is empty again; recovered is who is no longer turned away.
    let recovery = async {
        sleep(during).await;
        let ended = Instant::now();
        let body = json!({"event_id": "after", "type": "otp.completed", "action_id": "after"});
        while !is_ok(&ask(at, &world.tellers().token, "POST", "/v1/events", Some(&body), PATIENCE).await) {}
        ended.elapsed()
    };
    let (told, (half, end), recovered) = tokio::join!(overload, memories, recovery);
    let took = |which: fn(&Told) -> bool| -> Vec<Duration> {
        told.iter().filter(|(_, told)| which(told)).map(|(took, _)| *took).collect()
    };
    let (accepted, shed) = (took(is_ok), took(|told| *told == Told::No(503)));
    let goodput = accepted.len() as f64 / began.elapsed().as_secs_f64();
    let rate = told.len() as f64 / during.as_secs_f64();
    figures.did(format!("{rate:.0} events/s for {} s, where {capacity:.0} can be taken", during.as_secs()));
    figures.show(format!("offered {:.1} times what can be taken (at least 8)", rate / capacity), 8.0 * capacity < rate);
    figures.show(format!("taken: {goodput:.0} events/s (at least 80 % of it)"), capacity * 0.8 <= goodput);
    figures.no_longer_than("p99 of being turned away", quantile(&shed, 0.99), millis(run.form.pick(500, 50)));
    figures.no_longer_than("p99 of being taken", quantile(&accepted, 0.99), Duration::from_secs(10));
    figures.none("that were neither taken nor answered 503", told.len() - accepted.len() - shed.len());
    let grown = end as f64 / half as f64;
    figures.show(format!("memory at the end, of that in the middle: {grown:.2} (at most 1.1)"), grown <= 1.1);
    figures.no_longer_than("until another caller is taken again", recovered, Duration::from_secs(2));
    world.cluster.sql("drop trigger slow on event").await;
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}
