//! `POST /v1/dead-letters/replay`: makes dead letters due again.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{
    Intake,
    auth::Caller,
    document::{self, Document, SMALL},
    fault::Faults,
    field::{Field, Member, Scalar},
    moment::Moment,
    object::Object,
    problem::Problem,
};
use crate::{
    domain::{AccountSid, Actor, EventId, LetterReason, Malformed, MessageSid, Namespace},
    store::{LetterFilter, Run, is_confirmed},
};

/// How long a request works before it answers how far it came: well within what a request may take.
const WORKS_FOR: Duration = Duration::from_secs(3);

/// Which dead letters to replay, and how fast.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayBody {
    /// `{}` means all of the caller's namespace.
    #[schema(value_type = FilterBody, required = true)]
    filter: Object<FilterBody>,
    /// Only count what matches. This is the default: a replay has to be asked for with `false`.
    #[schema(value_type = Option<bool>, default = true)]
    dry_run: Field<DryRun>,
    /// How many become due each second.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10000, default = 50)]
    rate: Field<Rate>,
    /// The most to replay, the oldest first.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1000000, default = 1000000)]
    limit: Field<Most>,
    /// How many would be replayed, as a dry run has counted: needed for more than 1,000, and then exact.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1000000)]
    confirm: Field<Most>,
}

/// What must be true of a dead letter. What is left out may be anything.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LetterFilter)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterBody {
    #[schema(value_type = Option<LetterReason>)]
    reason: Field<LetterReason>,
    #[schema(value_type = Option<AccountSid>)]
    account_sid: Field<AccountSid>,
    #[schema(value_type = Option<MessageSid>)]
    message_sid: Field<MessageSid>,
    #[schema(value_type = Option<EventId>)]
    event_id: Field<EventId>,
    /// Given up or expired at this moment or after it.
    #[schema(value_type = Option<DateTime<Utc>>)]
    since: Field<Moment>,
    /// Given up or expired before this moment.
    #[schema(value_type = Option<DateTime<Utc>>)]
    until: Field<Moment>,
}

#[derive(Debug)]
struct DryRun(bool);

impl Member for DryRun {
    fn parse(scalar: Scalar) -> Result<Self, Malformed> {
        match scalar {
            Scalar::Flag(flag) => Ok(Self(flag)),
            _ => Err(Malformed("must be true or false")),
        }
    }
}

/// Invariant: 1 to 10,000.
#[derive(Debug)]
struct Rate(u32);

impl Default for Rate {
    fn default() -> Self {
        Self(50)
    }
}

impl Member for Rate {
    fn parse(scalar: Scalar) -> Result<Self, Malformed> {
        match scalar {
            Scalar::Whole(rate @ 1..=10_000) => u32::try_from(rate).map(Self).map_err(|_| Self::FAULT),
            _ => Err(Self::FAULT),
        }
    }
}

impl Rate {
    const FAULT: Malformed = Malformed("must be a whole number from 1 to 10000");
}

/// Invariant: 1 to 1,000,000.
#[derive(Debug)]
struct Most(u64);

impl Default for Most {
    fn default() -> Self {
        Self(1_000_000)
    }
}

impl Member for Most {
    fn parse(scalar: Scalar) -> Result<Self, Malformed> {
        match scalar {
            Scalar::Whole(most @ 1..=1_000_000) => Ok(Self(most)),
            _ => Err(Malformed("must be a whole number from 1 to 1000000")),
        }
    }
}

/// A replay that was asked for, or a question about one.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) filter: LetterFilter,
    dry_run: bool,
    rate: u32,
    limit: u64,
    confirm: Option<u64>,
}

impl ReplayBody {
    fn parse(self, namespace: &Namespace, faults: &mut Faults) -> Option<Order> {
        let filter = self.filter.required("/filter", faults).map(|filter| filter.parse(namespace, faults));
        let DryRun(dry_run) = self.dry_run.optional("/dry_run", faults).unwrap_or(DryRun(true));
        let Rate(rate) = self.rate.optional("/rate", faults).unwrap_or_default();
        let Most(limit) = self.limit.optional("/limit", faults).unwrap_or_default();
        let confirm = self.confirm.optional("/confirm", faults).map(|Most(confirm)| confirm);
        Some(Order { filter: filter?, dry_run, rate, limit, confirm })
    }
}

impl FilterBody {
    fn parse(self, namespace: &Namespace, faults: &mut Faults) -> LetterFilter {
        LetterFilter {
            namespace: Some(namespace.clone()),
            reason: self.reason.optional("/filter/reason", faults),
            account_sid: self.account_sid.optional("/filter/account_sid", faults),
            message_sid: self.message_sid.optional("/filter/message_sid", faults),
            event_id: self.event_id.optional("/filter/event_id", faults),
            since: self.since.optional("/filter/since", faults).map(|Moment(moment)| moment),
            until: self.until.optional("/filter/until", faults).map(|Moment(moment)| moment),
        }
    }
}

/// The whole body, or all that is wrong with it.
pub(super) fn parse(text: &str, namespace: &Namespace) -> Result<Order, Problem> {
    let mut faults = Faults::default();
    let body: Object<ReplayBody> = document::parse(text)?;
    let parsed = body.required("", &mut faults).and_then(|body| body.parse(namespace, &mut faults));
    faults.or(parsed)
}

/// What a replay did, or would do.
#[derive(Serialize, ToSchema)]
pub(super) struct ReplayAnswer {
    matched: u64,
    /// 0 for a dry run.
    replayed: u64,
}

/// Replay dead letters
///
/// Makes them due again, the oldest first, `rate` a second. `dry_run` is true unless it is said to be false: look at
/// what matches first. A replay of very many may answer before it has done all of them (`replayed` is less than
/// `matched`): the same again goes on, and nothing is replayed twice.
#[utoipa::path(
    post,
    path = "/v1/dead-letters/replay",
    operation_id = "replay_dead_letters",
    tag = "dead letters",
    request_body(content = ReplayBody, example = json!({"filter": {"reason": "gave_up"}, "dry_run": true, "rate": 50})),
    responses(
        (status = 200, description = "How many matched, and how many were replayed.", body = ReplayAnswer),
        (status = 409, description = "More than 1,000 would be replayed, and `confirm` does not say how many. Nothing changed.",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn replay(
    State(intake): State<Intake>,
    caller: Caller,
    document: Document<SMALL>,
) -> Result<Json<ReplayAnswer>, Problem> {
    let Order { filter, dry_run, rate, limit, confirm } = parse(document.text(), caller.namespace())?;
    let operator = intake.operator.by(Actor::caller(caller.name()));
    let matched = operator.count(&filter).await?;
    if dry_run {
        return Ok(Json(ReplayAnswer { matched, replayed: 0 }));
    }
    let number = matched.min(limit);
    if !is_confirmed(number, confirm) {
        return Err(Problem::Unconfirmed { number });
    }
    tracing::info!(caller = %caller.name(), rate, number, "Replaying dead letters");
    let (began, mut replayed) = (Instant::now(), 0);
    let mut run = Run::new(&filter, rate, number);
    while began.elapsed() < WORKS_FOR {
        match operator.replay_on(&mut run).await? {
            0 => break,
            part => replayed += part,
        }
    }
    Ok(Json(ReplayAnswer { matched, replayed }))
}
