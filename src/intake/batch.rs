//! `POST /v1/events/batch` takes many events, each with an answer of its own.

use std::vec;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use tracing::Span;
use utoipa::ToSchema;

use super::{
    Intake,
    accounts::Accounts,
    auth::Caller,
    document::{self, Document, LARGE, SMALL},
    event_body::EventBody,
    events::{settled, tell},
    fault::Faults,
    field::Field,
    items::Items,
    object::Object,
    problem::{Problem, ProblemBody},
};
use crate::{
    domain::{Event, EventId, EventState, MessageSid, Namespace},
    store::{Accepted, NotTaken},
    telemetry,
};

pub(super) const PATH: &str = "/v1/events/batch";

/// Up to 1,000 events, of up to 16 KiB each.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchBody {
    #[schema(value_type = Vec<EventBody>, required = true, min_items = 1, max_items = 1000)]
    events: Field<Items>,
}

/// What came of each event, in the order of the request.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchAnswer {
    results: Vec<ItemAnswer>,
}

/// What `POST /v1/events` would have answered: `state` and `message_sids`, or a `problem`, whose pointers start at
/// the item.
#[derive(Serialize, ToSchema)]
pub(super) struct ItemAnswer {
    /// None if the item holds no well-formed one.
    event_id: Option<EventId>,
    #[schema(examples(202))]
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EventState>)]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_sids: Option<Vec<MessageSid>>,
    /// Given, and true, if it was taken before.
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// Take many events
///
/// Each is taken or refused by itself: a faulty one has its own 422, whose pointers start at the item (`/message_sid`,
/// not `/events/3/message_sid`), and the others are taken. Each needs its `event_id` in the body; an
/// `Idempotency-Key` header says nothing here. Items with a 503 may be sent again as they are.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "take_events",
    tag = "events",
    request_body(content = BatchBody, example = json!({"events": [
        {"event_id": "3f1c", "action_id": "login-7f3a", "occurred_at": "2026-11-23T10:00:42Z"},
        {"event_id": "3f1d", "message_sid": "SM0123456789abcdef0123456789abcdef"}
    ]})),
    responses((status = 200, description = "An answer for each.", body = BatchAnswer))
)]
pub(super) async fn take(
    State(intake): State<Intake>,
    caller: Caller,
    document: Document<LARGE>,
) -> Result<Json<BatchAnswer>, Problem> {
    let Items(items) = parse(document.text())?;
    let mut events = Vec::with_capacity(items.len());
    let parsed: Vec<Parsed> = items
        .into_iter()
        .map(|item| {
            let (event_id, event) = read_item(item.get(), caller.namespace(), &intake.accounts);
            (event_id, event.map(|event| events.push(event)))
        })
        .collect();
    let spans: Vec<Span> = events.iter().map(|event| telemetry::event_span(caller.name(), event)).collect();
    let answers = if events.is_empty() { Vec::new() } else { intake.accept_all(&caller, events).await };
    spans.iter().zip(&answers).for_each(|(span, accepted)| tell(&caller, span, accepted));
    let mut answers = answers.into_iter();
    let results = parsed.into_iter().map(|item| answer(item, &mut answers)).collect();
    Ok(Json(BatchAnswer { results }))
}

/// The items, none of them read yet.
pub(super) fn parse(text: &str) -> Result<Items, Problem> {
    let mut faults = Faults::default();
    let body: Object<BatchBody> = document::parse(text)?;
    let items = body.required("", &mut faults).and_then(|body| body.events.required("/events", &mut faults));
    faults.or(items)
}

/// An item's id, and what was wrong with it; if nothing was, the store has an answer for it.
type Parsed = (Option<EventId>, Result<(), Problem>);

/// Reads one event, wherever it stands: its id, if it holds a well-formed one, and all that is wrong with it.
pub(super) fn read_item(
    item: &str,
    namespace: &Namespace,
    accounts: &Accounts,
) -> (Option<EventId>, Result<Event, Problem>) {
    if SMALL < item.len() {
        return (None, Err(Problem::TooLarge { most_bytes: SMALL }));
    }
    let mut faults = Faults::default();
    let Ok(body) = document::parse::<Object<EventBody>>(item) else {
        faults.at("", "must be well-formed JSON");
        return (None, faults.or(None));
    };
    let body = body.required("", &mut faults);
    let event_id = body.as_ref().and_then(EventBody::event_id).cloned();
    let event = body.and_then(|body| body.parse(Field::Absent, namespace, accounts, &mut faults));
    (event_id, faults.or(event))
}

fn answer((event_id, parsed): Parsed, answers: &mut vec::IntoIter<Result<Accepted, NotTaken>>) -> ItemAnswer {
    let settled = parsed.and_then(|()| match answers.next() {
        Some(answer) => settled(answer?),
        None => Err(Problem::Internal),
    });
    match settled {
        Ok((acceptance, replayed)) => ItemAnswer {
            event_id,
            status: StatusCode::ACCEPTED.as_u16(),
            state: Some(acceptance.state.as_str()),
            message_sids: Some(acceptance.message_sids),
            replayed: replayed.then_some(true),
            problem: None,
        },
        Err(problem) => {
            let problem = problem.body(None);
            let (state, message_sids, replayed) = (None, None, None);
            ItemAnswer { event_id, status: problem.status, state, message_sids, replayed, problem: Some(problem) }
        }
    }
}
