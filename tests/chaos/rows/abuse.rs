//! Callers ask for too much, or take too long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::shared::{millis, only_503, quantile};
use crate::harness::callers::{Manner, Part, is_ok, request};
use crate::harness::figures::Figures;
use crate::harness::http::{Told, ask, say};
use crate::harness::run::Run;
use crate::harness::world::{BOTH, PLAIN, Setting, World};

pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// What may be added to an answer's time: twice of it, but below this a machine's own moods are what is measured. The
/// short form shares the machine with all kinds of tests.
fn noticeable(run: &Run, alone: Duration) -> Duration {
    (alone * 2).max(alone + millis(run.form.pick(1000, 20)))
}

/// Somebody's events, one each so often, for a while; how long each answer took, and what was not taken.
pub(super) async fn paced(
    at: SocketAddr,
    token: &str,
    name: &str,
    every: Duration,
    during: Duration,
) -> Vec<(Duration, Told)> {
    let mut telling = JoinSet::new();
    let (until, mut number) = (Instant::now() + during, 0_u64);
    let mut clock = tokio::time::interval(every);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    while Instant::now() < until {
        clock.tick().await;
        number += 1;
        let (token, name) = (token.to_owned(), format!("{name}-{number}"));
        telling.spawn(async move {
            let body = json!({"event_id": name, "type": "otp.completed", "action_id": name});
            let begun = Instant::now();
            let told = ask(at, &token, "POST", "/v1/events", Some(&body), PATIENCE).await;
            (begun.elapsed(), told)
        });
    }
    telling.join_all().await
}

/// The service's own callers, who are to notice nothing: how long their answers took.
async fn quiet(world: &World, during: Duration, every: Duration) -> (Vec<Duration>, usize) {
    let tellers = world.tellers();
    let (until, mut telling) = (Instant::now() + during, JoinSet::new());
    let mut clock = tokio::time::interval(every);
    while Instant::now() < until {
        clock.tick().await;
        let tellers = tellers.clone();
        telling.spawn(async move {
            let login = tellers.callers.begin(Manner::Exact);
            let (path, body) = request(login, Manner::Exact, Part::Event);
            let begun = Instant::now();
            let told = ask(tellers.at[0], &tellers.token, "POST", path, Some(&body), PATIENCE).await;
            let (took, ok) = (begun.elapsed(), is_ok(&told));
            tellers.callers.note(Part::Event, login, told);
            (took, ok)
        });
    }
    let told = telling.join_all().await;
    let refused = told.iter().filter(|(_, ok)| !ok).count();
    (told.into_iter().map(|(took, _)| took).collect(), refused)
}

/// Of a hundred events 95 are one caller's; and then he sends as fast as he can.
pub(super) async fn one_floods(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F45", &PLAIN).await;
    let (looked_at, every) = (Duration::from_secs(run.form.pick(3, 20)), millis(run.form.pick(100, 20)));
    let at = world.replicas[0].address;
    drop(quiet(&world, Duration::from_secs(1), every).await);
    let (alone, _) = quiet(&world, looked_at, every).await;
    let flood = paced(at, &world.other, "flood", every / 19, looked_at);
    let ((beside, refused), flooded) = tokio::join!(quiet(&world, looked_at, every), flood);
    let (alone, beside) = (quantile(&alone, 0.95), quantile(&beside, 0.95));
    figures.did(format!("{} events of one caller beside those of another", flooded.len()));
    let p95 = format!("p95 of the other's answers, which was {} ms alone", alone.as_millis());
    figures.no_longer_than(&p95, beside, noticeable(run, alone));
    figures.none("of the other's events that were not taken", refused);

    // Batches of a thousand, more at once than may wait for one caller.
    let (stopping, mut batches) = (Arc::<AtomicBool>::default(), JoinSet::new());
    let taken = Arc::<AtomicU64>::default();
    for sender in 0..10 {
        let (stopping, taken, token) = (stopping.clone(), taken.clone(), world.other.clone());
        batches.spawn(async move {
            let mut number = 0;
            while !stopping.load(Ordering::SeqCst) {
                number += 1;
                let event = |n: u32| {
                    let id = format!("flood-{sender}-{number}-{n}");
                    json!({"event_id": id, "type": "otp.completed", "action_id": id})
                };
                let body = json!({"events": (0..1000).map(event).collect::<Vec<_>>()});
                if let Told::Ok(said) = ask(at, &token, "POST", "/v1/events/batch", Some(&body), PATIENCE).await {
                    let taken_now = said["results"].as_array().unwrap().iter().filter(|item| item["status"] == 202);
                    taken.fetch_add(u64::try_from(taken_now.count()).unwrap(), Ordering::SeqCst);
                }
            }
        });
    }
    let (beside, refused) = quiet(&world, Duration::from_secs(run.form.pick(2, 5)), every).await;
    stopping.store(true, Ordering::SeqCst);
    batches.join_all().await;
    figures.none("of the other's events that were not taken in a flood of batches", refused);
    let taken = taken.load(Ordering::SeqCst);
    figures.show(format!("{taken} events of the flood were taken meanwhile (at least 1,000)"), 1000 <= taken);
    let p95 = quantile(&beside, 0.95);
    figures.no_longer_than("p95 of the other's answers in it", p95, millis(run.form.pick(5000, 500)));
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

/// A third of the times by default.
const HURRIED: Setting =
    Setting { roles: BOTH, with: &[("SERVER__HEADER_TIMEOUT", "3s"), ("SERVER__BODY_TIMEOUT", "2s")], postgres: &[] };

/// How a peer takes his time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slow {
    Silent,
    Head,
    Body,
    Reads,
}

