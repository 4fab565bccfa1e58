//! How much may wait for the writers, and how long an event waits for its message.

use std::time::Duration;

use super::table::Table;

/// `[intake]`
#[derive(Clone, Debug)]
pub struct Intake {
    /// Commands that wait for the writers. Past it the answer is 503, at once.
    pub max_waiting: usize,
    /// Commands of one caller that wait for them. So whoever floods leaves room for the others.
    pub max_waiting_per_caller: usize,
    /// Writer tasks, each with one transaction at a time: they follow each other unless one is stuck.
    pub writers: u32,
    /// Commands in one transaction at most.
    pub batch: usize,
    /// How long an event may wait for its message before it expires.
    pub park_limit: Duration,
}

impl Intake {
    pub(super) fn read(table: &Table<'_>) -> Self {
        Self {
            max_waiting: table.number("max_waiting", 1_000..=1_000_000) as usize,
            max_waiting_per_caller: table.number("max_waiting_per_caller", 1_000..=1_000_000) as usize,
            writers: table.number("writers", 1..=64),
            batch: table.number("batch", 1..=10_000) as usize,
            park_limit: table.duration("park_limit", Duration::from_secs(1)..=Duration::from_hours(24 * 365)),
        }
    }
}
