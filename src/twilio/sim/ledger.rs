//! Every request that the simulator heard, and what became of it.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::request::{Heard, Route};
use crate::domain::{AccountSid, MessageSid};

/// One request. Holds no secret, and the body of a Feedback request only: others hold phone numbers and codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerEntry {
    /// Counts from 1, in the order that requests were heard.
    pub sequence: u64,
    /// Since the simulator started, by a clock that only moves forward.
    #[serde(rename = "since_start_ms", serialize_with = "milliseconds")]
    pub since_start: Duration,
    /// For people. Compare [`Self::since_start`] instead.
    pub at: DateTime<Utc>,
    pub method: String,
    pub path: String,
    /// As the path names it, whoever the credentials belong to.
    pub account_sid: Option<AccountSid>,
    pub message_sid: Option<MessageSid>,
    /// Scheme and user of the `Authorization` header, never the secret.
    pub authorization: Option<String>,
    pub user_agent: Option<String>,
    pub content_type: Option<String>,
    pub accept: Option<String>,
    /// Of a Feedback request, as it came.
    pub body: Option<String>,
    pub authenticated: bool,
    /// The account's requests under way when this one was heard, it among them.
    pub in_flight: u32,
    /// The fault that was played, as its rule is written.
    pub fault: Option<String>,
    /// Whether anything changed by it.
    pub applied: bool,
    pub answer: Answer,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting"),
            Self::Status(status) => write!(f, "{status}"),
            Self::Cut(status) => write!(f, "{status}, cut off"),
            Self::Hung => f.write_str("no answer"),
            Self::Reset => f.write_str("reset"),
            Self::Abandoned => f.write_str("the client left"),
        }
    }
}

/// What the client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Nothing yet.
    Waiting,
    Status(u16),
    /// A status, and half a body.
    Cut(u16),
    /// Nothing, ever.
    Hung,
    /// A reset connection.
    Reset,
    /// Nothing: the client left before its answer was due.
    Abandoned,
}

fn milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The latest entries, at most `longest` of them.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: VecDeque<LedgerEntry>,
    longest: usize,
    next: u64,
}

/// What the ledger is told of a request besides what was heard.
pub(super) struct Outcome {
    pub(super) since_start: Duration,
    pub(super) at: DateTime<Utc>,
    pub(super) authenticated: bool,
    pub(super) in_flight: u32,
    pub(super) fault: Option<String>,
    pub(super) applied: bool,
}

impl Ledger {
    pub(super) fn new(longest: usize) -> Self {
        Self { entries: VecDeque::new(), longest, next: 1 }
    }

    /// Enters a request that still waits for its answer.
    pub(super) fn enter(&mut self, heard: &Heard, route: &Route, outcome: Outcome) -> u64 {
        let sequence = self.next;
        self.next += 1;
        if self.longest <= self.entries.len() {
            self.entries.pop_front();
        }
        self.entries.push_back(LedgerEntry {
            sequence,
            since_start: outcome.since_start,
            at: outcome.at,
            method: heard.method.to_string(),
            path: heard.path.clone(),
            account_sid: route.account().cloned(),
            message_sid: route.message().cloned(),
            authorization: heard.credentials.as_ref().map(ToString::to_string),
            user_agent: heard.user_agent.clone(),
            content_type: heard.content_type.clone(),
            accept: heard.accept.clone(),
            body: match route {
                Route::Feedback(..) => Some(String::from_utf8_lossy(&heard.body).into_owned()),
                _ => None,
            },
            authenticated: outcome.authenticated,
            in_flight: outcome.in_flight,
            fault: outcome.fault,
            applied: outcome.applied,
            answer: Answer::Waiting,
        });
        sequence
    }

    /// The entry, unless it is gone by now.
    pub(super) fn answered(&mut self, sequence: u64, answer: Answer) -> Option<&LedgerEntry> {
        let first = self.entries.front()?.sequence;
        let at = usize::try_from(sequence.checked_sub(first)?).ok()?;
        let entry = self.entries.get_mut(at)?;
        entry.answer = answer;
        Some(entry)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &LedgerEntry> {
        self.entries.iter()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}
