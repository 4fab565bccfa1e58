//! What a lane owns: leases that wait for a place in flight, and the runners that take them.
//!
//! A lane owns a few leases for each place in flight. With one for each, a place that became free stayed empty until
//! Postgres had been asked, and every claim was for a handful: 46 rows a claim took 72 µs each, 93 rows (and a leaner
//! claim) 15. What waits here waits for a few answers of Twilio's at most, well within its lease, and is given back when the lane may not send.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::store::Lease;

/// Leases owned for each request that may be in flight.
pub(super) const OWNED_FOR_EACH_PLACE: u32 = 8;

/// The leases that wait, and how many runners there are.
#[derive(Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    leases: VecDeque<Lease>,
    runners: u32,
}

impl Queue {
    pub(super) fn push(&self, leases: impl IntoIterator<Item = Lease>) {
        self.0.lock().expect("no holder panics").leases.extend(leases);
    }

    /// A lease for one more runner, while there are fewer than `limit`.
    pub(super) fn start(&self, limit: u32) -> Option<Lease> {
        let mut waiting = self.0.lock().expect("no holder panics");
        if limit <= waiting.runners {
            return None;
        }
        let lease = waiting.leases.pop_front()?;
        waiting.runners += 1;
        Some(lease)
    }

    /// One more runner, for a lease that may be spent whatever the limit: a probe.
    pub(super) fn start_probe(&self) {
        self.0.lock().expect("no holder panics").runners += 1;
    }

    /// The next lease for a runner that has spent one, unless there are too many runners.
    pub(super) fn next(&self, limit: u32) -> Option<Lease> {
        let mut waiting = self.0.lock().expect("no holder panics");
        if waiting.runners <= limit { waiting.leases.pop_front() } else { None }
    }

    /// A runner has ended.
    pub(super) fn end(&self) {
        self.0.lock().expect("no holder panics").runners -= 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().expect("no holder panics").leases.is_empty()
    }

    /// One that waits, for a probe.
    pub(super) fn take_one(&self) -> Option<Lease> {
        self.0.lock().expect("no holder panics").leases.pop_front()
    }

    /// All that waits.
    pub(super) fn take(&self) -> Vec<Lease> {
        std::mem::take(&mut self.0.lock().expect("no holder panics").leases).into()
    }
}
