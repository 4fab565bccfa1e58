//! How long what is over is kept.

use std::time::Duration;

/// `[retention]`
#[derive(Clone, Debug)]
pub struct Retention {
    /// Confirmed feedback, events and attempts. An event's idempotency lasts as long.
    pub history: Duration,
    /// Dead letters.
    pub dead_letters: Duration,
}
