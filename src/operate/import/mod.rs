//! `confirmd import`: a backlog of past confirmations, as events through the same inbox as live ones.
//!
//! What was taken before is recognised and changes nothing. So an import that was cut off is simply run again: it passes
//! over what is known as fast as Postgres answers, and goes on at its pace where it ended.

mod csv;
mod lines;
mod report;

use std::collections::{HashSet, VecDeque};
use std::io::{self, BufRead};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use lines::{Format, Line};
pub use report::Tally;

use self::report::Outcome;
use super::progress::Progress;
use crate::domain::{Event, EventId, Target};
use crate::store::{Accepted, Inbox, Ledger, NotTaken, StoreError};

/// Lines that are read ahead, at most. With the longest lines that is 16 MiB.
const READ_AHEAD: usize = 1000;
/// Events that are handed in together, at most.
const MOST_AT_ONCE: usize = 500;
/// How long the store may refuse everything before the import gives up. It is run again later.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries while the store refuses.
const PAUSE: Duration = Duration::from_millis(250);

/// What is wrong with a line: the field, empty for the whole line, and the end of the sentence "this value …".
pub type Fault = (String, &'static str);

/// How a line is read: the id of its event, where it has one, and the event, or all that is wrong with it.
pub type Read<'a> = &'a (dyn Fn(&str) -> (Option<EventId>, Result<Event, Vec<Fault>>) + Sync);

/// What an import is told.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// None: told apart by the first character that is not a space.
    pub format: Option<Format>,
    /// Events that become due, and so requests to Twilio, each second.
    pub rate: u32,
    /// Nothing is taken.
    pub dry_run: bool,
    /// Lines before this one are passed over.
    pub from_line: u64,
}

/// Why an import ended before its last line. Run again, it goes on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("stopped before line {0}; run the same again, and it goes on there")]
    Stopped(u64),
    #[error("the store takes nothing, from line {0} on ({1}); run the same again, and it goes on there")]
    NotTaken(u64, NotTaken),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the file cannot be read on: {0}")]
    Unreadable(io::Error),
    #[error("the report cannot be written: {0}")]
    Report(#[from] io::Error),
}

/// An import over a store whose writers run.
pub struct Import<'a> {
    pub inbox: &'a Inbox,
    pub ledger: &'a Ledger,
    pub read: Read<'a>,
    pub options: ImportOptions,
}

