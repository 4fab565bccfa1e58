//! Where `now` comes from: Postgres, so that replicas never disagree. A test may answer instead.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};

/// Bound wherever SQL says `coalesce($n, clock_timestamp())`: nothing in production, a moment in a test.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Mutex<DateTime<Utc>>>>);

impl Clock {
    /// A clock that stands still until it is told to [travel](Clock::travel).
    pub fn standing_at(moment: DateTime<Utc>) -> Self {
        Self(Some(Arc::new(Mutex::new(moment))))
    }

    /// Moves a standing clock; Postgres's own cannot be moved.
    pub fn travel(&self, by: Duration) {
        if let Some(moment) = &self.0 {
            *moment.lock().expect("no holder panics") += by;
        }
    }

    pub(super) fn now(&self) -> Option<DateTime<Utc>> {
        self.0.as_ref().map(|moment| *moment.lock().expect("no holder panics"))
    }
}
