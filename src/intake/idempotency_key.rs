//! The `Idempotency-Key` header: another place for an event's id.
//!
//! Source: <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>, a string as structured
//! fields have it (RFC 9651, section 3.3.3). Its quotes may be missing, as in most clients.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use utoipa::IntoParams;

use super::field::Field;
use crate::domain::{EventId, Malformed};

pub(super) const NAME: &str = "Idempotency-Key";

/// What the header says, if there is one.
#[derive(Debug, IntoParams)]
#[into_params(names("Idempotency-Key"), parameter_in = Header)]
pub(super) struct IdempotencyKey(
    /// The event's id, if it is not in the body. Its quotes are optional.
    #[param(value_type = String, required = false)]
    pub(super) Field<EventId>,
);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(idempotency_key(&parts.headers)))
    }
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Field<EventId> {
    let mut told = headers.get_all(NAME).iter();
    match (told.next(), told.next()) {
        (None, _) => Field::Absent,
        (Some(_), Some(_)) => Field::Faulty(Malformed("must be given only once")),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| Malformed("must be 1 to 200 visible ASCII characters"));
            text.and_then(unquoted).and_then(EventId::try_from).into()
        }
    }
}

/// Takes off the quotes, if there are any, and what they make necessary.
fn unquoted(text: &str) -> Result<String, Malformed> {
    const FAULT: Malformed = Malformed("must be a string in quotes, or without any");
    let Some(quoted) = text.strip_prefix('"') else { return Ok(text.to_owned()) };
    let mut rest = quoted.strip_suffix('"').ok_or(FAULT)?.chars();
    let mut plain = String::with_capacity(quoted.len());
    while let Some(char) = rest.next() {
        match char {
            '\\' => plain.push(rest.next().filter(|escaped| matches!(escaped, '"' | '\\')).ok_or(FAULT)?),
            '"' => return Err(FAULT),
            char => plain.push(char),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(values: &[&str]) -> Field<EventId> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(NAME, HeaderValue::try_from(*value).unwrap());
        }
        idempotency_key(&headers)
    }

    #[test]
    fn quotes_are_optional_and_no_part_of_the_key() {
        for (told, key) in [("3f1c", "3f1c"), ("\"3f1c\"", "3f1c"), (r#""a\"b\\c""#, r#"a"b\c"#), ("a\"b", "a\"b")] {
            assert!(matches!(read(&[told]), Field::Given(id) if id.as_str() == key), "{told}");
        }
        assert_eq!(read(&[]), Field::Absent);
    }

    #[test]
    fn what_is_no_key_is_a_fault() {
        for wrong in ["", "\"", "\"\"", "\"a", "\"a\"b\"", r#""a\b""#, r#""a\""#, "\"a\";b=1", "a b", "+15557122661"] {
            assert!(matches!(read(&[wrong]), Field::Faulty(_)), "{wrong}");
        }
        assert!(matches!(read(&["a", "a"]), Field::Faulty(_)));
    }
}
