//! The right to send one feedback, for a bounded time.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::{AccountSid, Attempt, MessageSid, TraceContext, Verdict};

/// The right to attempt one feedback, until it expires. Settling takes it by value: a right is a value you spend.
#[must_use = "an unsettled lease hides its feedback until the lease expires"]
#[derive(Debug)]
pub struct Lease {
    pub message_sid: MessageSid,
    pub account_sid: AccountSid,
    /// Number of the attempt that this lease is for; committed before the lease was given out.
    pub attempt: u32,
    /// What the next verdict depends on.
    pub past: Past,
    /// The trace that its first event is a part of.
    pub trace: Option<TraceContext>,
    /// Counted from before the database was asked, so that it is never later than the database's own end of the lease.
    pub expires: Instant,
    pub(super) token: Uuid,
}

impl Lease {
    /// What ends this lease from outside, when whoever holds it does not come back.
    pub fn ticket(&self) -> Ticket {
        Ticket { message_sid: self.message_sid.clone(), token: self.token }
    }
}

/// Names a lease without being it.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub message_sid: MessageSid,
    pub(super) token: Uuid,
}

/// What happened to a feedback before this lease, by the database's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Since the message was sent or registered.
    pub age: Duration,
    /// Since there have been transient faults only; none when the last verdict was another.
    pub failing_for: Option<Duration>,
    /// Burnt attempts.
    pub failures: u32,
    /// 2xx answers that proved nothing.
    pub ambiguous: u32,
}

/// A lease, the attempt that was made with it, and what that taught us.
#[derive(Debug)]
pub struct Settlement {
    pub lease: Lease,
    pub attempt: Attempt,
    pub verdict: Verdict,
    /// When Twilio says that it updated the feedback.
    pub date_updated: Option<chrono::DateTime<chrono::Utc>>,
}

/// How a settlement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The lease still held; its verdict stands. For a confirmed one: how long after it was owed.
    Stands { owed_for: Option<Duration> },
    /// The lease was lost, but Twilio has the feedback: the truth stands, whoever brings it.
    ConfirmedLate,
    /// The lease was lost; a newer claim decides.
    Fenced,
}
