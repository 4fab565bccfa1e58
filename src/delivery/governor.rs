//! What a lane has learnt from its answers: its limit, its breaker, which credential works.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;

use super::breaker::Breaker;
use super::limit::{Limit, Load};
use super::queue::OWNED_FOR_EACH_PLACE;
use crate::domain::{Class, LaneName};
use crate::store::Door;
use crate::telemetry::{self, BreakerMeter};
use crate::twilio::{Answer, Credential, Failure};

/// Shared by a lane and its attempts.
pub(super) struct Governor {
    name: LaneName,
    door: Arc<Door>,
    /// A copy of the limit, for whoever only reads it.
    limit: AtomicU32,
    breaker: BreakerMeter,
    learnt: Mutex<Learnt>,
}

struct Learnt {
    limit: Limit,
    breaker: Breaker,
    credential: Credentials,
    paused: bool,
}

/// Which of one or two credentials is in use, and which were refused since the last answer that let us in.
struct Credentials {
    held: Arc<[Credential]>,
    in_use: usize,
    refused: usize,
}

/// What an attempt starts with.
#[derive(Clone, Debug)]
pub(super) struct Start {
    held: Arc<[Credential]>,
    in_use: usize,
    pub(super) round: u64,
}

impl Start {
    pub(super) fn credential(&self) -> &Credential {
        &self.held[self.in_use]
    }
}

/// What a lane does about a fault of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccountFault {
    /// Another credential is in use now; the same work may be tried with it at once.
    TryTheOther,
    /// No credential is left: the lane stops.
    Pause,
}

impl Governor {
    /// `credentials`: at least one.
    pub(super) fn new(
        name: LaneName,
        door: Arc<Door>,
        limit: Limit,
        breaker: Breaker,
        credentials: Vec<Credential>,
    ) -> Self {
        let credential = Credentials { held: credentials.into(), in_use: 0, refused: 0 };
        let learnt = Mutex::new(Learnt { limit, breaker, credential, paused: false });
        let governor =
            Self { breaker: BreakerMeter::new(&name), name, door, limit: AtomicU32::new(limit.now()), learnt };
        telemetry::lane_limit(&governor.name, limit.now());
        governor
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().expect("no holder panics")
    }

    pub(super) fn start(&self) -> Start {
        let learnt = self.learnt();
        let Credentials { held, in_use, .. } = &learnt.credential;
        Start { held: held.clone(), in_use: *in_use, round: learnt.limit.round() }
    }

    /// What an operator decided anew: what has begun goes on as it began, what begins uses these. Gives whether the
    /// credentials are others than before: if not, what was learnt of them stays.
    pub(super) fn set(&self, credentials: Vec<Credential>, max_concurrency: u32, yield_above: u32) -> bool {
        let mut learnt = self.learnt();
        let others = learnt.credential.held.len() != credentials.len()
            || !learnt.credential.held.iter().zip(&credentials).all(|(held, told)| held.is_same(told));
        if others {
            learnt.credential = Credentials { held: credentials.into(), in_use: 0, refused: 0 };
        }
        let moved = learnt.limit.set(max_concurrency, yield_above);
        self.door.resize(moved, learnt.limit.now());
        telemetry::lane_limit(&self.name, learnt.limit.now());
        others
    }

    /// Learns from an answer, and moves the door with the limit and the breaker.
    pub(super) fn learn(&self, start: &Start, class: Class, answer: &Answer, dice: f64) {
        let now = Instant::now();
        let mut learnt = self.learnt();
        match class {
            Class::Transient => learnt.breaker.failed(now, dice),
            _ => learnt.breaker.answered(),
        }
        let load = match (class, answer) {
            (Class::Throttled, _) | (_, Answer::None(Failure::Timeout | Failure::ConnectTimeout)) => {
                Some(Load::PushedBack)
            }
            (Class::Transient | Class::AccountFault, _) | (_, Answer::None(_)) => None,
            (_, Answer::Http { concurrent, .. }) => Some(Load::Answered { concurrent: *concurrent }),
        };
        if let Some(load) = load {
            let moved = learnt.limit.learn(start.round, load);
            if moved != 0 {
                let limit = learnt.limit.now();
                self.limit.store(limit, Ordering::Relaxed);
                self.door.resize(moved * i64::from(OWNED_FOR_EACH_PLACE), limit * OWNED_FOR_EACH_PLACE);
                telemetry::lane_limit(&self.name, limit);
            }
        }
        if lets_us_in(class) {
            learnt.credential.refused = 0;
        }
        self.move_door(&learnt);
    }

    /// The account refused the credential that an attempt started with.
    pub(super) fn refused(&self, start: &Start) -> AccountFault {
        telemetry::credential_refused(&self.name, start.in_use);
        let mut learnt = self.learnt();
        let credential = &mut learnt.credential;
        // One that is not held any more says nothing of those that are.
        if start.in_use != credential.in_use || !Arc::ptr_eq(&start.held, &credential.held) {
            return AccountFault::TryTheOther;
        }
        credential.in_use = (credential.in_use + 1) % credential.held.len();
        credential.refused += 1;
        if credential.refused < credential.held.len() {
            return AccountFault::TryTheOther;
        }
        credential.refused = 0;
        learnt.paused = true;
        self.move_door(&learnt);
        AccountFault::Pause
    }

    /// Whether the lane is paused, as this process knows it.
    pub(super) fn set_paused(&self, paused: bool) {
        let mut learnt = self.learnt();
        learnt.paused = paused;
        self.move_door(&learnt);
        telemetry::lane_paused(&self.name, paused);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.learnt().paused
    }

    pub(super) fn breaker_is_closed(&self) -> bool {
        self.learnt().breaker.is_closed()
    }

    pub(super) fn take_breaker_probe(&self) -> bool {
        self.learnt().breaker.take_probe(Instant::now())
    }

    pub(super) fn breaker_probe_not_sent(&self) {
        self.learnt().breaker.rest(Instant::now());
    }

    /// How many requests may be in flight.
    pub(super) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// The limit, and how the breaker stands.
    pub(super) fn report(&self) -> (u32, &'static str) {
        let learnt = self.learnt();
        (learnt.limit.now(), learnt.breaker.as_str())
    }

    fn move_door(&self, learnt: &Learnt) {
        self.door.set_open(learnt.breaker.is_closed() && !learnt.paused);
        self.breaker.is_open(!learnt.breaker.is_closed());
    }
}

/// Whether an answer proves that the account and its credential are in order.
pub(super) const fn lets_us_in(class: Class) -> bool {
    matches!(class, Class::Confirmed | Class::NotFound | Class::Rejected)
}
