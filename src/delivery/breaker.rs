//! Stops a lane that gets no answers, and lets one request try now and then whether they come again.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;

/// How long the breaker stays open between two probes. After the longest outage a lane goes on within the longest of them,
/// and that is no more than a request in eight seconds of a Twilio that is in trouble.
const REST: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(8) };

/// A lane's breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    state: State,
    /// Failures in a row that open it.
    threshold: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
        times: u32,
    },
    /// The probe is on its way; after `lost` it is lost.
    HalfOpen {
        times: u32,
        lost: Instant,
    },
}

/// A probe that was not heard of for so long is lost, and another may be sent.
const LOST: Duration = Duration::from_secs(60);

impl Breaker {
    pub const fn new(threshold: u32) -> Self {
        Self { state: State::Closed { failures: 0 }, threshold }
    }

    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    pub const fn as_str(&self) -> &'static str {
        match self.state {
            State::Closed { .. } => "closed",
            State::Open { .. } => "open",
            State::HalfOpen { .. } => "half_open",
        }
    }

    /// Takes the right to send the one probe, once the rest is over. A probe that finds nothing to send gives it back by
    /// [`Breaker::rest`].
    pub fn take_probe(&mut self, now: Instant) -> bool {
        match self.state {
            State::Open { until, times } | State::HalfOpen { lost: until, times } if until <= now => {
                self.state = State::HalfOpen { times, lost: now + LOST };
                true
            }
            _ => false,
        }
    }

    /// The probe was not sent after all.
    pub fn rest(&mut self, now: Instant) {
        if let State::HalfOpen { times, .. } = self.state {
            self.state = State::Open { until: now + REST.first, times };
        }
    }

    pub fn answered(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    pub fn failed(&mut self, now: Instant, dice: f64) {
        self.state = match self.state {
            State::Closed { failures } if failures + 1 < self.threshold => State::Closed { failures: failures + 1 },
            State::Closed { .. } => State::Open { until: now + REST.after(0, dice), times: 1 },
            State::HalfOpen { times, .. } => {
                State::Open { until: now + REST.after(times, dice), times: times.saturating_add(1) }
            }
            // It was sent before the breaker opened.
            open @ State::Open { .. } => open,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_one_answer_closes_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(3);
        breaker.failed(now, 0.5);
        breaker.failed(now, 0.5);
        breaker.answered();
        breaker.failed(now, 0.5);
        breaker.failed(now, 0.5);
        assert!(breaker.is_closed());
        breaker.failed(now, 0.5);
        assert_eq!(breaker.as_str(), "open");
        breaker.answered();
        assert!(breaker.is_closed());
    }

    #[test]
    fn after_a_rest_there_is_one_probe_and_the_rest_grows() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(1);
        breaker.failed(now, 0.5);
        assert!(!breaker.take_probe(now));
        for rest in [1, 2, 4, 8, 8, 8] {
            now += Duration::from_secs(rest);
            assert!(!breaker.take_probe(now - Duration::from_millis(1)), "{rest}");
            assert!(breaker.take_probe(now), "{rest}");
            assert!(!breaker.take_probe(now), "there is one");
            breaker.failed(now, 0.5);
        }
    }

    #[test]
    fn a_probe_that_was_not_sent_is_tried_again_soon() {
        let now = Instant::now();
        let mut breaker = Breaker::new(1);
        breaker.failed(now, 0.5);
        let later = now + Duration::from_secs(5);
        assert!(breaker.take_probe(later));
        breaker.rest(later);
        assert!(!breaker.take_probe(later), "soon, and not at once");
        assert!(breaker.take_probe(later + Duration::from_secs(1)));
    }
}