/// Peers that say nothing, a byte each half second, or do not read what they are told.
pub(super) async fn slow_peers(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F55", &HURRIED).await;
    let (each, during) = (run.form.pick(50, 500), Duration::from_secs(run.form.pick(6, 40)));
    let (every, at) = (millis(20), world.replicas[0].address);
    drop(quiet(&world, Duration::from_secs(1), every).await);
    let (alone, _) = quiet(&world, during / 2, every).await;
    let until = Instant::now() + during;
    let mut peers = JoinSet::new();
    for (number, slow) in [Slow::Silent, Slow::Head, Slow::Body, Slow::Reads].repeat(each).into_iter().enumerate() {
        let token = world.other.clone();
        // Not all at the same instant, or each second would have one in which everybody comes back.
        let at_first = Duration::from_secs(1).mul_f64(number as f64 / (4 * each) as f64);
        peers.spawn(async move {
            sleep(at_first).await;
            let mut held = Vec::new();
            while Instant::now() < until {
                held.push(hold(at, slow, &token).await);
            }
            held
        });
    }
    let (beside, refused) = quiet(&world, during, every).await;
    let held: Vec<_> = peers.join_all().await.into_iter().flatten().collect();
    let longest = held.iter().copied().max().unwrap_or_default();
    figures.did(format!("{} connections of one peer, {} at once", held.len(), 4 * each));
    // The limit of the slowest is 10 s; he notices within two of his half seconds.
    figures.no_longer_than("the longest that one was held", longest, Duration::from_secs(11));
    let (alone, beside) = (quantile(&alone, 0.99), quantile(&beside, 0.99));
    let p99 = format!("p99 of the others' answers, which was {} ms alone", alone.as_millis());
    figures.no_longer_than(&p99, beside, noticeable(run, alone));
    figures.none("of the others' events that were not taken", refused);
    let well = say(at, b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n", PATIENCE).await;
    figures.show(format!("/livez says {well:?} after it"), well == Some(200));
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

/// How long it takes until the connection is closed. Nobody waits for longer than a minute.
async fn hold(at: SocketAddr, slow: Slow, token: &str) -> Duration {
    let begun = Instant::now();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let Ok(mut stream) = socket.connect(at).await else {
        // Its backlog is full for a moment.
        sleep(millis(50)).await;
        return Duration::ZERO;
    };
    let head =
        format!("POST /v1/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-length: 900\r\n");
    let said = match slow {
        Slow::Silent => String::new(),
        Slow::Head => head,
        Slow::Body => head + "content-type: application/json\r\n\r\n{",
        Slow::Reads => "GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(40),
    };
    let _refused = stream.write_all(said.as_bytes()).await;
    let _closed = timeout(Duration::from_secs(60), dawdle(&mut stream, slow)).await;
    let held = begun.elapsed();
    // Who was turned away tries again a second later: two thousand new connections a second, of two thousand peers.
    sleep(Duration::from_secs(1).saturating_sub(held)).await;
    held
}

/// Until the other side has closed.
async fn dawdle(stream: &mut TcpStream, slow: Slow) {
    let mut bytes = [0; 512];
    loop {
        let some = if slow == Slow::Reads { &mut bytes[..1] } else { &mut bytes };
        match timeout(millis(500), stream.read(some)).await {
            Ok(Ok(0) | Err(_)) => return,
            // What was sent before it closed comes first: a reader learns of it by what he says.
            Ok(Ok(_)) if slow == Slow::Reads => sleep(millis(500)).await,
            Ok(Ok(_)) | Err(_) => {}
        }
        if slow != Slow::Silent && stream.write_all(b"a").await.is_err() {
            return;
        }
    }
}
