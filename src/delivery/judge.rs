//! What each answer of Twilio's means: the one table, and every `if` about retrying.

use std::time::Duration;

use super::backoff::Backoff;
use crate::domain::{Class, DeadReason, Retry, Verdict};
use crate::store::Past;
use crate::twilio::{Agreement, Answer, Failure};

/// What an operator decides about retrying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub backoff: Backoff,
    /// For a message too young to be missing, and for an answer that proves nothing.
    pub soon: Backoff,
    /// Transient faults for longer than this end a feedback.
    pub give_up_after: Duration,
    /// A 404 on a message younger than this is no answer yet.
    pub young_for: Duration,
    /// 2xx answers that prove nothing, before a feedback ends.
    pub max_ambiguous: u32,
    /// How often a paused lane is probed.
    pub probe_every: Duration,
}

impl Policy {
    /// Seconds to minutes.
    pub const SOON: Backoff = Backoff { first: Duration::from_secs(5), longest: Duration::from_secs(300) };
    /// Longest `Retry-After` that is kept; a longer one is more likely a mistake than a wish.
    pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
}

/// Sorts an answer into the rows of [`TABLE`].
pub const fn classify(answer: &Answer) -> Class {
    match answer {
        Answer::None(Failure::Connect | Failure::ConnectTimeout | Failure::Timeout | Failure::Broken) => {
            Class::Transient
        }
        Answer::Http { status, agreement, .. } => match (*status, agreement) {
            (200..=299, Agreement::Agrees { .. }) => Class::Confirmed,
            (200..=299, Agreement::Unverifiable) => Class::Ambiguous,
            (300..=399 | 401 | 403, _) => Class::AccountFault,
            (404, _) => Class::NotFound,
            (429, _) => Class::Throttled,
            (408 | 425 | 500..=599, _) => Class::Transient,
            (400..=499, _) => Class::Rejected,
            // No status that HTTP knows: whatever said it is not Twilio.
            _ => Class::Transient,
        },
    }
}

/// Decides what becomes of a feedback. `dice` is uniform in `0.0..1.0`: the caller rolls.
pub fn judge(answer: &Answer, past: &Past, policy: &Policy, dice: f64) -> Verdict {
    match classify(answer) {
        Class::Confirmed => Verdict::Confirmed,
        Class::Ambiguous if policy.max_ambiguous <= past.ambiguous => Verdict::Dead(DeadReason::Unverifiable),
        Class::Ambiguous => Verdict::Retry(Retry::Ambiguous { after: policy.soon.after(past.ambiguous, dice) }),
        Class::Throttled => Verdict::Retry(Retry::Unburnt { after: throttled(answer, past, policy, dice) }),
        // Half the time between probes: it is due again for the next one, and another may go before it.
        Class::AccountFault => Verdict::Retry(Retry::Unburnt { after: policy.probe_every / 2 }),
        Class::NotFound if past.age < policy.young_for => {
            Verdict::Retry(Retry::Young { after: policy.soon.after(past.failures, dice) })
        }
        Class::NotFound => Verdict::Dead(DeadReason::MessageNotFound),
        Class::Transient if past.failing_for.is_some_and(|failing| policy.give_up_after <= failing) => {
            Verdict::Dead(DeadReason::GaveUp)
        }
        Class::Transient => Verdict::Retry(Retry::Burnt { after: policy.backoff.after(past.failures, dice) }),
        Class::Rejected => Verdict::Dead(DeadReason::Rejected),
        // No answer is of this class; what would be has been asked of nobody.
        Class::Shadowed => Verdict::Dead(DeadReason::Shadowed),
    }
}

/// `Retry-After` in full and a little more, never less; where there is none, our own backoff.
fn throttled(answer: &Answer, past: &Past, policy: &Policy, dice: f64) -> Duration {
    match answer {
        Answer::Http { retry_after: Some(told), .. } => {
            let kept = (*told).clamp(Duration::from_secs(1), Policy::LONGEST_RETRY_AFTER);
            kept + kept.mul_f64(dice / 10.0)
        }
        _ => policy.backoff.spread(past.failures.saturating_add(3), dice),
    }
}

/// A row of the verdict table, as `confirmd explain` prints it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub answer: &'static str,
    pub class: Class,
    pub then: &'static str,
}

