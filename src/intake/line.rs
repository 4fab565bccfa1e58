//! An event that stands in a file instead of a request: read by the same rules, with the same faults.

use super::{accounts::Accounts, batch::read_item, document::SMALL, problem::Problem};
use crate::domain::{AccountSid, Event, EventId, Namespace};

/// Reads events for one namespace.
#[derive(Clone)]
pub struct EventReader {
    namespace: Namespace,
    accounts: Accounts,
}

/// One thing that is wrong with an event. Holds no part of the faulty value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFault {
    /// The member, such as `message_sid`; empty where it is the whole line.
    pub field: String,
    /// The end of the sentence "this value …".
    pub detail: &'static str,
}

/// What was read: the event's id, where it holds a well-formed one, and the event, or all that is wrong with it.
pub type ReadEvent = (Option<EventId>, Result<Event, Vec<LineFault>>);

impl EventReader {
    /// Longest event, in bytes: as for a request.
    pub const LONGEST: usize = SMALL;

    /// `accounts`: the configured ones. If it is only one, events need not name it.
    pub fn new(namespace: Namespace, accounts: Vec<AccountSid>) -> Self {
        Self { namespace, accounts: Accounts::new(accounts) }
    }

    /// Reads one JSON object, as `POST /v1/events` has it.
    pub fn read(&self, text: &str) -> ReadEvent {
        let (event_id, event) = read_item(text, &self.namespace, &self.accounts);
        (event_id, event.map_err(faults))
    }
}

fn faults(problem: Problem) -> Vec<LineFault> {
    let faults = match problem {
        Problem::Invalid(faults) => faults,
        _ => return vec![LineFault { field: String::new(), detail: "must have at most 16384 bytes" }],
    };
    let told = faults.into_iter().map(|fault| fault.field_and_detail());
    told.map(|(field, detail)| LineFault { field, detail }).collect()
}
