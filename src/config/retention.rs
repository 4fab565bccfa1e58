//! How long what is over is kept.

use std::time::Duration;

use super::table::Table;

/// `[retention]`
#[derive(Clone, Debug)]
pub struct Retention {
    /// Confirmed feedback, events and attempts. An event's idempotency lasts as long.
    pub history: Duration,
    /// Dead letters.
    pub dead_letters: Duration,
}

impl Retention {
    pub(super) fn read(table: &Table<'_>) -> Self {
        const KEPT: std::ops::RangeInclusive<Duration> = Duration::from_hours(1)..=Duration::from_hours(24 * 3650);
        Self { history: table.duration("history", KEPT), dead_letters: table.duration("dead_letters", KEPT) }
    }
}
