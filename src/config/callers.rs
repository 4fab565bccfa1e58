//! The services that may speak to us, their tokens and what each may do.

use std::collections::BTreeSet;

use crate::domain::{CallerName, Namespace};

/// One of `[[callers]]`
#[derive(Clone, Debug)]
pub struct Caller {
    pub name: CallerName,
    /// What scopes its ids. Callers that speak of the same actions share one.
    pub namespace: Namespace,
    pub scopes: Scopes,
    /// SHA-256 of its tokens: one, or two while it changes from one to the next. No two callers share one.
    pub tokens_sha256: Vec<[u8; 32]>,
}

/// What a caller may do. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Tell us about messages and events.
    Ingest,
    /// See receipts, messages, lanes and dead letters.
    Read,
    /// Replay dead letters, pause and resume lanes.
    Operate,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Read, Self::Operate];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}