/// What each answer means. The cases under [`judge`] and the tests against the simulator go through it row by row.
pub const TABLE: &[Row] = &[
    Row {
        answer: "2xx with JSON that agrees: its message_sid is ours and its outcome is confirmed, where present",
        class: Class::Confirmed,
        then: "confirmed",
    },
    Row {
        answer: "any other 2xx",
        class: Class::Ambiguous,
        then: "retry 5 times (delivery.max_ambiguous), then dead: unverifiable",
    },
    Row {
        answer: "429",
        class: Class::Throttled,
        then: "the lane's concurrency halves; wait Retry-After in full, else back off; no attempt burnt",
    },
    Row {
        answer: "401, 403",
        class: Class::AccountFault,
        then: "try the second credential if there is one, else pause the lane and probe it every minute; no attempt burnt",
    },
    Row {
        answer: "3xx (never followed)",
        class: Class::AccountFault,
        then: "something stands between us and Twilio: pause the lane and probe it; no attempt burnt",
    },
    Row {
        answer: "404 on a message younger than delivery.young_for (1h)",
        class: Class::NotFound,
        then: "retry in seconds to minutes",
    },
    Row {
        answer: "404 on an older message",
        class: Class::NotFound,
        then: "dead: message_not_found (other account or region, deleted, past retention)",
    },
    Row {
        answer: "408, 425, 5xx",
        class: Class::Transient,
        then: "back off; feeds the breaker; after delivery.give_up_after (7d) of these dead: gave_up",
    },
    Row {
        answer: "no answer: connect or read timeout, reset, TLS or DNS failure",
        class: Class::Transient,
        then: "back off; feeds the breaker; after delivery.give_up_after (7d) of these dead: gave_up",
    },
    Row { answer: "any other 4xx", class: Class::Rejected, then: "dead: rejected, with status and Twilio's code" },
];

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(900) },
        soon: Policy::SOON,
        give_up_after: Duration::from_secs(7 * 86400),
        young_for: Duration::from_secs(3600),
        max_ambiguous: 5,
        probe_every: Duration::from_secs(60),
    };

    fn http(status: u16, agreement: Agreement) -> Answer {
        Answer::Http { status, agreement, code: None, retry_after: None, request_id: None, concurrent: None }
    }

    const AGREES: Agreement = Agreement::Agrees { date_updated: None };
    const SECS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn each_answer_has_its_verdict() {
        let fresh = Past::default();
        let old = Past { age: SECS(3600), ..fresh };
        let failing = Past { failures: 3, failing_for: Some(SECS(86400)), ..fresh };
        let hopeless = Past { failures: 700, failing_for: Some(SECS(7 * 86400)), ..fresh };
        let doubted = Past { ambiguous: 5, ..fresh };
        let none = Agreement::Unverifiable;
        let burnt = |secs| Verdict::Retry(Retry::Burnt { after: SECS(secs) });
        let cases = [
            (http(200, AGREES), fresh, Verdict::Confirmed),
            (http(201, AGREES), hopeless, Verdict::Confirmed),
            (http(299, AGREES), doubted, Verdict::Confirmed),
            (http(200, none), fresh, Verdict::Retry(Retry::Ambiguous { after: SECS(5) })),
            (http(204, none), Past { ambiguous: 4, ..fresh }, Verdict::Retry(Retry::Ambiguous { after: SECS(80) })),
            (http(200, none), doubted, Verdict::Dead(DeadReason::Unverifiable)),
            (http(302, AGREES), fresh, Verdict::Retry(Retry::Unburnt { after: SECS(30) })),
            (http(401, none), hopeless, Verdict::Retry(Retry::Unburnt { after: SECS(30) })),
            (http(403, none), doubted, Verdict::Retry(Retry::Unburnt { after: SECS(30) })),
            (http(404, none), fresh, Verdict::Retry(Retry::Young { after: SECS(5) })),
            (http(404, none), old, Verdict::Dead(DeadReason::MessageNotFound)),
            (http(408, none), fresh, burnt(1)),
            (http(425, none), fresh, burnt(1)),
            (http(500, none), failing, burnt(8)),
            (http(503, AGREES), failing, burnt(8)),
            (http(503, none), hopeless, Verdict::Dead(DeadReason::GaveUp)),
            (Answer::None(Failure::Timeout), fresh, burnt(1)),
            (Answer::None(Failure::Broken), failing, burnt(8)),
            (Answer::None(Failure::Connect), hopeless, Verdict::Dead(DeadReason::GaveUp)),
            (http(400, AGREES), fresh, Verdict::Dead(DeadReason::Rejected)),
            (http(410, none), fresh, Verdict::Dead(DeadReason::Rejected)),
            (http(422, none), fresh, Verdict::Dead(DeadReason::Rejected)),
        ];
        for (answer, past, verdict) in cases {
            assert_eq!(judge(&answer, &past, &POLICY, 0.5), verdict, "{answer:?} {past:?}");
        }
    }

    #[test]
    fn retry_after_is_kept_in_full() {
        let throttled = |retry_after| Answer::Http {
            status: 429,
            agreement: Agreement::Unverifiable,
            code: Some(20429),
            retry_after,
            request_id: None,
            concurrent: None,
        };
        for (told, least, most) in [(0, 1, 2), (3, 3, 4), (600, 600, 660), (99_999_999, 3600, 3960)] {
            for dice in [0.0, 0.5, 0.999] {
                match judge(&throttled(Some(SECS(told))), &Past::default(), &POLICY, dice) {
                    Verdict::Retry(Retry::Unburnt { after }) => {
                        assert!(SECS(least) <= after && after <= SECS(most), "{told} {after:?}");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let untold = judge(&throttled(None), &Past::default(), &POLICY, 0.5);
        assert_eq!(untold, Verdict::Retry(Retry::Unburnt { after: SECS(4) }));
    }

    #[test]
    fn every_status_has_a_class_and_only_an_agreeing_2xx_is_confirmed() {
        for status in 100..=599 {
            for agreement in [AGREES, Agreement::Unverifiable] {
                let class = classify(&http(status, agreement));
                assert_eq!(class == Class::Confirmed, (200..300).contains(&status) && agreement == AGREES, "{status}");
            }
        }
    }

    #[test]
    fn nothing_burns_an_attempt_that_is_not_the_messages_fault() {
        for status in [301, 302, 307, 308, 401, 403, 429] {
            let verdict = judge(&http(status, Agreement::Unverifiable), &Past::default(), &POLICY, 0.3);
            assert!(matches!(verdict, Verdict::Retry(Retry::Unburnt { .. })), "{status}");
        }
    }
}
