//! An event as callers tell it: parsed, with all that is wrong with it.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{accounts::Accounts, fault::Faults, field::Field, idempotency_key, moment::Moment};
use crate::domain::{
    AccountSid, ActionId, Event, EventId, EventKey, Malformed, MessageSid, Namespace, Resolve, Target,
};

/// Reports that a user completed an action. It needs `action_id` or `message_sid`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventBody {
    /// The event's idempotency key: the same event again changes nothing. May stand in the `Idempotency-Key` header
    /// instead; one of the two is needed, and both must agree.
    #[schema(value_type = Option<EventId>)]
    event_id: Field<EventId>,
    #[serde(rename = "type")]
    #[schema(value_type = Option<EventType>)]
    kind: Field<EventType>,
    #[schema(value_type = Option<ActionId>)]
    action_id: Field<ActionId>,
    /// Confirms exactly this message. If it was never registered, the event registers it.
    #[schema(value_type = Option<MessageSid>)]
    message_sid: Field<MessageSid>,
    /// Goes only with `message_sid`; may be left out where one account is configured.
    #[schema(value_type = Option<AccountSid>)]
    account_sid: Field<AccountSid>,
    #[schema(value_type = Option<Choice>)]
    resolve: Field<Choice>,
    /// When the user completed it. The moment of this request, if left out.
    #[schema(value_type = Option<DateTime<Utc>>)]
    occurred_at: Field<Moment>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(default = "otp.completed")]
pub(super) enum EventType {
    #[schema(rename = "otp.completed")]
    OtpCompleted,
}

impl TryFrom<String> for EventType {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        match text.as_str() {
            "otp.completed" => Ok(Self::OtpCompleted),
            _ => Err(Malformed("must be otp.completed")),
        }
    }
}

/// Which of the action's messages is confirmed: the `latest` one sent before the event, `all` of them, or `exact`ly
/// the one that `message_sid` names (which is what a `message_sid` means anyway).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = Resolve, rename_all = "snake_case", default = "latest")]
pub(super) enum Choice {
    Latest,
    All,
    Exact,
}

impl TryFrom<String> for Choice {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        match text.as_str() {
            "latest" => Ok(Self::Latest),
            "all" => Ok(Self::All),
            "exact" => Ok(Self::Exact),
            _ => Err(Malformed("must be latest, all or exact")),
        }
    }
}

impl EventBody {
    /// The event's id, if the body holds one that is well-formed.
    pub(super) fn event_id(&self) -> Option<&EventId> {
        match &self.event_id {
            Field::Given(event_id) => Some(event_id),
            Field::Absent | Field::Faulty(_) => None,
        }
    }

    /// `header`: what the `Idempotency-Key` header says; nothing, for an item of a batch.
    pub(super) fn parse(
        self,
        header: Field<EventId>,
        namespace: &Namespace,
        accounts: &Accounts,
        faults: &mut Faults,
    ) -> Option<Event> {
        let event_id = agreed(self.event_id, header, faults);
        let _: Option<EventType> = self.kind.optional("/type", faults);
        let occurred_at = self.occurred_at.optional("/occurred_at", faults).map(|Moment(moment)| moment);
        let resolve = self.resolve.optional("/resolve", faults);
        let target = if self.message_sid.is_absent() {
            action(self.action_id, self.account_sid, resolve, faults)
        } else {
            message(self.message_sid, self.action_id, accounts.owner(self.account_sid, faults), resolve, faults)
        };
        let key = EventKey { namespace: namespace.clone(), event_id: event_id? };
        Some(Event { key, target: target?, occurred_at })
    }
}

fn agreed(body: Field<EventId>, header: Field<EventId>, faults: &mut Faults) -> Option<EventId> {
    if body.is_absent() && header.is_absent() {
        faults.at("/event_id", "must be given, here or in the Idempotency-Key header");
    }
    let header = match header {
        Field::Absent => None,
        Field::Given(event_id) => Some(event_id),
        Field::Faulty(fault) => {
            faults.header(idempotency_key::NAME, fault);
            None
        }
    };
    let body = body.optional("/event_id", faults);
    if let (Some(body), Some(header)) = (&body, &header)
        && body != header
    {
        faults.at("/event_id", "must agree with the Idempotency-Key header");
    }
    body.or(header)
}

fn message(
    message_sid: Field<MessageSid>,
    action_id: Field<ActionId>,
    account_sid: Option<AccountSid>,
    resolve: Option<Choice>,
    faults: &mut Faults,
) -> Option<Target> {
    if resolve == Some(Choice::All) {
        faults.at("/resolve", "must not be all where message_sid is given");
    }
    let action_id = action_id.optional("/action_id", faults);
    let message_sid = message_sid.optional("/message_sid", faults);
    Some(Target::Message { message_sid: message_sid?, account_sid: account_sid?, action_id })
}

fn action(
    action_id: Field<ActionId>,
    account_sid: Field<AccountSid>,
    resolve: Option<Choice>,
    faults: &mut Faults,
) -> Option<Target> {
    if !account_sid.is_absent() {
        faults.at("/account_sid", "must be left out where message_sid is");
    }
    let resolve = match resolve {
        None | Some(Choice::Latest) => Resolve::Latest,
        Some(Choice::All) => Resolve::All,
        Some(Choice::Exact) => {
            faults.at("/message_sid", "must be given where resolve is exact");
            action_id.optional("/action_id", faults);
            return None;
        }
    };
    if action_id.is_absent() {
        faults.at("/action_id", "must be given, or else message_sid");
    }
    Some(Target::Action { action_id: action_id.optional("/action_id", faults)?, resolve })
}
