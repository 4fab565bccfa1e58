//! `GET /v1/actions/{action_id}`: an action's messages and events, and where they stand.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Intake, auth::Caller, messages::FeedbackStanding, named::Named, problem::Problem};
use crate::{
    domain::{AccountSid, ActionId, EventId, EventState, MessageSid},
    store::{ActionEvent, ActionMessage, ActionView},
};

/// What a user was asked to do: its messages and its events.
#[derive(Serialize, ToSchema)]
#[schema(as = Action)]
pub(super) struct ActionJson {
    action_id: ActionId,
    /// In the order they were sent; the first 100.
    messages: Vec<ActionMessageJson>,
    /// Oldest first; the first 100.
    events: Vec<ActionEventJson>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ActionMessage)]
pub(super) struct ActionMessageJson {
    message_sid: MessageSid,
    account_sid: AccountSid,
    sent_at: DateTime<Utc>,
    feedback: FeedbackStanding,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ActionEvent)]
pub(super) struct ActionEventJson {
    event_id: EventId,
    #[schema(value_type = EventState)]
    state: &'static str,
}

/// Read an action
#[utoipa::path(
    get,
    path = "/v1/actions/{action_id}",
    operation_id = "read_action",
    tag = "actions",
    params(("action_id" = ActionId, Path)),
    responses(
        (status = 200, description = "Its messages and events, and where they stand.", body = ActionJson),
        (status = 404, description = "Not known, or of another namespace.",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn read(
    State(intake): State<Intake>,
    caller: Caller,
    Named(action_id): Named<ActionId>,
) -> Result<Json<ActionJson>, Problem> {
    let action = intake.ledger.action(caller.namespace(), &action_id).await?;
    action.map(|action| Json(action.into())).ok_or(Problem::NotFound)
}

impl From<ActionView> for ActionJson {
    fn from(action: ActionView) -> Self {
        Self {
            action_id: action.action_id,
            messages: action.messages.into_iter().map(ActionMessageJson::from).collect(),
            events: action.events.into_iter().map(ActionEventJson::from).collect(),
        }
    }
}

impl From<ActionMessage> for ActionMessageJson {
    fn from(ActionMessage { message_sid, account_sid, sent_at, feedback }: ActionMessage) -> Self {
        Self { message_sid, account_sid, sent_at, feedback: feedback.into() }
    }
}

impl From<ActionEvent> for ActionEventJson {
    fn from(ActionEvent { event_id, state }: ActionEvent) -> Self {
        Self { event_id, state: state.as_str() }
    }
}
