//! `POST /v1/messages` maps an action to a message; `GET /v1/messages/{message_sid}` tells of one.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Intake,
    accounts::Accounts,
    auth::Caller,
    document::{self, Document, SMALL},
    fault::Faults,
    field::Field,
    labels::{LabelsBody, LabelsJson},
    moment::Moment,
    named::Named,
    object::Object,
    problem::Problem,
};
use crate::{
    domain::{AccountSid, ActionId, FeedbackState, MessageSid, Namespace, Registration},
    store::{AttemptView, FeedbackView, MessageView, Registered},
    telemetry,
};

/// Maps an action to a message.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageBody {
    #[schema(value_type = ActionId, required = true)]
    action_id: Field<ActionId>,
    #[schema(value_type = MessageSid, required = true)]
    message_sid: Field<MessageSid>,
    /// May be left out where one account is configured.
    #[schema(value_type = Option<AccountSid>)]
    account_sid: Field<AccountSid>,
    /// When it was sent. The moment of this request, if left out.
    #[schema(value_type = Option<DateTime<Utc>>)]
    sent_at: Field<Moment>,
    #[schema(value_type = Option<LabelsBody>)]
    labels: Object<LabelsBody>,
}

impl MessageBody {
    fn parse(self, namespace: &Namespace, accounts: &Accounts, faults: &mut Faults) -> Option<Registration> {
        let action_id = self.action_id.required("/action_id", faults);
        let message_sid = self.message_sid.required("/message_sid", faults);
        let account_sid = accounts.owner(self.account_sid, faults);
        let sent_at = self.sent_at.optional("/sent_at", faults).map(|Moment(moment)| moment);
        let labels = self.labels.optional("/labels", faults).map(|labels| labels.parse("/labels", faults));
        Some(Registration {
            namespace: namespace.clone(),
            action_id: action_id?,
            message_sid: message_sid?,
            account_sid: account_sid?,
            sent_at,
            labels: labels.unwrap_or_default(),
        })
    }
}

/// A mapping, as it stands now.
#[derive(Serialize, ToSchema)]
pub(super) struct MessageMapped {
    message_sid: MessageSid,
    action_id: ActionId,
    account_sid: AccountSid,
    feedback: FeedbackStanding,
}

#[derive(Serialize, ToSchema)]
pub(super) struct FeedbackStanding {
    /// `none` until an event names the message; `pending` at once if one was waiting for it.
    #[schema(value_type = FeedbackState)]
    state: &'static str,
}

/// Map an action to a message
///
/// Tell it as soon as the message's SID is known. Events of the action that came before wait for it. A message belongs
/// to one action of one account for ever.
#[utoipa::path(
    post,
    path = "/v1/messages",
    operation_id = "register_message",
    tag = "messages",
    request_body(content = MessageBody, example = json!({
        "action_id": "login-7f3a", "message_sid": "SM0123456789abcdef0123456789abcdef",
        "sent_at": "2026-11-23T10:00:00Z",
        "labels": {"country": "DE", "sender": "MG0123456789abcdef0123456789abcdef", "template": "login-otp", "channel": "sms"}
    })),
    responses(
        (status = 201, description = "The mapping is new.", body = MessageMapped, example = json!({
            "message_sid": "SM0123456789abcdef0123456789abcdef", "action_id": "login-7f3a",
            "account_sid": "AC0123456789abcdef0123456789abcdef", "feedback": {"state": "none"}
        })),
        (status = 200, description = "It was known; what it left out was filled in.", body = MessageMapped),
        (status = 409, description = "The message is mapped to another action or account. Nothing changed.",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn register(
    State(intake): State<Intake>,
    caller: Caller,
    document: Document<SMALL>,
) -> Result<Response, Problem> {
    let registration = parse(document.text(), caller.namespace(), &intake.accounts)?;
    let Registration { action_id, message_sid, account_sid, .. } = registration.clone();
    let span = telemetry::mapping_span(caller.name(), &action_id, &message_sid);
    let registered = intake.register(&caller, registration).await;
    span.in_scope(|| tracing::debug!(?registered, "Answered a mapping"));
    let (status, state) = match registered? {
        Registered::Created(state) => (StatusCode::CREATED, state),
        Registered::Known(state) => (StatusCode::OK, state),
        Registered::Conflict => return Err(Problem::MessageConflict),
    };
    let mapped = MessageMapped { message_sid, action_id, account_sid, feedback: state.into() };
    Ok((status, Json(mapped)).into_response())
}

/// The whole body, or all that is wrong with it.
pub(super) fn parse(text: &str, namespace: &Namespace, accounts: &Accounts) -> Result<Registration, Problem> {
    let mut faults = Faults::default();
    let body: Object<MessageBody> = document::parse(text)?;
    let parsed = body.required("", &mut faults).and_then(|body| body.parse(namespace, accounts, &mut faults));
    faults.or(parsed)
}

/// One message: its mapping, its feedback, its attempts.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct MessageJson {
    message_sid: MessageSid,
    account_sid: AccountSid,
    /// None if an event named the message and no action.
    action_id: Option<ActionId>,
    sent_at: DateTime<Utc>,
    registered_at: DateTime<Utc>,
    labels: LabelsJson,
    feedback: FeedbackJson,
    /// Oldest first.
    attempts: Vec<AttemptJson>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Feedback)]
