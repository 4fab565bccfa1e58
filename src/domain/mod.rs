//! The words of confirmd as types. Whoever holds one holds the proof that it is well formed.
//!
//! Nothing here knows of clocks, SQL, HTTP or files.

mod actor;
mod event;
mod feedback;
mod name;
mod personal;
mod scope;
mod sid;
mod trace;

pub use actor::{Actor, Via};
pub use event::{Event, EventKey, EventState, Labels, Registration, Resolve, Target};
pub use feedback::{Attempt, Class, DeadReason, FeedbackState, LetterReason, Retry, Verdict};
pub use name::{ActionId, ActorName, CallerName, EventId, Label, LaneName, Namespace};
pub use scope::Scope;
pub use sid::{AccountSid, MessageSid};
pub use trace::TraceContext;

/// Why a text is not what it should be: the end of the sentence "this value …".
///
/// Holds no part of the value, so that it may be shown and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);
