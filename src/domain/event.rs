//! What callers tell us: which message was sent for an action, and that the user completed the action.

use chrono::{DateTime, Utc};

use super::{AccountSid, ActionId, EventId, Label, MessageSid, Namespace};

/// A caller maps an action to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub namespace: Namespace,
    pub action_id: ActionId,
    pub message_sid: MessageSid,
    pub account_sid: AccountSid,
    /// When Twilio was asked to send it. Where the caller does not say, the moment of registration stands in.
    pub sent_at: Option<DateTime<Utc>>,
    pub labels: Labels,
}

/// What a message may be labelled with: a fixed set, so that no caller's vocabulary grows without bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// ISO 3166 code of the recipient's country.
    pub country: Option<Label>,
    /// Messaging Service SID or alphanumeric sender id, never a phone number.
    pub sender: Option<Label>,
    pub template: Option<Label>,
    /// `sms`, `whatsapp`, `rcs`…
    pub channel: Option<Label>,
}

/// A caller reports that a user completed an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub key: EventKey,
    pub target: Target,
    /// When the user completed it. Where the caller does not say, the moment of acceptance stands in.
    pub occurred_at: Option<DateTime<Utc>>,
}

/// What makes an event the same event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    pub namespace: Namespace,
    pub event_id: EventId,
}

/// What an event confirms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Messages of an action, chosen by a policy when they are known.
    Action { action_id: ActionId, resolve: Resolve },
    /// The one message that it names. Never parked: where the message is not known, the event makes it known.
    Message { message_sid: MessageSid, account_sid: AccountSid, action_id: Option<ActionId> },
}

impl Target {
    pub fn action_id(&self) -> Option<&ActionId> {
        match self {
            Self::Action { action_id, .. } => Some(action_id),
            Self::Message { action_id, .. } => action_id.as_ref(),
        }
    }
}

/// Which of an action's messages an event confirms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolve {
    /// The last one sent before the event occurred; if all were sent after it (clocks differ), the first of them.
    #[default]
    Latest,
    /// Each of them, also those that are registered later but were sent before the event occurred.
    All,
}

impl Resolve {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::All => "all",
        }
    }
}

/// What has become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventState {
    /// Its message is not known yet.
    Parked,
    /// Its message never came within the park limit. Replayable.
    Expired,
    /// Owed to Twilio.
    Pending,
    /// Twilio has it.
    Confirmed,
    /// Given up, with a reason. Replayable.
    Dead,
}

impl EventState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Expired => "expired",
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Dead => "dead",
        }
    }
}
