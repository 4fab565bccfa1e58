//! The body of a request, read whole: JSON by its content type, within its size, in time, in UTF-8.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody},
    extract::{FromRef, FromRequest, OptionalFromRequest, Request},
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The most bytes of a message, an event, an item of a batch.
pub(super) const SMALL: usize = 16 << 10;
/// The most bytes of a batch.
pub(super) const LARGE: usize = 1 << 20;

/// How long a body may take to arrive.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyDeadline(pub(super) Duration);

/// A body of at most `MOST` bytes that claims to be JSON.
#[derive(Debug)]
pub(super) struct Document<const MOST: usize>(String);

impl<const MOST: usize> Document<MOST> {
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        parse(&self.0)
    }
}

/// Fails for syntax only: `T` keeps what is wrong with its content.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|_| Problem::Malformed("must be one well-formed JSON value"))
}

impl<S, const MOST: usize> FromRequest<S> for Document<MOST>
where
    S: Send + Sync,
    BodyDeadline: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !says_json(request.headers()) {
            return Err(Problem::UnsupportedMediaType);
        }
        let BodyDeadline(deadline) = BodyDeadline::from_ref(state);
        match tokio::time::timeout(deadline, read::<MOST>(request.into_body())).await {
            Ok(text) => text.map(Self),
            Err(_) => Err(Problem::TooSlow),
        }
    }
}

impl<S, const MOST: usize> OptionalFromRequest<S> for Document<MOST>
where
    S: Send + Sync,
    BodyDeadline: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        if request.body().is_end_stream() {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

async fn read<const MOST: usize>(body: Body) -> Result<String, Problem> {
    const CUT: Problem = Problem::Malformed("ended before its body did");
    let too_large = Problem::TooLarge { most_bytes: MOST };
    if u64::try_from(MOST).is_ok_and(|most| most < body.size_hint().lower()) {
        return Err(too_large);
    }
    let bytes = match Limited::new(body, MOST).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => return Err(too_large),
        Err(_) => return Err(CUT),
    };
    String::from_utf8(bytes.into()).map_err(|_| Problem::Malformed("must be in UTF-8"))
}

/// `application/json`, with no charset or UTF-8, and not compressed.
fn says_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(Ok(told)), None) = (types.next().map(|told| told.to_str()), types.next()) else { return false };
    let mut parts = told.split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let utf_8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    json && utf_8 && !headers.contains_key(header::CONTENT_ENCODING)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn is_json(content_type: &str) -> bool {
        says_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::try_from(content_type).unwrap())]))
    }

    #[test]
    fn only_json_in_utf_8_is_taken() {
        for right in ["application/json", "Application/JSON; charset=\"UTF-8\"", "application/json;charset=utf-8"] {
            assert!(is_json(right), "{right}");
        }
        for wrong in ["", "text/plain", "application/json; charset=latin1", "application/jsonp", "application/*"] {
            assert!(!is_json(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_content_type_is_needed_and_no_encoding_is() {
        assert!(!says_json(&HeaderMap::new()));
        let json = HeaderValue::from_static("application/json");
        let zipped = [(header::CONTENT_TYPE, json), (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
        assert!(!says_json(&HeaderMap::from_iter(zipped)));
    }
}
