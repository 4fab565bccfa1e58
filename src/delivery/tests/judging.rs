//! Of [`judge`], whatever came back and whatever happened before.

use std::time::Duration;

use proptest::prelude::*;

use super::{cases, dice, policy, secs};
use crate::delivery::{Policy, classify, judge};
use crate::domain::{Class, DeadReason, Retry, Verdict};
use crate::store::Past;
use crate::twilio::{Agreement, Answer, Failure};

fn answer() -> impl Strategy<Value = Answer> {
    let failure = prop_oneof![
        Just(Failure::Connect),
        Just(Failure::ConnectTimeout),
        Just(Failure::Timeout),
        Just(Failure::Broken)
    ];
    let status = prop_oneof![
        100..=599_u16,
        prop::sample::select(vec![200, 201, 301, 401, 403, 404, 408, 425, 429, 500, 503]),
        any::<u16>(),
    ];
    let retry_after = prop_oneof![Just(0), 1..7_200_u64, any::<u64>()];
    let http =
        (status, any::<bool>(), prop::option::of(retry_after)).prop_map(|(status, agrees, after)| Answer::Http {
            status,
            agreement: if agrees { Agreement::Agrees { date_updated: None } } else { Agreement::Unverifiable },
            code: None,
            retry_after: after.map(Duration::from_secs),
            request_id: None,
            concurrent: None,
        });
    prop_oneof![4 => http, 1 => failure.prop_map(Answer::None)]
}

fn past() -> impl Strategy<Value = Past> {
    let age = || (0..800 * 86_400_000_u64).prop_map(Duration::from_millis);
    let number = || prop_oneof![0..12_u32, any::<u32>()];
    (age(), prop::option::of(age()), number(), number()).prop_map(|(age, failing_for, failures, ambiguous)| Past {
        age,
        failing_for,
        failures,
        ambiguous,
    })
}

/// The same feedback, later.
fn later(past: &Past, by: Duration) -> Past {
    Past {
        age: past.age + by,
        failing_for: past.failing_for.map(|failing| failing + by),
        failures: past.failures.saturating_add(1),
        ambiguous: past.ambiguous.saturating_add(1),
    }
}

fn waits(verdict: &Verdict) -> Option<Duration> {
    match verdict {
        Verdict::Retry(retry) => Some(retry.after()),
        Verdict::Confirmed | Verdict::Dead(_) => None,
    }
}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn only_a_2xx_that_agrees_confirms(answer in answer(), past in past(), policy in policy(), dice in dice()) {
        let says_so = matches!(
            answer,
            Answer::Http { status: 200..=299, agreement: Agreement::Agrees { .. }, .. }
        );
        prop_assert_eq!(judge(&answer, &past, &policy, dice) == Verdict::Confirmed, says_so);
    }

    #[test]
    fn no_attempt_is_burnt_on_a_fault_of_the_account(answer in answer(), past in past(), policy in policy(), dice in dice()) {
        let unburnt = matches!(judge(&answer, &past, &policy, dice), Verdict::Retry(Retry::Unburnt { .. }));
        let not_its_fault = matches!(answer, Answer::Http { status: 300..=399 | 401 | 403 | 429, .. });
        prop_assert_eq!(unburnt, not_its_fault);
    }

    #[test]
    fn nothing_is_given_up_before_its_limit_and_nothing_goes_on_after_it(
        answer in answer(), past in past(), policy in policy(), dice in dice()
    ) {
        let spent = match classify(&answer) {
            Class::Ambiguous => (policy.max_ambiguous <= past.ambiguous).then_some(DeadReason::Unverifiable),
            Class::NotFound => (policy.young_for <= past.age).then_some(DeadReason::MessageNotFound),
            Class::Transient => {
                let failing = past.failing_for.is_some_and(|failing| policy.give_up_after <= failing);
                failing.then_some(DeadReason::GaveUp)
            }
            Class::Rejected => Some(DeadReason::Rejected),
            Class::Confirmed | Class::Throttled | Class::AccountFault => None,
            Class::Shadowed => panic!("no answer is of this class"),
        };
        let given_up = match judge(&answer, &past, &policy, dice) {
            Verdict::Dead(reason) => Some(reason),
            Verdict::Confirmed | Verdict::Retry(_) => None,
        };
        prop_assert_eq!(given_up, spent);
    }

    #[test]
    fn who_is_given_up_once_is_given_up_later_too(
        answer in answer(), past in past(), policy in policy(), dice in dice(), by in 0..86_400_u64
    ) {
        let now = judge(&answer, &past, &policy, dice);
        let then = judge(&answer, &later(&past, secs(by)), &policy, dice);
        if matches!(now, Verdict::Dead(_)) {
            prop_assert_eq!(then, now);
        }
    }

    #[test]
    fn every_wait_has_a_bound(answer in answer(), past in past(), policy in policy(), dice in dice()) {
        let longest = policy.backoff.longest.max(policy.soon.longest).max(policy.probe_every);
        // A throttle is waited out in full, and a tenth more so that a crowd spreads.
        let longest = longest.max(Policy::LONGEST_RETRY_AFTER.mul_f64(1.1));
        if let Some(after) = waits(&judge(&answer, &past, &policy, dice)) {
            prop_assert!(after <= longest, "{:?}", after);
            prop_assert!(Duration::ZERO < after);
        }
    }

    #[test]
    fn whoever_failed_more_often_waits_no_less(answer in answer(), past in past(), policy in policy(), dice in dice()) {
        let again = Past { failures: past.failures.saturating_add(1), ambiguous: past.ambiguous.saturating_add(1), ..past };
        let (now, then) = (judge(&answer, &past, &policy, dice), judge(&answer, &again, &policy, dice));
        if let (Some(now), Some(then)) = (waits(&now), waits(&then)) {
            prop_assert!(now <= then, "{:?} {:?}", now, then);
        }
    }

    #[test]
    fn a_throttle_is_waited_out(told in any::<u64>(), past in past(), policy in policy(), dice in dice()) {
        let answer = Answer::Http {
            status: 429,
            agreement: Agreement::Unverifiable,
            code: None,
            retry_after: Some(secs(told)),
            request_id: None,
            concurrent: None,
        };
        let after = waits(&judge(&answer, &past, &policy, dice)).unwrap_or_default();
        prop_assert!(secs(told).min(Policy::LONGEST_RETRY_AFTER) <= after);
        prop_assert!(after <= secs(told).clamp(secs(1), Policy::LONGEST_RETRY_AFTER).mul_f64(1.1));
    }
}
