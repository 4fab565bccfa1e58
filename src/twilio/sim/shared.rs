//! What all connections of a simulator share.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::ledger::LedgerEntry;
use super::options::SimulatorOptions;
use super::request::Route;
use super::state::State;

/// Answers that a slow subscriber may lag behind before it misses some.
const LONGEST_LAG: usize = 1024;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: SimulatorOptions,
    state: Mutex<State>,
    pub(super) started: Instant,
    pub(super) seen: watch::Sender<Seen>,
    pub(super) answers: broadcast::Sender<LedgerEntry>,
}

/// How many Feedback requests there were, whatever they got.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) heard: u64,
    /// Given what they get, be it nothing.
    pub(super) answered: u64,
}

impl Shared {
    pub(super) fn new(options: SimulatorOptions) -> Self {
        Self {
            state: Mutex::new(State::new(&options)),
            options,
            started: Instant::now(),
            seen: watch::Sender::default(),
            answers: broadcast::Sender::new(LONGEST_LAG),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    pub(super) fn feedback_seen(&self, route: &Route, count: impl FnOnce(&mut Seen)) {
        if matches!(route, Route::Feedback(..)) {
            self.seen.send_modify(count);
        }
    }
}
