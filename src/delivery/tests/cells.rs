//! Every status that HTTP has room for, with every kind of body: each cell has the class that the table promises.

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};

use super::secs;
use crate::delivery::{Backoff, Policy, classify, judge};
use crate::domain::{Class, DeadReason, MessageSid, Retry, Verdict};
use crate::store::Past;
use crate::twilio::Answer;

const SID: &str = "SM0123456789abcdef0123456789abcdef";

/// Kinds of bodies, and whether a body of that kind confirms what was asked.
fn bodies() -> [(&'static str, Vec<u8>, bool); 12] {
    let of = |sid: &str, outcome: &str| format!(r#"{{"message_sid": "{sid}", "outcome": "{outcome}"}}"#).into_bytes();
    let whole = of(SID, "confirmed");
    let cut = whole[..whole.len() - 1].to_vec();
    let mut with_mark = b"\xef\xbb\xbf".to_vec();
    with_mark.extend(&whole);
    [
        ("ours and confirmed", whole, true),
        ("an object that says neither", br#"{"status": 200, "code": 7}"#.to_vec(), true),
        ("another message", of("SM00000000000000000000000000000000", "confirmed"), false),
        ("another outcome", of(SID, "unconfirmed"), false),
        ("cut off", cut, false),
        ("after a byte order mark", with_mark, false),
        ("an error of Twilio's", br#"{"code": 20404, "message": "+15557122661", "outcome": "failed"}"#.to_vec(), false),
        ("a login page", b"<html><body>Sign in</body></html>".to_vec(), false),
        ("an array of the right values", br#"[null, null, null, null, "confirmed", null]"#.to_vec(), false),
        ("not text", b"{\"outcome\": \"\xff\xfe\"}".to_vec(), false),
        ("nothing", Vec::new(), false),
        ("deeper than anybody reads", [b"[".repeat(65_536), b"]".repeat(65_536)].concat(), false),
    ]
}

/// The table of the classes as an operator reads it, written down apart from the code that decides.
fn promised(status: u16, confirms: bool) -> Class {
    const ACCOUNT_FAULTS: [u16; 2] = [401, 403];
    const TRANSIENT: [u16; 2] = [408, 425];
    match status / 100 {
        2 if confirms => Class::Confirmed,
        2 => Class::Ambiguous,
        3 => Class::AccountFault,
        4 if ACCOUNT_FAULTS.contains(&status) => Class::AccountFault,
        4 if TRANSIENT.contains(&status) => Class::Transient,
        4 if status == 404 => Class::NotFound,
        4 if status == 429 => Class::Throttled,
        4 => Class::Rejected,
        // 5xx; and 1xx, which is no answer that anybody was promised.
        _ => Class::Transient,
    }
}

#[test]
fn every_status_with_every_kind_of_body_has_the_class_of_the_table() {
    let asked = MessageSid::try_from(SID.to_owned()).unwrap();
    let policy = Policy {
        backoff: Backoff { first: secs(1), longest: secs(900) },
        soon: Policy::SOON,
        give_up_after: secs(7 * 86_400),
        young_for: secs(3600),
        max_ambiguous: 5,
        probe_every: secs(60),
    };
    let pasts =
        [Past::default(), Past { age: secs(3600), failing_for: Some(secs(7 * 86_400)), failures: 700, ambiguous: 5 }];
    let no_headers = HeaderMap::new();
    let wait = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("7"))]);
    let mut cells = 0;
    for status in 100..=599 {
        for (kind, body, confirms) in bodies() {
            for headers in [&no_headers, &wait] {
                let answer = Answer::read(&asked, status, headers, &body);
                let class = classify(&answer);
                assert_eq!(class, promised(status, confirms), "{status} with {kind}");
                let [fresh, spent] = pasts.map(|past| judge(&answer, &past, &policy, 0.5));
                assert_eq!((&fresh, &spent), (&first(class, &fresh), &last(class, &spent)), "{status} with {kind}");
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 500 * 12 * 2);
}

/// What becomes of a feedback that has just begun. Waits are what another test is about.
fn first(class: Class, seen: &Verdict) -> Verdict {
    let after = waits(seen);
    match class {
        Class::Confirmed => Verdict::Confirmed,
        Class::Ambiguous => Verdict::Retry(Retry::Ambiguous { after }),
        Class::Throttled | Class::AccountFault => Verdict::Retry(Retry::Unburnt { after }),
        Class::NotFound => Verdict::Retry(Retry::Young { after }),
        Class::Transient => Verdict::Retry(Retry::Burnt { after }),
        Class::Rejected => Verdict::Dead(DeadReason::Rejected),
        Class::Shadowed => panic!("no answer is of this class"),
    }
}

/// What becomes of one that has used up every limit there is.
fn last(class: Class, seen: &Verdict) -> Verdict {
    match class {
        Class::Ambiguous => Verdict::Dead(DeadReason::Unverifiable),
        Class::NotFound => Verdict::Dead(DeadReason::MessageNotFound),
        Class::Transient => Verdict::Dead(DeadReason::GaveUp),
        class => first(class, seen),
    }
}

fn waits(verdict: &Verdict) -> std::time::Duration {
    match verdict {
        Verdict::Retry(retry) => retry.after(),
        _ => secs(0),
    }
}
