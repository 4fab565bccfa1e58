//! `POST /v1/events` takes one event.

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tracing::Span;
use utoipa::ToSchema;

use super::{
    Intake,
    accounts::Accounts,
    auth::Caller,
    document::{self, Document, SMALL},
    event_body::EventBody,
    fault::Faults,
    field::Field,
    idempotency_key::IdempotencyKey,
    object::Object,
    problem::Problem,
};
use crate::{
    domain::{Event, EventId, EventState, MessageSid, Namespace},
    store::{Acceptance, Accepted, NotTaken},
    telemetry::{self, EventAnswer},
};

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The answer to an event. The same event again gets the same answer; what becomes of it later is in its receipt.
#[derive(Serialize, ToSchema)]
pub(super) struct EventTaken {
    event_id: EventId,
    #[schema(value_type = EventState)]
    state: &'static str,
    /// What it confirms. Empty while it is parked.
    message_sids: Vec<MessageSid>,
}

/// Take one event
///
/// The answer comes when the event is durable, and never waits for its delivery. If there is no answer, or a 5xx,
/// send it again with the same id: nothing is ever counted twice.
#[utoipa::path(
    post,
    path = "/v1/events",
    operation_id = "take_event",
    tag = "events",
    params(IdempotencyKey),
    request_body(content = EventBody, example = json!({
        "event_id": "3f1c9e0a-70f4-4f7c-9a53-0e8e8b3e9f21", "type": "otp.completed", "action_id": "login-7f3a",
        "occurred_at": "2026-11-23T10:00:42Z"
    })),
    responses(
        (status = 202, description = "It is durable.", body = EventTaken,
            headers(("Idempotent-Replayed" = String, description = "`true` if it was taken before.")),
            example = json!({
                "event_id": "3f1c9e0a-70f4-4f7c-9a53-0e8e8b3e9f21", "state": "pending",
                "message_sids": ["SM0123456789abcdef0123456789abcdef"]
            })),
        (status = 409, description = "It names a message that is mapped to another action or account. Nothing changed.",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The content is not what it should be (`invalid-request`), or the id was used for \
            another event (`idempotency-mismatch`). Nothing changed.",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn take(
    State(intake): State<Intake>,
    caller: Caller,
    IdempotencyKey(header): IdempotencyKey,
    document: Document<SMALL>,
) -> Result<Response, Problem> {
    let event = parse(document.text(), header, caller.namespace(), &intake.accounts)?;
    let event_id = event.key.event_id.clone();
    let span = telemetry::event_span(caller.name(), &event);
    let accepted = intake.accept(&caller, event).await;
    tell(&caller, &span, &accepted);
    let (Acceptance { state, message_sids }, replayed) = settled(accepted?)?;
    let taken = Json(EventTaken { event_id, state: state.as_str(), message_sids });
    let mut response = (StatusCode::ACCEPTED, taken).into_response();
    if replayed {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Counts what the caller is answered, and says it to whoever follows the caller or what it spoke of.
pub(super) fn tell(caller: &Caller, span: &Span, accepted: &Result<Accepted, NotTaken>) {
    let answer = told(accepted);
    telemetry::told(caller.name(), answer);
    let (state, message_sids) = match accepted {
        Ok(Accepted::Taken(acceptance) | Accepted::Replayed(acceptance)) => {
            (Some(acceptance.state.as_str()), acceptance.message_sids.as_slice())
        }
        _ => (None, &[][..]),
    };
    telemetry::event_told(span, answer.as_str(), state, message_sids);
}

/// What the caller is answered, as metrics have it.
const fn told(accepted: &Result<Accepted, NotTaken>) -> EventAnswer {
    match accepted {
        Ok(Accepted::Taken(_)) => EventAnswer::Taken,
        Ok(Accepted::Replayed(_)) => EventAnswer::Replayed,
        Ok(Accepted::Mismatch) => EventAnswer::Mismatch,
        Ok(Accepted::Conflict) => EventAnswer::Conflict,
        Err(_) => EventAnswer::NotTaken,
    }
}

/// The whole body, or all that is wrong with it.
pub(super) fn parse(
    text: &str,
    header: Field<EventId>,
    namespace: &Namespace,
    accounts: &Accounts,
) -> Result<Event, Problem> {
    let mut faults = Faults::default();
    let body: Object<EventBody> = document::parse(text)?;
    let parsed = body.required("", &mut faults).and_then(|body| body.parse(header, namespace, accounts, &mut faults));
    faults.or(parsed)
}

/// The answer of the store, and whether it was given before.
pub(super) fn settled(accepted: Accepted) -> Result<(Acceptance, bool), Problem> {
    match accepted {
        Accepted::Taken(acceptance) => Ok((acceptance, false)),
        Accepted::Replayed(acceptance) => Ok((acceptance, true)),
        Accepted::Mismatch => Err(Problem::IdempotencyMismatch),
        Accepted::Conflict => Err(Problem::MessageConflict),
    }
}
