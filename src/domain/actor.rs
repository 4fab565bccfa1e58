//! Who operates: whose name stands beside what was done.

use super::{ActorName, CallerName};

/// Whoever replays, pauses or resumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub name: ActorName,
    pub via: Via,
}

/// By which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Http,
    CommandLine,
    /// confirmd itself.
    Process,
}

impl Via {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::CommandLine => "command_line",
            Self::Process => "process",
        }
    }
}

impl Actor {
    /// A caller that came over HTTP.
    pub fn caller(name: &CallerName) -> Self {
        Self { name: name.into(), via: Via::Http }
    }

    /// confirmd itself, where nobody else is named.
    pub fn process() -> Self {
        Self { name: ActorName::process(), via: Via::Process }
    }
}
