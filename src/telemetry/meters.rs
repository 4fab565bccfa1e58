//! Metrics that move with each feedback, looked up once: to find one by its name and labels costs more than to count.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::from_zero::lane_of;
use super::names::{
    ATTEMPT_SECONDS, ATTEMPTS_TOTAL, CONFIRMED_TOTAL, EVENT_TO_CONFIRMED_SECONDS, IN_FLIGHT, LANE_BREAKER_OPEN,
};
use crate::domain::{AccountSid, Class, LaneName};

/// What a lane's requests to Twilio move.
pub struct RequestMeter {
    in_flight: Gauge,
    seconds: Histogram,
    attempts: [(Class, Counter); Class::ALL.len()],
}

impl RequestMeter {
    /// The recorder has to be there before.
    pub fn new(lane: &LaneName) -> Self {
        let attempts = Class::ALL
            .map(|class| (class, counter!(ATTEMPTS_TOTAL, "lane" => lane.to_string(), "class" => class.as_str())));
        Self {
            in_flight: gauge!(IN_FLIGHT, "lane" => lane.to_string()),
            seconds: histogram!(ATTEMPT_SECONDS, "lane" => lane.to_string()),
            attempts,
        }
    }

    /// So many requests are under way now.
    pub fn in_flight(&self, requests: usize) {
        self.in_flight.set(requests as f64);
    }

    /// A request to Twilio ended.
    pub fn attempted(&self, class: Class, took: Duration) {
        self.seconds.record(took);
        if let Some((_, counter)) = self.attempts.iter().find(|(of, _)| *of == class) {
            counter.increment(1);
        }
    }
}

/// What a lane's breaker moves.
pub struct BreakerMeter(Gauge);

impl BreakerMeter {
    /// The recorder has to be there before.
    pub fn new(lane: &LaneName) -> Self {
        Self(gauge!(LANE_BREAKER_OPEN, "lane" => lane.to_string()))
    }

    pub fn is_open(&self, open: bool) {
        self.0.set(u32::from(open));
    }
}

/// What Twilio's having an account's feedback moves.
pub struct ConfirmedMeter {
    confirmed: Counter,
    after: Histogram,
}

impl ConfirmedMeter {
    /// The recorder has to be there before.
    pub fn new(account_sid: &AccountSid) -> Self {
        let lane = lane_of(account_sid);
        Self {
            confirmed: counter!(CONFIRMED_TOTAL, "lane" => lane.clone()),
            after: histogram!(EVENT_TO_CONFIRMED_SECONDS, "lane" => lane),
        }
    }

    /// Twilio has a feedback; it was owed for so long, where that is known.
    pub fn confirmed(&self, owed_for: Option<Duration>) {
        self.confirmed.increment(1);
        if let Some(owed_for) = owed_for {
            self.after.record(owed_for);
        }
    }
}
