//! What the store shows to readers: receipts, actions, messages, dead letters, lanes.

use chrono::{DateTime, Utc};

use crate::domain::{
    AccountSid, ActionId, EventId, EventKey, EventState, FeedbackState, Labels, LetterReason, Malformed, MessageSid,
    Namespace,
};

/// One event: what was taken, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    pub key: EventKey,
    pub state: EventState,
    pub action_id: Option<ActionId>,
    pub message_sids: Vec<MessageSid>,
    pub occurred_at: DateTime<Utc>,
    pub accepted_at: DateTime<Utc>,
    /// Oldest first.
    pub history: Vec<Happening>,
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Happening {
    pub at: DateTime<Utc>,
    /// `accepted`, `parked`, `resolved`, `expired`, `attempt`, `confirmed`, `dead`.
    pub what: &'static str,
    pub message_sid: Option<MessageSid>,
    /// For `attempt`: what it was and what came of it. For `dead`: why.
    pub detail: Option<String>,
}

/// An action: its messages and where they stand.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionView {
    pub namespace: Namespace,
    pub action_id: ActionId,
    /// In the order they were sent.
    pub messages: Vec<ActionMessage>,
    /// The ids of its events, oldest first, at most [`ActionView::MOST_EVENTS`].
    pub events: Vec<ActionEvent>,
}

impl ActionView {
    pub const MOST_EVENTS: i64 = 100;
    pub const MOST_MESSAGES: i64 = 100;
}

#[derive(Clone, Debug, PartialEq)]
pub struct ActionMessage {
    pub message_sid: MessageSid,
    pub account_sid: AccountSid,
    pub sent_at: DateTime<Utc>,
    pub feedback: FeedbackState,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ActionEvent {
    pub event_id: EventId,
    pub state: EventState,
}

/// One message: mapping, feedback, attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageView {
    pub message_sid: MessageSid,
    pub account_sid: AccountSid,
    pub namespace: Namespace,
    pub action_id: Option<ActionId>,
    pub sent_at: DateTime<Utc>,
    pub registered_at: DateTime<Utc>,
    pub labels: Labels,
    pub feedback: FeedbackView,
    /// Oldest first.
    pub attempts: Vec<AttemptView>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FeedbackView {
    pub state: FeedbackState,
    /// Requests started, whatever came of them.
    pub attempts: u32,
    /// When the next attempt may start; for a pending feedback only.
    pub due_at: Option<DateTime<Utc>>,
    /// Until when some replica holds the right to send it; for one that is being sent now only.
    pub leased_until: Option<DateTime<Utc>>,
    /// When it was confirmed or given up.
    pub settled_at: Option<DateTime<Utc>>,
    /// Why it is dead; or why its lane is paused, while it is pending.
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AttemptView {
    pub number: u32,
    pub at: DateTime<Utc>,
    pub status: Option<u16>,
    pub code: Option<u32>,
    /// `confirmed`, `retry`, `dead`, `interrupted`.
    pub verdict: String,
    /// The row of the verdict table, where an answer came.
    pub class: Option<String>,
    /// What failed below HTTP.
    pub error: Option<String>,
    pub request_id: Option<String>,
    pub took_ms: Option<u32>,
}

/// Which dead letters are meant. Empty means all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LetterFilter {
    /// Callers see their own namespace; an operator at the command line sees all.
    pub namespace: Option<Namespace>,
    /// None means any but `shadowed`, which must be asked for by its name.
    pub reason: Option<LetterReason>,
    pub account_sid: Option<AccountSid>,
    pub message_sid: Option<MessageSid>,
    pub event_id: Option<EventId>,
    /// Given up or expired at this moment or after it.
    pub since: Option<DateTime<Utc>>,
    /// Given up or expired before this moment.
    pub until: Option<DateTime<Utc>>,
}

/// A feedback that was given up, or an event that expired.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    pub namespace: Namespace,
    pub subject: LetterSubject,
    pub action_id: Option<ActionId>,
    /// The word as it is stored: a newer binary may know more of them.
    pub reason: String,
    pub died_at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LetterSubject {
    Feedback {
        message_sid: MessageSid,
        account_sid: AccountSid,
        attempts: u32,
        last_status: Option<u16>,
        last_code: Option<u32>,
    },
    Event {
        event_id: EventId,
    },
}

/// A page of a list, and where the next one starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<Cursor>,
}

/// Where a page starts: opaque to callers.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    pub(super) died_at: DateTime<Utc>,
    pub(super) id: String,
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        format!("{:x}-{}", cursor.died_at.timestamp_micros(), cursor.id)
    }
}

impl TryFrom<String> for Cursor {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        const FAULT: Malformed = Malformed("must be a cursor from the `next` of an earlier page");
        let (micros, id) = text.split_once('-').ok_or(FAULT)?;
        let micros = i64::from_str_radix(micros, 16).map_err(|_| FAULT)?;
        let died_at = DateTime::from_timestamp_micros(micros).ok_or(FAULT)?;
        let known = id.len() <= 512 && id.bytes().all(|b| b.is_ascii_graphic());
        if known { Ok(Self { died_at, id: id.to_owned() }) } else { Err(FAULT) }
    }
}

/// What a replay did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    pub matched: u64,
    pub replayed: u64,
}

/// One account's deliveries, as all replicas see them.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneView {
    pub account_sid: AccountSid,
    pub paused: Option<PauseView>,
    pub pending: u64,
    /// Of the pending, those that are being sent now.
    pub leased: u64,
    pub oldest_due_at: Option<DateTime<Utc>>,
    /// Given up, without what was shadowed.
    pub dead: u64,
    /// Done but for the request, while the account was in shadow.
    pub shadowed: u64,
    /// What each replica said last of its side of the lane.
    pub replicas: Vec<LaneReport>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PauseView {
    /// `operator: …` or the account fault that Twilio named.
    pub reason: String,
    pub since: DateTime<Utc>,
    /// When one request may try whether the fault has gone; never for an operator's pause.
    pub probe_at: Option<DateTime<Utc>>,
}

/// One replica's side of a lane.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneReport {
    pub replica: String,
    /// Requests that may be in flight at once now.
    pub limit: u32,
    pub in_flight: u32,
    /// `closed`, `open`, `half_open`.
    pub breaker: String,
    /// Nothing is sent: the account is in shadow there.
    pub shadow: bool,
    pub reported_at: DateTime<Utc>,
}
