//! `GET /v1/lanes`, and how an operator pauses and resumes one.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Intake,
    auth::Caller,
    document::{Document, SMALL},
    fault::Faults,
    field::Field,
    named::Named,
    object::Object,
    problem::Problem,
};
use crate::{
    domain::{AccountSid, ActionId, Actor, Malformed},
    store::{LaneReport, LaneView, PauseView},
};

/// The lanes of all accounts.
#[derive(Serialize, ToSchema)]
pub(super) struct LaneList {
    items: Vec<LaneJson>,
}

/// One account's deliveries, as all replicas see them.
#[derive(Serialize, ToSchema)]
#[schema(as = Lane)]
pub(super) struct LaneJson {
    account_sid: AccountSid,
    /// None while it runs.
    paused: Option<PauseJson>,
    pending: u64,
    /// Of the pending, those that are being sent now.
    leased: u64,
    oldest_due_at: Option<DateTime<Utc>>,
    /// Given up, without what was shadowed.
    dead: u64,
    /// Done but for the request, while the account was in shadow.
    shadowed: u64,
    /// What each replica said last of its side of the lane.
    replicas: Vec<ReplicaJson>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Pause)]
pub(super) struct PauseJson {
    reason: String,
    since: DateTime<Utc>,
    /// When one request may try whether the fault has gone; never for an operator's pause.
    probe_at: Option<DateTime<Utc>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Replica)]
pub(super) struct ReplicaJson {
    replica: String,
    /// Requests that may be in flight at once now.
    limit: u32,
    in_flight: u32,
    /// `closed`, `open` or `half_open`.
    breaker: String,
    /// Nothing is sent: the account is in shadow there.
    shadow: bool,
    reported_at: DateTime<Utc>,
}

/// Why a lane is paused. The body may be left out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseBody {
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, pattern = "^[ -~]*$")]
    reason: Field<Remark>,
}

/// Invariant: 1 to 200 printable ASCII characters, and no personal data.
#[derive(Debug)]
struct Remark(String);

impl TryFrom<String> for Remark {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        // Between its spaces it is what an id is; a dash separates the digits of a phone number as a space does.
        match ActionId::try_from(text.replace(' ', "-")) {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err(Malformed(
                "must be 1 to 200 printable ASCII characters, without a phone number or an e-mail address",
            )),
        }
    }
}

/// List the lanes
#[utoipa::path(
    get,
    path = "/v1/lanes",
    operation_id = "list_lanes",
    tag = "lanes",
    responses((status = 200, description = "All of them.", body = LaneList))
)]
pub(super) async fn list(State(intake): State<Intake>, _: Caller) -> Result<Json<LaneList>, Problem> {
    let lanes = intake.ledger.lanes().await?;
    Ok(Json(LaneList { items: lanes.into_iter().map(LaneJson::from).collect() }))
}

/// Pause a lane
///
/// Its work waits, and no attempt is counted, until it is resumed.
#[utoipa::path(
    post,
    path = "/v1/lanes/{account_sid}/pause",
    operation_id = "pause_lane",
    tag = "lanes",
    params(("account_sid" = AccountSid, Path)),
    request_body(content = Option<PauseBody>, example = json!({"reason": "credentials are being rotated"})),
    responses(
        (status = 200, description = "It is paused.", body = LaneJson),
        (status = 404, description = "No such account is configured.",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn pause(
    State(intake): State<Intake>,
    caller: Caller,
    Named(account_sid): Named<AccountSid>,
    document: Option<Document<SMALL>>,
) -> Result<Json<LaneJson>, Problem> {
    let account_sid = configured(&intake, account_sid)?;
    let mut faults = Faults::default();
    let reason = match document {
        None => None,
        Some(document) => {
            let body: Object<PauseBody> = document.parse()?;
            body.optional("", &mut faults).and_then(|body| body.reason.optional("/reason", &mut faults))
        }
    };
    faults.or(Some(()))?;
    let by = match reason {
        Some(Remark(reason)) => format!("{}: {reason}", caller.name()),
        None => caller.name().to_string(),
    };
    tracing::info!(%by, "Pausing a lane");
    let operator = intake.operator.by(Actor::caller(caller.name()));
    Ok(Json(operator.pause(&account_sid, &by).await?.into()))
}

/// Resume a lane
#[utoipa::path(
    post,
    path = "/v1/lanes/{account_sid}/resume",
    operation_id = "resume_lane",
    tag = "lanes",
    params(("account_sid" = AccountSid, Path)),
    responses(
        (status = 200, description = "It runs.", body = LaneJson),
        (status = 404, description = "No such account is configured.",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resume(
    State(intake): State<Intake>,
    caller: Caller,
    Named(account_sid): Named<AccountSid>,
) -> Result<Json<LaneJson>, Problem> {
    let account_sid = configured(&intake, account_sid)?;
    tracing::info!(by = %caller.name(), "Resuming a lane");
    let operator = intake.operator.by(Actor::caller(caller.name()));
    Ok(Json(operator.resume(&account_sid).await?.into()))
}

fn configured(intake: &Intake, account_sid: AccountSid) -> Result<AccountSid, Problem> {
    if intake.accounts.has(&account_sid) { Ok(account_sid) } else { Err(Problem::NotFound) }
}

impl From<LaneView> for LaneJson {
    fn from(lane: LaneView) -> Self {
        Self {
            account_sid: lane.account_sid,
            paused: lane.paused.map(PauseJson::from),
            pending: lane.pending,
            leased: lane.leased,
            oldest_due_at: lane.oldest_due_at,
            dead: lane.dead,
            shadowed: lane.shadowed,
            replicas: lane.replicas.into_iter().map(ReplicaJson::from).collect(),
        }
    }
}

impl From<PauseView> for PauseJson {
    fn from(PauseView { reason, since, probe_at }: PauseView) -> Self {
        Self { reason, since, probe_at }
    }
}

impl From<LaneReport> for ReplicaJson {
    fn from(LaneReport { replica, limit, in_flight, breaker, shadow, reported_at }: LaneReport) -> Self {
        Self { replica, limit, in_flight, breaker, shadow, reported_at }
    }
}
