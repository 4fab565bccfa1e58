//! Callers at work: they tell of one login after the other, at whichever replica, and try again where they must.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::callers::{Callers, Manner, Part, is_ok, parts, request};
use super::http::{Told, ask};

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Who tells, where, and how fast.
#[derive(Clone)]
pub(crate) struct Tellers {
    pub(crate) callers: Arc<Callers>,
    pub(crate) at: Vec<SocketAddr>,
    pub(crate) token: String,
    pub(crate) slowest: Arc<std::sync::Mutex<Duration>>,
}

pub(crate) struct Load {
    tellers: JoinSet<()>,
    stopping: Arc<AtomicBool>,
}

impl Tellers {
    /// So many at once, each with a pause between two logins.
    pub(crate) fn begin(&self, count: u64, pause: Duration, seed: u64) -> Load {
        let stopping = Arc::<AtomicBool>::default();
        let mut tellers = JoinSet::new();
        for teller in 0..count {
            let (telling, stopping) = (self.clone(), stopping.clone());
            let mut dice = StdRng::seed_from_u64(seed ^ (teller << 32));
            tellers.spawn(async move {
                while !stopping.load(Ordering::SeqCst) {
                    let manner = *[Manner::MessageFirst, Manner::MessageFirst, Manner::EventFirst, Manner::Exact]
                        .choose(&mut dice)
                        .expect("there are four");
                    let number = telling.callers.begin(manner);
                    telling.tell_all(number, manner, &mut dice).await;
                    sleep(pause.mul_f64(dice.random_range(0.5..1.5))).await;
                }
            });
        }
        Load { tellers, stopping }
    }

    /// Tells each part, a few times if need be, and leaves the rest for later. Some say it once more all the same.
    async fn tell_all(&self, number: u32, manner: Manner, dice: &mut StdRng) {
        for part in parts(manner) {
            for _try in 0..3 {
                if is_ok(&self.tell(number, manner, *part, dice).await) {
                    break;
                }
                sleep(Duration::from_millis(dice.random_range(5..60))).await;
            }
            if dice.random_bool(0.1) {
                self.tell(number, manner, *part, dice).await;
            }
        }
    }

    async fn tell(&self, number: u32, manner: Manner, part: Part, dice: &mut StdRng) -> Told {
        let at = *self.at.choose(dice).expect("there is a replica");
        let (path, body) = request(number, manner, part);
        let begun = Instant::now();
        let told = ask(at, &self.token, "POST", path, Some(&body), PATIENCE).await;
        if told != Told::Refused {
            let mut slowest = self.slowest.lock().expect("no holder panics");
            *slowest = begun.elapsed().max(*slowest);
        }
        self.callers.note(part, number, told.clone());
        told
    }

    /// Tells again of everything that nobody was told is taken, until it is. Gives what is left when time is up.
    pub(crate) async fn insist(&self, limit: Duration, seed: u64) -> usize {
        let until = Instant::now() + limit;
        let mut dice = StdRng::seed_from_u64(seed);
        loop {
            let unsettled = self.callers.unsettled();
            if unsettled.is_empty() || until < Instant::now() {
                return unsettled.len();
            }
            for some in unsettled.chunks(16) {
                let mut telling = JoinSet::new();
                for (number, manner, part) in some.iter().copied() {
                    let (tellers, mut dice) = (self.clone(), StdRng::seed_from_u64(dice.random()));
                    telling.spawn(async move { drop(tellers.tell(number, manner, part, &mut dice).await) });
                }
                telling.join_all().await;
            }
        }
    }
}

impl Load {
    pub(crate) async fn end(self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.tellers.join_all().await;
    }
}