pub(super) struct FeedbackJson {
    #[schema(value_type = FeedbackState)]
    state: &'static str,
    /// Requests that were started, whatever came of them.
    attempts: u32,
    /// When the next attempt may start; of a pending feedback only.
    due_at: Option<DateTime<Utc>>,
    /// When it was confirmed or given up.
    settled_at: Option<DateTime<Utc>>,
    /// Why it is dead, or why its lane is paused.
    reason: Option<String>,
}

/// One request and what came of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(super) struct AttemptJson {
    number: u32,
    at: DateTime<Utc>,
    /// HTTP status, where an answer came.
    status: Option<u16>,
    /// The error code in the answer.
    code: Option<u32>,
    /// `confirmed`, `retry`, `dead` or `interrupted`.
    verdict: String,
    class: Option<String>,
    /// What failed below HTTP.
    error: Option<String>,
    request_id: Option<String>,
    took_ms: Option<u32>,
}

/// Read one message
#[utoipa::path(
    get,
    path = "/v1/messages/{message_sid}",
    operation_id = "read_message",
    tag = "messages",
    params(("message_sid" = MessageSid, Path)),
    responses(
        (status = 200, description = "Its mapping, its feedback, its attempts.", body = MessageJson),
        (status = 404, description = "Not known, or of another namespace.",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn read(
    State(intake): State<Intake>,
    caller: Caller,
    Named(message_sid): Named<MessageSid>,
) -> Result<Json<MessageJson>, Problem> {
    let message = intake.ledger.message(Some(caller.namespace()), &message_sid).await?;
    message.map(|message| Json(message.into())).ok_or(Problem::NotFound)
}

impl From<MessageView> for MessageJson {
    fn from(message: MessageView) -> Self {
        Self {
            message_sid: message.message_sid,
            account_sid: message.account_sid,
            action_id: message.action_id,
            sent_at: message.sent_at,
            registered_at: message.registered_at,
            labels: message.labels.into(),
            feedback: message.feedback.into(),
            attempts: message.attempts.into_iter().map(AttemptJson::from).collect(),
        }
    }
}

impl From<FeedbackState> for FeedbackStanding {
    fn from(state: FeedbackState) -> Self {
        Self { state: state.as_str() }
    }
}

impl From<FeedbackView> for FeedbackJson {
    fn from(FeedbackView { state, attempts, due_at, leased_until: _, settled_at, reason }: FeedbackView) -> Self {
        Self { state: state.as_str(), attempts, due_at, settled_at, reason }
    }
}

impl From<AttemptView> for AttemptJson {
    fn from(attempt: AttemptView) -> Self {
        let AttemptView { number, at, status, code, verdict, class, error, request_id, took_ms } = attempt;
        Self { number, at, status, code, verdict, class, error, request_id, took_ms }
    }
}
