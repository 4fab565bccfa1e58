//! `Retry-After`, a line for `Date`, and what is made of it: never less than was asked for, up to the longest that is kept.
#![no_main]

use std::time::Duration;

use confirmd::delivery::{Backoff, Policy, judge};
use confirmd::domain::{Retry, Verdict};
use confirmd::store::Past;
use confirmd::twilio::{Agreement, Answer};
use confirmd_fuzz::{header_and_rest, words};
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;

const LONGEST: Duration = Duration::from_secs(900);

fuzz_target!(|data: &[u8]| {
    let (date, after) = header_and_rest(data);
    let mut headers = HeaderMap::new();
    if let Some(date) = date {
        headers.insert(header::DATE, date);
    }
    if let Ok(after) = HeaderValue::from_bytes(after) {
        headers.insert(header::RETRY_AFTER, after);
    }
    let (_, asked) = words();
    let answer = Answer::read(&asked, 429, &headers, b"");
    let Answer::Http { retry_after, agreement: Agreement::Unverifiable, .. } = &answer else { panic!("{answer:?}") };
    assert_eq!(*retry_after, meant(&headers), "{headers:?}");

    let policy = Policy {
        backoff: Backoff { first: Duration::from_secs(1), longest: LONGEST },
        soon: Policy::SOON,
        give_up_after: Duration::from_secs(600_000),
        young_for: Duration::from_secs(3600),
        max_ambiguous: 5,
        probe_every: Duration::from_secs(60),
    };
    for dice in [0.0, 0.999_999] {
        let verdict = judge(&answer, &Past::default(), &policy, dice);
        let Verdict::Retry(Retry::Unburnt { after }) = verdict else { panic!("{verdict:?}") };
        let least = retry_after.unwrap_or_default().min(Policy::LONGEST_RETRY_AFTER);
        assert!(least <= after && after <= Policy::LONGEST_RETRY_AFTER.max(LONGEST).mul_f64(1.1), "{after:?}");
    }
});

/// RFC 9110, 10.2.3: digits alone, or a date, which is compared with the answer's own.
fn meant(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if text.chars().all(|char| char.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    date(text)?.duration_since(date(headers.get(header::DATE)?.to_str().ok()?.trim())?).ok()
}
