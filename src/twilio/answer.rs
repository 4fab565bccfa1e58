//! What came back from Twilio, read and sorted; hostile input until then.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde::Deserialize;

use super::wire::FeedbackResource;
use crate::domain::MessageSid;

/// What one request came to, and how long that took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub answer: Answer,
    pub took: Duration,
}

/// An answer, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Http {
        status: u16,
        /// Whether a 2xx says what it must.
        agreement: Agreement,
        /// Twilio's error code: <https://www.twilio.com/docs/api/errors>
        code: Option<u32>,
        retry_after: Option<Duration>,
        /// `Twilio-Request-Id`.
        request_id: Option<String>,
        /// `Twilio-Concurrent-Requests`: the account's requests in flight, the customer's own among them.
        concurrent: Option<u32>,
    },
    None(Failure),
}

/// Whether the body of an answer is about what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// A JSON object whose `message_sid` is ours and whose `outcome` is `confirmed`, where present.
    Agrees { date_updated: Option<DateTime<Utc>> },
    /// Anything else: a proxy's login page, another message, nothing.
    Unverifiable,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing was sent: DNS, connection or TLS handshake failed.
    Connect,
    /// Not connected in time; nothing was sent.
    ConnectTimeout,
    /// Not answered in time; it may have been applied.
    Timeout,
    /// Closed or reset before the answer was whole; it may have been applied.
    Broken,
}

impl Failure {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
        }
    }
}

impl From<&reqwest::Error> for Failure {
    fn from(error: &reqwest::Error) -> Self {
        match (error.is_connect(), error.is_timeout()) {
            (true, true) => Self::ConnectTimeout,
            (true, false) => Self::Connect,
            (false, true) => Self::Timeout,
            (false, false) => Self::Broken,
        }
    }
}

/// What is read of an error, in either of Twilio's forms.
#[derive(Deserialize)]
struct ErrorBody {
    code: Option<u32>,
}

/// An array would be taken for the members of an object in their order; and of members that nobody asks for, nobody would
/// see that they are not text.
fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let text = std::str::from_utf8(body).ok()?;
    text.trim_ascii_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
}

impl Answer {
    /// Reads a whole answer. Whatever it is, this does not fail.
    pub fn read(asked: &MessageSid, status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Self::Http {
            status,
            agreement: object(body).map_or(Agreement::Unverifiable, |body| agreement(asked, &body)),
            code: object::<ErrorBody>(body).and_then(|body| body.code),
            retry_after: retry_after(headers),
            request_id: text("twilio-request-id").and_then(request_id),
            concurrent: text("twilio-concurrent-requests").and_then(|number| number.trim().parse().ok()),
        }
    }
}

fn agreement(asked: &MessageSid, body: &FeedbackResource) -> Agreement {
    let ours = body.message_sid.as_ref().is_none_or(|sid| sid == asked.as_str());
    let confirmed = body.outcome.as_ref().is_none_or(|outcome| outcome == "confirmed");
    if ours && confirmed {
        let date_updated = body.date_updated.as_deref().and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        Agreement::Agrees { date_updated: date_updated.map(|date| date.to_utc()) }
    } else {
        Agreement::Unverifiable
    }
}

/// Kept only if it looks like one: it goes into logs. Twilio has been seen to send it twice, joined by a comma.
fn request_id(text: &str) -> Option<String> {
    let first = text.split(',').next()?.trim();
    let known = first.len() <= 64 && !first.is_empty() && first.bytes().all(|b| b.is_ascii_alphanumeric());
    known.then(|| first.to_owned())
}

/// Seconds, or a date; a date is compared with the answer's own `Date`, so that no clock of ours matters.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.bytes().all(|digit| digit.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let sent = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?.trim()).ok()?;
    until.duration_since(sent).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    const SID: &str = "SM0123456789abcdef0123456789abcdef";

    fn read_body(body: &str) -> Agreement {
        let asked = SID.to_owned().try_into().unwrap();
        match Answer::read(&asked, 200, &HeaderMap::new(), body.as_bytes()) {
            Answer::Http { agreement, .. } => agreement,
            Answer::None(_) => unreachable!("it was read"),
        }
    }

    #[test]
    fn a_body_agrees_only_if_it_is_about_our_message_and_confirmed() {
        let agrees = |body: &str| matches!(read_body(body), Agreement::Agrees { .. });
        assert!(agrees(&format!(r#"{{"message_sid":"{SID}","outcome":"confirmed"}}"#)));
        assert!(agrees(r#"{"outcome":"confirmed","message_sid":null}"#));
        assert!(agrees("{}"));
        for wrong in [
            "",
            "null",
            "[]",
            r#"[null,"confirmed",null,null]"#,
            "\"confirmed\"",
            "<html>Sign in</html>",
            r#"{"outcome":"unconfirmed"}"#,
            r#"{"outcome":"confirmed""#,
            r#"{"message_sid":"SM00000000000000000000000000000000","outcome":"confirmed"}"#,
            r#"{"message_sid":7}"#,
        ] {
            assert_eq!(read_body(wrong), Agreement::Unverifiable, "{wrong}");
        }
    }

    #[test]
    fn a_body_that_is_not_text_agrees_with_nothing_wherever_it_is_not() {
        let asked = SID.to_owned().try_into().unwrap();
        for body in [&b"{\"outcome\": \"confirmed\", \"x\": \"\xff\"}"[..], b"{\"\xff\": 1}"] {
            let answer = Answer::read(&asked, 200, &HeaderMap::new(), body);
            assert!(matches!(answer, Answer::Http { agreement: Agreement::Unverifiable, .. }), "{body:?}");
        }
    }

    #[test]
    fn the_date_of_the_update_is_read_where_it_stands() {
        let body = r#"{"date_updated":"Thu, 30 Jul 2015 20:00:00 +0000"}"#;
        let at = DateTime::parse_from_rfc3339("2015-07-30T20:00:00Z").unwrap().to_utc();
        assert_eq!(read_body(body), Agreement::Agrees { date_updated: Some(at) });
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_nothing_else() {
        let after = |told: &[(HeaderName, &str)]| {
            let headers =
                told.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
            retry_after(&headers)
        };
        let date = (DATE, "Thu, 30 Jul 2015 20:00:00 GMT");
        assert_eq!(after(&[(RETRY_AFTER, "3")]), Some(Duration::from_secs(3)));
        assert_eq!(
            after(&[date.clone(), (RETRY_AFTER, "Thu, 30 Jul 2015 20:01:30 GMT")]),
            Some(Duration::from_secs(90))
        );
        assert_eq!(after(&[date, (RETRY_AFTER, "Thu, 30 Jul 2015 19:59:00 GMT")]), None);
        for garbage in ["-1", "+3", "abc", "", "1.5", "3, 3", "Thu, 30 Jul 2015 20:01:30 GMT"] {
            assert_eq!(after(&[(RETRY_AFTER, garbage)]), None, "{garbage}");
        }
    }

    #[test]
    fn only_what_looks_like_a_request_id_is_kept() {
        assert_eq!(request_id("RQ0123abc, RQ0123abc").as_deref(), Some("RQ0123abc"));
        assert_eq!(request_id("<script>"), None);
        assert_eq!(request_id(""), None);
    }
}
