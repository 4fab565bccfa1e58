//! The wait before the next attempt.

use std::time::Duration;

/// Grows from `first`, doubling, to `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

/// How far a wait may differ from the doubled one, either way, so that what failed together does not return together.
const JITTER: f64 = 0.2;

impl Backoff {
    /// The wait after this many failures before it, ±20 %. `dice` is uniform in `0.0..1.0`: the caller rolls.
    pub fn after(&self, failures: u32, dice: f64) -> Duration {
        self.doubled(failures).mul_f64(1.0 + JITTER * (2.0 * dice - 1.0)).min(self.longest)
    }

    /// The wait after a throttle: anywhere up to the doubled one, so that a crowd spreads out evenly.
    pub fn spread(&self, failures: u32, dice: f64) -> Duration {
        self.first.max(self.doubled(failures).mul_f64(dice))
    }

    fn doubled(&self, failures: u32) -> Duration {
        self.first.saturating_mul(1_u32 << failures.min(30)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(900) };

    #[test]
    fn the_wait_doubles_up_to_the_longest() {
        let waits: Vec<u64> = (0..12).map(|failures| BACKOFF.after(failures, 0.5).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!(BACKOFF.after(u32::MAX, 0.5), BACKOFF.longest);
    }

    #[test]
    fn jitter_stays_within_a_fifth_and_never_passes_the_longest() {
        assert_eq!(BACKOFF.after(3, 0.0), Duration::from_millis(6400));
        assert!(BACKOFF.after(3, 0.999_999) < Duration::from_millis(9601));
        assert_eq!(BACKOFF.after(20, 0.999), BACKOFF.longest);
    }

    #[test]
    fn a_throttled_crowd_spreads_over_the_whole_wait() {
        assert_eq!(BACKOFF.spread(5, 0.0), BACKOFF.first);
        assert_eq!(BACKOFF.spread(5, 0.5), Duration::from_secs(16));
        assert!(BACKOFF.spread(5, 0.999_999) < Duration::from_secs(32));
    }
}