impl Import<'_> {
    /// Takes each line of `file` and writes what came of it to `out`, a line for a line. `bytes`: how long the file is,
    /// where that is known.
    ///
    /// # Errors
    /// Where it ended before the last line; what was taken before is taken.
    pub async fn run(
        &self,
        file: impl BufRead + Send + 'static,
        bytes: Option<u64>,
        out: &mut impl io::Write,
        stop: &CancellationToken,
    ) -> Result<Tally, ImportError> {
        let (ahead, mut lines) = mpsc::channel(READ_AHEAD);
        let (format, from_line) = (self.options.format, self.options.from_line);
        // A pipe may be silent for as long as it likes: reading has a thread of its own.
        tokio::task::spawn_blocking(move || lines::read(file, format, from_line, &ahead));
        let mut progress = Progress::new(bytes);
        let mut tally = Tally::default();
        let paced = self.paced();
        let mut at_once = paced;
        loop {
            let mut chunk: Vec<Line> = Vec::new();
            let read = lines.recv_many(&mut chunk, at_once);
            match stop.run_until_cancelled(read).await {
                None => return Err(ImportError::Stopped(tally.next_line(from_line))),
                Some(0) => break,
                Some(_) => {}
            }
            let began = Instant::now();
            let before = tally.taken;
            self.take(chunk, &mut tally, out).await?;
            // Whoever looks at the report of an import that was killed finds each line that was taken, or nearly.
            out.flush()?;
            progress.show(tally.read_bytes, || tally.to_string());
            let taken = tally.taken - before;
            // What is known costs Twilio nothing: it is passed over in ever longer strides.
            at_once = if taken == 0 { (at_once * 2).min(MOST_AT_ONCE) } else { paced };
            if !self.options.dry_run {
                let until = began + Duration::from_secs_f64(taken as f64 / f64::from(self.options.rate.max(1)));
                if stop.run_until_cancelled(tokio::time::sleep_until(until)).await.is_none() {
                    return Err(ImportError::Stopped(tally.next_line(from_line)));
                }
            }
        }
        progress.end(tally.to_string());
        Ok(tally)
    }

    /// A tenth of a second's worth: no burst, and not a commit for each.
    fn paced(&self) -> usize {
        usize::try_from(self.options.rate / 10).unwrap_or(MOST_AT_ONCE).clamp(1, MOST_AT_ONCE)
    }

    async fn take(&self, chunk: Vec<Line>, tally: &mut Tally, out: &mut impl io::Write) -> Result<(), ImportError> {
        let mut events = Vec::with_capacity(chunk.len());
        let mut parsed = Vec::with_capacity(chunk.len());
        for Line { number, end, content } in chunk {
            let content = content.map_err(ImportError::Unreadable)?;
            let (event_id, event) = match content {
                Ok(text) => (self.read)(&text),
                Err(fault) => (None, Err(vec![fault])),
            };
            parsed.push((number, end, event_id, event.map(|event| events.push(event))));
        }
        let first = parsed.first().map_or(0, |(number, ..)| *number);
        let mut outcomes =
            if self.options.dry_run { self.foresee(&events).await? } else { self.hand_in(events, first).await? };
        for (number, end, event_id, event) in parsed {
            let outcome = match event {
                Err(faults) => Outcome::Invalid(faults),
                Ok(()) => outcomes.pop_front().unwrap_or(Outcome::Valid),
            };
            tally.count(number, end, &outcome);
            report::write(number, event_id.as_ref(), outcome, out)?;
        }
        Ok(())
    }

    /// Hands events in, those of one key or one message one after the other: of two lines that contradict each other,
    /// the first one counts.
    async fn hand_in(&self, events: Vec<Event>, first: u64) -> Result<VecDeque<Outcome>, ImportError> {
        let mut outcomes = VecDeque::with_capacity(events.len());
        let (mut together, mut said) = (Vec::new(), HashSet::new());
        for event in events {
            let told = says(&event);
            if told.iter().any(|name| said.contains(name)) {
                outcomes.extend(self.insist(std::mem::take(&mut together), first).await?);
                said.clear();
            }
            said.extend(told);
            together.push(event);
        }
        outcomes.extend(self.insist(together, first).await?);
        Ok(outcomes)
    }

    /// Hands events in until each has an answer. Who is refused for want of room or of Postgres is handed in again.
    async fn insist(&self, events: Vec<Event>, first: u64) -> Result<Vec<Outcome>, ImportError> {
        let mut outcomes: Vec<Option<Outcome>> = events.iter().map(|_| None).collect();
        let mut left: Vec<(usize, Event)> = events.into_iter().enumerate().collect();
        let mut refused_until = Instant::now() + PATIENCE;
        while !left.is_empty() {
            let answers = self.inbox.accept_all(left.iter().map(|(_, event)| event.clone()).collect()).await;
            let (mut refused, mut because) = (Vec::new(), NotTaken::Unavailable);
            for ((place, event), answer) in left.into_iter().zip(answers) {
                match answer {
                    Ok(accepted) => outcomes[place] = Some(accepted.into()),
                    Err(not_taken) => {
                        because = not_taken;
                        refused.push((place, event));
                    }
                }
            }
            if refused.len() < outcomes.len() {
                refused_until = Instant::now() + PATIENCE;
            }
            left = refused;
            if !left.is_empty() {
                if refused_until <= Instant::now() {
                    return Err(ImportError::NotTaken(first, because));
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    async fn foresee(&self, events: &[Event]) -> Result<VecDeque<Outcome>, ImportError> {
        let known = self.ledger.known(events).await?;
        let foreseen = |same: Option<bool>| match same {
            None => Outcome::Valid,
            Some(true) => Outcome::Known(None),
            Some(false) => Outcome::Mismatch,
        };
        Ok(known.into_iter().map(foreseen).collect())
    }
}

/// What no other event may say at the same time, if it matters who is first.
fn says(event: &Event) -> Vec<String> {
    let key = format!("event {}", event.key.event_id);
    match &event.target {
        Target::Message { message_sid, .. } => vec![key, format!("message {message_sid}")],
        Target::Action { .. } => vec![key],
    }
}

impl From<Accepted> for Outcome {
    fn from(accepted: Accepted) -> Self {
        match accepted {
            Accepted::Taken(acceptance) => Self::Taken(acceptance),
            Accepted::Replayed(acceptance) => Self::Known(Some(acceptance)),
            Accepted::Mismatch => Self::Mismatch,
            Accepted::Conflict => Self::Conflict,
        }
    }
}
