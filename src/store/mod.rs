//! Room 2: what we remember. The only SQL.

mod view;

use std::time::Duration;

pub use view::*;

use crate::domain::{
    AccountSid, ActionId, Event, EventKey, EventState, FeedbackState, MessageSid, Namespace, Registration,
};

/// What came of mapping an action to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The mapping is new.
    Created(FeedbackState),
    /// It was known; what it left out was filled in.
    Known(FeedbackState),
    /// The message is mapped to another action, account or namespace; nothing changed.
    Conflict,
}

/// What came of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is durable now.
    Taken(Acceptance),
    /// It was taken before, with the same content: the same answer again.
    Replayed(Acceptance),
    /// Its key was used before, with other content; nothing changed.
    Mismatch,
    /// It names a message that is mapped to another action, account or namespace; nothing changed.
    Conflict,
}

/// The answer to an event, kept with it and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    pub state: EventState,
    pub message_sids: Vec<MessageSid>,
}

/// Why nothing was taken. Trying again with the same key is always safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    #[error("too many commands are waiting for the writers")]
    QueueFull,
    #[error("Postgres did not take it in time")]
    Unavailable,
}

/// Why a read or an operator's command did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("postgres is not answering: {0}")]
    Unavailable(#[source] anyhow::Error),
}

/// All that intake can do to the store.
#[derive(Clone)]
pub struct Inbox {}

impl Inbox {
    pub async fn register(&self, _registration: Registration) -> Result<Registered, NotTaken> {
        unimplemented!()
    }

    pub async fn accept(&self, _event: Event) -> Result<Accepted, NotTaken> {
        unimplemented!()
    }

    /// Several at once, each with an answer of its own, in their order.
    pub async fn accept_all(&self, _events: Vec<Event>) -> Vec<Result<Accepted, NotTaken>> {
        unimplemented!()
    }
}

/// All that a reader can see.
#[derive(Clone)]
pub struct Ledger {}

impl Ledger {
    pub async fn event(&self, _key: &EventKey) -> Result<Option<Receipt>, StoreError> {
        unimplemented!()
    }

    pub async fn action(&self, _ns: &Namespace, _action_id: &ActionId) -> Result<Option<ActionView>, StoreError> {
        unimplemented!()
    }

    /// `namespace`: whose messages may be seen; none means everybody's.
    pub async fn message(
        &self,
        _namespace: Option<&Namespace>,
        _message_sid: &MessageSid,
    ) -> Result<Option<MessageView>, StoreError> {
        unimplemented!()
    }

    pub async fn dead_letters(
        &self,
        _filter: &LetterFilter,
        _limit: u32,
        _from: Option<Cursor>,
    ) -> Result<Page<DeadLetter>, StoreError> {
        unimplemented!()
    }

    pub async fn lanes(&self) -> Result<Vec<LaneView>, StoreError> {
        unimplemented!()
    }

    /// Whether Postgres answers, within `limit`.
    pub async fn ping(&self, _limit: Duration) -> Result<(), StoreError> {
        unimplemented!()
    }
}

/// All that an operator can change.
#[derive(Clone)]
pub struct Operator {}

impl Operator {
    /// How many a replay of these would match.
    pub async fn count(&self, _filter: &LetterFilter) -> Result<u64, StoreError> {
        unimplemented!()
    }

    /// Makes them due again, `rate` a second; the oldest first, at most `limit` of them.
    pub async fn replay(&self, _filter: &LetterFilter, _rate: u32, _limit: u64) -> Result<Replay, StoreError> {
        unimplemented!()
    }

    pub async fn pause(&self, _account_sid: &AccountSid, _by: &str) -> Result<LaneView, StoreError> {
        unimplemented!()
    }

    pub async fn resume(&self, _account_sid: &AccountSid) -> Result<LaneView, StoreError> {
        unimplemented!()
    }
}
