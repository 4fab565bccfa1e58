//! Room 2: what we remember. The only SQL.
//!
//! [`Inbox`] is all that intake can do, [`Outbox`] all that delivery can do, [`Ledger`] all that a reader can see,
//! [`Operator`] all that an operator can change, [`Upkeep`] what must be done now and then. The invariants stand in
//! `migrations/`, beside the tables.

mod accept;
mod audit;
mod batch;
mod clock;
mod collation;
mod door;
mod export;
mod express;
mod fingerprint;
mod inbox;
mod known;
mod lanes;
mod lease;
mod ledger;
mod message;
mod letters;
mod map;
mod open;
mod operation;
mod operator;
mod outbox;
mod owe;
mod pooler;
mod queue;
mod record;
mod replay;
mod receipt;
mod row;
mod session;
mod settle;
mod trace;
mod turn;
mod upkeep;
mod view;

pub use audit::{Audit, Drift};
pub use clock::Clock;
pub use collation::{Collation, collation};
pub use door::{Door, Doors};
pub use export::{ConfirmationRow, EventPlace, EventRow, Span};
pub use inbox::{Inbox, InboxOptions};
pub use lanes::LaneState;
pub use lease::{Lease, Past, Settled, Settlement, Ticket};
pub use ledger::Ledger;
pub use open::{
    Durability, PendingMigration, SchemaVersions, Store, StoreOptions, migrate, pending_migrations, pending_statements,
    schema_versions,
};
pub use operation::Operation;
pub use operator::Operator;
pub use outbox::{Claimed, Outbox, OutboxOptions, Wanted};
pub use pooler::sessions_are_our_own;
pub use queue::Party;
pub use replay::{BULK, Run, is_confirmed};
pub use session::{Plans, SessionOptions, connect_options};
pub use upkeep::{Backlog, Kept, OldestSnapshot, REPORTS_KEPT, Upkeep, UpkeepOptions};
pub use view::*;

use crate::domain::{EventState, FeedbackState, MessageSid};

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
    #[error("it would wait for the writers for too long")]
    QueueSlow,
    #[error("Postgres did not take it in time")]
    Unavailable,
}

impl NotTaken {
    /// As metrics have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::QueueSlow => "queue_slow",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a unit of work did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("postgres refused or could not be reached: {0}")]
    Postgres(#[from] sqlx::Error),
    #[error("postgres did not answer in time")]
    Deadline,
    #[error(
        "a pooler stands before Postgres and lends sessions out from transaction to transaction, so that neither time \
         limits nor prepared statements stay with who set them; is it PgBouncer with pool_mode = transaction? confirmd \
         needs pool_mode = session, or no pooler"
    )]
    Pooled,
    #[error(
        "this role may not change the schema: {0}. confirmd_migrate may, once deploy/postgres/roles.sql has run in this \
         very database"
    )]
    MayNotMigrate(String),
    #[error("the schema cannot be migrated: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}
