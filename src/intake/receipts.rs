//! `GET /v1/events/{event_id}`: the receipt of an event.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Intake, auth::Caller, named::Named, problem::Problem};
use crate::{
    domain::{ActionId, EventId, EventKey, EventState, MessageSid},
    store::{Happening, Receipt},
};

/// One event: what was taken, and what became of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Receipt)]
pub(super) struct ReceiptJson {
    event_id: EventId,
    #[schema(value_type = EventState)]
    state: &'static str,
    /// None if it named a message and no action.
    action_id: Option<ActionId>,
    message_sids: Vec<MessageSid>,
    occurred_at: DateTime<Utc>,
    accepted_at: DateTime<Utc>,
    /// Oldest first.
    history: Vec<HappeningJson>,
}

/// One line of a history.
#[derive(Serialize, ToSchema)]
#[schema(as = Happening)]
pub(super) struct HappeningJson {
    at: DateTime<Utc>,
    /// `accepted`, `parked`, `resolved`, `expired`, `attempt`, `confirmed` or `dead`.
    #[schema(examples("confirmed"))]
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_sid: Option<MessageSid>,
    /// Of an attempt: what came of it. Of `dead`: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Read the receipt of an event
#[utoipa::path(
    get,
    path = "/v1/events/{event_id}",
    operation_id = "read_event",
    tag = "events",
    params(("event_id" = EventId, Path)),
    responses(
        (status = 200, description = "What was taken, and what became of it.", body = ReceiptJson),
        (status = 404, description = "Not known, or of another namespace.",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn read(
    State(intake): State<Intake>,
    caller: Caller,
    Named(event_id): Named<EventId>,
) -> Result<Json<ReceiptJson>, Problem> {
    let key = EventKey { namespace: caller.namespace().clone(), event_id };
    let receipt = intake.ledger.event(&key).await?;
    receipt.map(|receipt| Json(receipt.into())).ok_or(Problem::NotFound)
}

/// The receipt of the event whose id is the last word of [`super::batch::PATH`].
pub(super) async fn read_batch(intake: State<Intake>, caller: Caller) -> Result<Json<ReceiptJson>, Problem> {
    let event_id = EventId::try_from("batch".to_owned()).map_err(|_| Problem::NotFound)?;
    read(intake, caller, Named(event_id)).await
}

impl From<Receipt> for ReceiptJson {
    fn from(receipt: Receipt) -> Self {
        Self {
            event_id: receipt.key.event_id,
            state: receipt.state.as_str(),
            action_id: receipt.action_id,
            message_sids: receipt.message_sids,
            occurred_at: receipt.occurred_at,
            accepted_at: receipt.accepted_at,
            history: receipt.history.into_iter().map(HappeningJson::from).collect(),
        }
    }
}

impl From<Happening> for HappeningJson {
    fn from(Happening { at, what, message_sid, detail }: Happening) -> Self {
        Self { at, what, message_sid, detail }
    }
}
