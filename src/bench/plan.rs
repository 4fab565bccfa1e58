//! How much is measured: all of it within ten minutes, or a first impression within two.

use std::time::Duration;

/// The sizes of everything.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Interleaved runs of each figure.
    pub(super) runs: usize,
    /// How long callers call in one run.
    pub(super) burst: Duration,
    /// How long the paced callers of the latency figures call.
    pub(super) paced: Duration,
    pub(super) connections: &'static [u32],
    /// Feedback that is owed when a drain begins.
    pub(super) backlog: u32,
    /// The same, where drains are compared with each other: with a history and without, behind a stuck reader.
    pub(super) small_backlog: u32,
    /// How long a drain of that to the quick sink is looked at, at most.
    pub(super) drain: Duration,
    /// How long a drain to the slow sink is looked at.
    pub(super) slow_drain: Duration,
    /// Requests in flight in the drains.
    pub(super) concurrency: &'static [u32],
    /// Confirmed messages in the history, and dead letters beside them.
    pub(super) history: u32,
    pub(super) dead_letters: u32,
}

impl Plan {
    pub(super) const fn whole() -> Self {
        Self {
            runs: 5,
            burst: Duration::from_millis(800),
            paced: Duration::from_millis(2000),
            connections: &[16, 64, 256, 1024],
            backlog: 100_000,
            small_backlog: 20_000,
            drain: Duration::from_millis(5000),
            slow_drain: Duration::from_millis(1500),
            concurrency: &[64, 256, 1024],
            history: 10_000_000,
            dead_letters: 1_000_000,
        }
    }

    pub(super) const fn quick() -> Self {
        Self {
            runs: 5,
            burst: Duration::from_millis(300),
            paced: Duration::from_millis(1200),
            connections: &[16, 256],
            backlog: 10_000,
            small_backlog: 20_000,
            drain: Duration::from_millis(5000),
            slow_drain: Duration::from_millis(1200),
            concurrency: &[64, 256],
            history: 200_000,
            dead_letters: 20_000,
        }
    }

    /// More than are answered in one burst, on any machine that one would run this on.
    pub(super) fn most(&self) -> u32 {
        u32::try_from(self.burst.as_millis() * 45).unwrap_or(u32::MAX)
    }
}
