//! What can go wrong, and the one place that chooses an HTTP status for it: problems as RFC 9457 has them.

use std::borrow::Cow;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{fault::Fault, request_id::RequestId};
use crate::domain::Scope;
use crate::store::{NotTaken, StoreError};

/// The queue in front of the writers empties in milliseconds.
const BUSY_SECONDS: u16 = 1;
/// Postgres does not: a failover takes several seconds.
const UNAVAILABLE_SECONDS: u16 = 5;

/// Why a request is not answered with what it asked for. A variant exists because a caller acts differently on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Not even well-formed: the end of the sentence "the request …".
    Malformed(&'static str),
    /// Well-formed, but its content is not what it should be.
    Invalid(Vec<Fault>),
    IdempotencyMismatch,
    MessageConflict,
    /// Many would be replayed, and the caller has not said how many.
    Unconfirmed {
        number: u64,
    },
    Unauthorized,
    Forbidden(Scope),
    NotFound,
    MethodNotAllowed,
    /// The body took too long to arrive.
    TooSlow,
    TooLarge {
        most_bytes: usize,
    },
    UnsupportedMediaType,
    /// Too much is waiting here.
    Busy,
    /// Postgres is not answering, or not in time.
    Unavailable,
    /// No traffic, please: for load balancers only.
    NotReady(Vec<&'static str>),
    Internal,
}

impl Problem {
    /// Logs the cause, which no caller gets to see.
    pub(super) fn store(error: &StoreError) -> Self {
        tracing::warn!(%error, "The store could not answer a request");
        Self::Unavailable
    }

    /// For an error that came without a problem, from the framework.
    pub(super) fn of_bare(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Self::TooSlow,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            status if status.is_client_error() => Self::Malformed("could not be read"),
            _ => Self::Internal,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Invalid(_) | Self::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
            Self::MessageConflict | Self::Unconfirmed { .. } => StatusCode::CONFLICT,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Busy | Self::Unavailable | Self::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The last part of `type`, and `title`. They go together and never change.
    fn name(&self) -> (&'static str, &'static str) {
        match self {
            Self::Malformed(_) | Self::Invalid(_) => ("invalid-request", "The request is not valid"),
            Self::IdempotencyMismatch => ("idempotency-mismatch", "The event id was used for another event"),
            Self::MessageConflict => ("message-conflict", "The message is mapped to another action or account"),
            Self::Unconfirmed { .. } => ("replay-unconfirmed", "How many are to be replayed must be said"),
            Self::Unauthorized => ("unauthorized", "A valid bearer token is needed"),
            Self::Forbidden(_) => ("forbidden", "The token lacks a scope"),
            Self::NotFound => ("not-found", "There is no such thing"),
            Self::MethodNotAllowed => ("method-not-allowed", "The method does not go with this path"),
            Self::TooSlow => ("request-timeout", "The request took too long to arrive"),
            Self::TooLarge { .. } => ("payload-too-large", "The body is too large"),
            Self::UnsupportedMediaType => ("unsupported-media-type", "The body must be application/json"),
            Self::Busy => ("busy", "Too much is waiting"),
            Self::Unavailable => ("unavailable", "The service cannot answer now"),
            Self::NotReady(_) => ("not-ready", "No traffic, please"),
            Self::Internal => ("internal", "Something went wrong here"),
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Malformed(detail) => format!("The request {detail}.").into(),
            Self::Invalid(_) => "Each of `errors` says where and why.".into(),
            Self::IdempotencyMismatch => {
                "This event id was used before, with other content. Nothing changed; a new event needs a new id.".into()
            }
            Self::MessageConflict => "The first mapping stands. Nothing changed.".into(),
            Self::Unconfirmed { number } => {
                format!("{number} would be replayed. Nothing changed; if that is what is wanted, say `confirm`: {number}.").into()
            }
            Self::Unauthorized => "Send `Authorization: Bearer` and a token that is configured here.".into(),
            Self::Forbidden(scope) => format!("The token lacks the scope `{}`.", scope.as_str()).into(),
            Self::NotFound => "There is nothing at this path that the token may see.".into(),
            Self::MethodNotAllowed => "The `Allow` header names the methods of this path.".into(),
            Self::TooSlow => "Try again; an event with the same id is safe to repeat.".into(),
            Self::TooLarge { most_bytes } => format!("It may have {most_bytes} bytes.").into(),
            Self::UnsupportedMediaType => "Send `Content-Type: application/json`, in UTF-8 and not compressed.".into(),
            Self::Busy | Self::Unavailable => {
                "It may not have been taken. Try again after `Retry-After`; an event with the same id is safe to repeat."
                    .into()
            }
            Self::NotReady(reasons) => reasons.join(", ").into(),
            Self::Internal => "Try again; if it stays, the log has more under this request's id.".into(),
        }
    }

    fn headers(&self) -> Option<(header::HeaderName, HeaderValue)> {
        match self {
            Self::Unauthorized => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::Busy => Some((header::RETRY_AFTER, BUSY_SECONDS.into())),
            Self::Unavailable => Some((header::RETRY_AFTER, UNAVAILABLE_SECONDS.into())),
            // What is left of the body is not worth reading.
            Self::TooSlow | Self::TooLarge { .. } => Some((header::CONNECTION, HeaderValue::from_static("close"))),
            _ => None,
        }
    }

    pub(super) fn body(self, instance: Option<String>) -> ProblemBody {
        let (name, title) = self.name();
        ProblemBody {
            kind: format!("urn:confirmd:problem:{name}"),
            title,
            status: self.status().as_u16(),
            detail: self.detail(),
            instance,
            errors: match self {
                Self::Invalid(faults) => faults,
                _ => Vec::new(),
            },
        }
    }

    /// The whole answer, with the request's id as its `instance`.
    pub(super) fn answer(self, request_id: &RequestId) -> Response {
        let instance = match self {
            // The same bytes whatever was wrong with the token.
            Self::Unauthorized => None,
            _ => Some(request_id.urn()),
        };
        self.rendered(instance)
    }

    fn rendered(self, instance: Option<String>) -> Response {
        let (status, header) = (self.status(), self.headers());
        let body = serde_json::to_vec(&self.body(instance)).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        response.headers_mut().extend(header);
        response
    }
}

pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// A problem on the wire. Its `type` is stable, whatever its words become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// `urn:confirmd:problem:` and a name.
    #[serde(rename = "type")]
    #[schema(examples("urn:confirmd:problem:invalid-request"))]
    kind: String,
    title: &'static str,
    pub(super) status: u16,
    #[schema(value_type = String)]
    detail: Cow<'static, str>,
    /// `urn:confirmd:request:` and the request's id. A 401 and an item of a batch have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
}

impl IntoResponse for Problem {
    /// Travels along as an extension, so that [`super::edge`] can fill in the request's id.
    fn into_response(self) -> Response {
        let mut response = self.clone().rendered(None);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<NotTaken> for Problem {
    fn from(not_taken: NotTaken) -> Self {
        match not_taken {
            NotTaken::QueueFull | NotTaken::QueueSlow => Self::Busy,
            NotTaken::Unavailable => Self::Unavailable,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::store(&error)
    }
}
