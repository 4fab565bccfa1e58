//! `GET /v1/dead-letters`: what was given up, a page at a time.

use axum::{Json, extract::State, http::Uri};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{Intake, auth::Caller, fault::Faults, moment::Moment, problem::Problem, query::Query};
use crate::{
    domain::{AccountSid, ActionId, EventId, LetterReason, Malformed, MessageSid, Namespace},
    store::{Cursor, DeadLetter, LetterFilter, LetterSubject, Page},
};

const DEFAULT_LIMIT: u32 = 100;

/// Which page of which dead letters. All parameters are optional; unknown ones are refused.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParameters {
    #[param(value_type = LetterReason, required = false)]
    reason: Option<LetterReason>,
    #[param(value_type = AccountSid, required = false)]
    account_sid: Option<AccountSid>,
    #[param(value_type = MessageSid, required = false)]
    message_sid: Option<MessageSid>,
    #[param(value_type = EventId, required = false)]
    event_id: Option<EventId>,
    /// Given up or expired at this moment or after it.
    #[param(value_type = DateTime<Utc>, required = false)]
    since: Option<Moment>,
    /// Given up or expired before this moment.
    #[param(value_type = DateTime<Utc>, required = false)]
    until: Option<Moment>,
    #[param(value_type = u32, required = false, minimum = 1, maximum = 500, default = 100)]
    limit: Option<Limit>,
    /// The `next` of the page before.
    #[param(value_type = String, required = false)]
    cursor: Option<Cursor>,
}

/// Invariant: 1 to 500.
#[derive(Debug)]
struct Limit(u32);

impl TryFrom<String> for Limit {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        match text.parse() {
            Ok(limit @ 1..=500) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Self(limit)),
            _ => Err(Malformed("must be a whole number from 1 to 500")),
        }
    }
}

impl ListParameters {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let mut faults = Faults::default();
        let mut query = Query::new(query);
        let parameters = Self {
            reason: query.take("reason", &mut faults),
            account_sid: query.take("account_sid", &mut faults),
            message_sid: query.take("message_sid", &mut faults),
            event_id: query.take("event_id", &mut faults),
            since: query.take("since", &mut faults),
            until: query.take("until", &mut faults),
            limit: query.take("limit", &mut faults),
            cursor: query.take("cursor", &mut faults),
        };
        query.nothing_else(&mut faults);
        faults.or(Some(parameters))
    }

    pub(super) fn filter(&self, namespace: &Namespace) -> LetterFilter {
        LetterFilter {
            namespace: Some(namespace.clone()),
            reason: self.reason,
            account_sid: self.account_sid.clone(),
            message_sid: self.message_sid.clone(),
            event_id: self.event_id.clone(),
            since: self.since.map(|Moment(moment)| moment),
            until: self.until.map(|Moment(moment)| moment),
        }
    }
}

/// A page of dead letters.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetterPage)]
pub(super) struct LetterPage {
    items: Vec<LetterJson>,
    /// Where the next page starts; none after the last one.
    next: Option<String>,
}

/// A feedback that was given up, or an event that expired.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum LetterJson {
    Feedback {
        message_sid: MessageSid,
        account_sid: AccountSid,
        action_id: Option<ActionId>,
        #[schema(value_type = LetterReason)]
        reason: String,
        /// Requests that were started, whatever came of them.
        attempts: u32,
        last_status: Option<u16>,
        last_code: Option<u32>,
        died_at: DateTime<Utc>,
    },
    Event {
        event_id: EventId,
        action_id: Option<ActionId>,
        #[schema(value_type = LetterReason)]
        reason: String,
        died_at: DateTime<Utc>,
    },
}

/// List dead letters
///
/// Those of the caller's namespace.
#[utoipa::path(
    get,
    path = "/v1/dead-letters",
    operation_id = "list_dead_letters",
    tag = "dead letters",
    params(ListParameters),
    responses(
        (status = 200, description = "A page of them.", body = LetterPage),
        (status = 422, description = "A parameter is not what it should be.",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(State(intake): State<Intake>, caller: Caller, uri: Uri) -> Result<Json<LetterPage>, Problem> {
    let parameters = ListParameters::parse(uri.query())?;
    let filter = parameters.filter(caller.namespace());
    let limit = parameters.limit.map_or(DEFAULT_LIMIT, |Limit(limit)| limit);
    let Page { items, next } = intake.ledger.dead_letters(&filter, limit, parameters.cursor).await?;
    let items = items.into_iter().map(LetterJson::from).collect();
    Ok(Json(LetterPage { items, next: next.map(String::from) }))
}

impl From<DeadLetter> for LetterJson {
    fn from(DeadLetter { subject, action_id, reason, died_at, namespace: _ }: DeadLetter) -> Self {
        match subject {
            LetterSubject::Feedback { message_sid, account_sid, attempts, last_status, last_code } => Self::Feedback {
                message_sid,
                account_sid,
                action_id,
                reason,
                attempts,
                last_status,
                last_code,
                died_at,
            },
            LetterSubject::Event { event_id } => Self::Event { event_id, action_id, reason, died_at },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(query: &str) -> usize {
        match ListParameters::parse(Some(query)) {
            Ok(_) => 0,
            Err(Problem::Invalid(faults)) => faults.len(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_parameter_is_optional() {
        assert!(ListParameters::parse(None).is_ok());
        assert_eq!(faults("reason=gave_up&account_sid=AC0123456789abcdef0123456789abcdef&limit=1"), 0);
        assert_eq!(faults("reason=expired&event_id=a%2Fb&limit=500&cursor=64-SM0123456789abcdef0123456789abcdef"), 0);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        assert_eq!(faults("reason=&limit=x&cursor=&phone=1"), 4);
        for wrong in ["limit=0", "limit=501", "limit=%2B5", "limit=", "limit=1&limit=1", "Reason=gave_up", "=", "a"] {
            assert_eq!(faults(wrong), 1, "{wrong}");
        }
    }
}
