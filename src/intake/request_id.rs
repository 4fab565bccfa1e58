//! The id of a request: echoed if the caller made one, made if not; on the answer, in the log's span, in a problem.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::domain::EventId;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const LONGEST: usize = 128;

/// Invariant: 1 to 128 visible ASCII characters and no personal data, for it goes into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self::echoed(headers).unwrap_or_else(Self::made)
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// A URI for a problem's `instance`: what a URI's path may not hold is percent-encoded.
    pub(super) fn urn(&self) -> String {
        let mut urn = "urn:confirmd:request:".to_owned();
        for byte in self.0.as_bytes() {
            match byte {
                byte if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) => urn.push(char::from(*byte)),
                byte => urn.push_str(&format!("%{byte:02X}")),
            }
        }
        urn
    }

    fn echoed(headers: &HeaderMap) -> Option<Self> {
        let mut told = headers.get_all(X_REQUEST_ID).iter();
        let (Some(only), None) = (told.next(), told.next()) else { return None };
        let text = only.to_str().ok()?;
        // What may not be an event's id (a phone number, an e-mail address) may not reach the log either.
        let fit = text.len() <= LONGEST && EventId::try_from(text.to_owned()).is_ok();
        fit.then(|| Self(only.clone()))
    }

    fn made() -> Self {
        let id = Uuid::now_v7().to_string();
        Self(HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("none")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(values: &[&[u8]]) -> RequestId {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        }
        RequestId::of(&headers)
    }

    #[test]
    fn a_callers_id_is_echoed() {
        for id in ["a", "3f1c/1;x=\"y\"", &"a".repeat(LONGEST)] {
            assert_eq!(given(&[id.as_bytes()]).as_str(), id);
        }
    }

    #[test]
    fn an_unfit_id_is_replaced_by_one_of_ours() {
        let long = "a".repeat(LONGEST + 1);
        for wrong in [&b""[..], b"a b", b"\xff", b"+15557122661", b"ada@example.org", long.as_bytes()] {
            assert!(Uuid::try_parse(given(&[wrong]).as_str()).is_ok());
        }
        assert!(Uuid::try_parse(given(&[]).as_str()).is_ok());
        assert!(Uuid::try_parse(given(&[b"a", b"b"]).as_str()).is_ok());
    }

    #[test]
    fn its_urn_is_a_uri() {
        assert_eq!(given(&[b"a<\"%>/b"]).urn(), "urn:confirmd:request:a%3C%22%25%3E%2Fb");
    }
}
