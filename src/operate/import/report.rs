//! What came of each line, as NDJSON; and all of them counted.

use std::{fmt, io};

use serde::Serialize;

use super::Fault;
use crate::domain::{EventId, MessageSid};
use crate::store::Acceptance;

/// What came of one line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    Taken(Acceptance),
    /// It was taken before. A dry run does not know the answer that it got.
    Known(Option<Acceptance>),
    /// Nothing is wrong with it: what a dry run can say.
    Valid,
    Invalid(Vec<Fault>),
    /// Its event id was used for another event.
    Mismatch,
    /// Its message is mapped to another action or account.
    Conflict,
}

/// How many lines ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub taken: u64,
    pub known: u64,
    pub valid: u64,
    pub refused: u64,
    pub(super) read_bytes: u64,
    last_line: u64,
}

impl Tally {
    pub(super) fn count(&mut self, line: u64, end: u64, outcome: &Outcome) {
        (self.last_line, self.read_bytes) = (line, end);
        match outcome {
            Outcome::Taken(_) => self.taken += 1,
            Outcome::Known(_) => self.known += 1,
            Outcome::Valid => self.valid += 1,
            Outcome::Invalid(_) | Outcome::Mismatch | Outcome::Conflict => self.refused += 1,
        }
    }

    pub(super) fn next_line(&self, from_line: u64) -> u64 {
        (self.last_line + 1).max(from_line)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { taken, known, valid, refused, .. } = self;
        if 0 < *valid {
            return write!(f, "{valid} could be taken, {known} known before, {refused} refused");
        }
        write!(f, "{taken} taken, {known} known before, {refused} refused")
    }
}

#[derive(Serialize)]
struct ReportLine<'a> {
    line: u64,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_sids: Option<Vec<MessageSid>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ReportFault>,
}

#[derive(Serialize)]
struct ReportFault {
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
    detail: &'static str,
}

pub(super) fn write(
    line: u64,
    event_id: Option<&EventId>,
    outcome: Outcome,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let (result, answer, faults) = match outcome {
        Outcome::Taken(answer) => ("taken", Some(answer), Vec::new()),
        Outcome::Known(answer) => ("known", answer, Vec::new()),
        Outcome::Valid => ("valid", None, Vec::new()),
        Outcome::Invalid(faults) => ("invalid", None, faults),
        Outcome::Mismatch => {
            ("idempotency-mismatch", None, vec![("event_id".to_owned(), "was used for another event")])
        }
        Outcome::Conflict => {
            ("message-conflict", None, vec![("message_sid".to_owned(), "is mapped to another action or account")])
        }
    };
    let (state, message_sids) = answer.map(|answer| (answer.state.as_str(), answer.message_sids)).unzip();
    let errors = faults.into_iter().map(|(field, detail)| ReportFault { field, detail }).collect();
    let report = ReportLine { line, result, event_id, state, message_sids, errors };
    serde_json::to_writer(&mut *out, &report)?;
    out.write_all(b"\n")
}
