//! How much may wait for the writers, and how long an event waits for its message.

use std::time::Duration;

/// `[intake]`
#[derive(Clone, Debug)]
pub struct Intake {
    /// Commands that wait for the writers. Past it the answer is 503, at once.
    pub max_waiting: usize,
    /// Writer tasks, each with one transaction at a time.
    pub writers: u32,
    /// Commands in one transaction at most.
    pub batch: usize,
    /// How long an event may wait for its message before it expires.
    pub park_limit: Duration,
}
