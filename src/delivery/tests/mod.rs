//! What holds of the deciding functions whatever they are told: bounds, order, and who pays for what.

mod cells;
mod judging;
mod pacing;
mod stopping;

use std::time::Duration;

use proptest::prelude::*;

use super::{Backoff, Policy};

/// Nothing is written beside the source: what was found once stands below as a case of its own.
fn cases(number: u32) -> ProptestConfig {
    ProptestConfig { cases: number, failure_persistence: None, ..ProptestConfig::default() }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// As the caller rolls them.
fn dice() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(0.999_999_999), 0.0..1.0]
}

/// Every backoff that can be configured, and then some.
fn backoff() -> impl Strategy<Value = Backoff> {
    let wait = || prop_oneof![Just(1), 1_u64..5_000, 1_u64..86_400_000];
    (wait(), wait()).prop_map(|(one, other)| Backoff {
        first: Duration::from_millis(one.min(other)),
        longest: Duration::from_millis(one.max(other)),
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let day = 86_400_u64;
    (backoff(), backoff(), 1..365 * day, 0..7 * day, 1..100_u32, 1..3_600_u64).prop_map(
        |(backoff, soon, give_up_after, young_for, max_ambiguous, probe_every)| Policy {
            backoff,
            soon,
            give_up_after: secs(give_up_after),
            young_for: secs(young_for),
            max_ambiguous,
            probe_every: secs(probe_every),
        },
    )
}
