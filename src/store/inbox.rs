//! All that intake can do to the store: hand in a command, and wait until it is durable.
//!
//! Group commit: a writer takes whatever has queued, with no timer and no added delay, and commits it as one transaction;
//! what comes meanwhile is the next one's: see [`super::turn`]. Under load many callers share one commit; alone, a caller
//! waits for its own only.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::batch::{Command, Outcome, Plan, Told, answer, refuse};
use super::clock::Clock;
use super::door::Doors;
use super::express::{Express, split};
use super::queue::{Party, Queue};
use super::record::{Terms, record};
use super::session::Sessions;
use super::turn::{Turn, Turns};
use super::{Accepted, NotTaken, Registered, StoreError};
use crate::domain::{Event, Registration};
use crate::telemetry;

/// Bounds of the group commit.
#[derive(Clone, Debug)]
pub struct InboxOptions {
    /// Transactions at once, at most.
    pub writers: u32,
    /// Most commands in one transaction.
    pub batch: usize,
    /// Most commands that wait for a writer; past it, nothing is taken.
    pub max_waiting: usize,
    /// Nothing more is taken of a caller who would wait longer than that for a writer.
    pub longest_wait: Duration,
    /// How long work that is handed over at once is leased for.
    pub lease: Duration,
}

/// The way in, for one caller. Cheap to clone.
#[derive(Clone)]
pub struct Inbox {
    queue: Arc<Queue<Command>>,
    party: Party,
}

impl Inbox {
    pub(super) fn new(options: &InboxOptions) -> Self {
        Self { queue: Arc::new(Queue::new(options.max_waiting, options.longest_wait)), party: Party::ourselves() }
    }

    /// The same, for this caller: what it hands in waits behind its own, and takes turns with the others'.
    pub fn of(&self, party: &Party) -> Self {
        Self { queue: self.queue.clone(), party: party.clone() }
    }

    /// Maps an action to a message, and resolves the events that waited for it.
    ///
    /// # Errors
    /// Where nothing was taken; the same again is safe.
    pub async fn register(&self, registration: Registration) -> Result<Registered, NotTaken> {
        let (waiter, answer) = oneshot::channel();
        self.hand_in(vec![Command::Register(Box::new(registration), waiter)])?;
        answer.await.unwrap_or(Err(NotTaken::Unavailable))
    }

    /// Takes an event.
    ///
    /// # Errors
    /// Where nothing was taken; the same again is safe.
    pub async fn accept(&self, event: Event) -> Result<Accepted, NotTaken> {
        let (waiter, answer) = oneshot::channel();
        self.hand_in(vec![Command::Accept(Told::new(event, telemetry::trace_here()), waiter)])?;
        answer.await.unwrap_or(Err(NotTaken::Unavailable))
    }

    /// Takes several at once, each with an answer of its own, in their order.
    pub async fn accept_all(&self, events: Vec<Event>) -> Vec<Result<Accepted, NotTaken>> {
        let trace = telemetry::trace_here();
        let (commands, answers): (Vec<_>, Vec<_>) = events
            .into_iter()
            .map(|event| {
                let (waiter, answer) = oneshot::channel();
                (Command::Accept(Told::new(event, trace.clone()), waiter), answer)
            })
            .unzip();
        if let Err(because) = self.hand_in(commands) {
            return answers.iter().map(|_| Err(because)).collect();
        }
        let mut taken = Vec::with_capacity(answers.len());
        for answer in answers {
            taken.push(answer.await.unwrap_or(Err(NotTaken::Unavailable)));
        }
        taken
    }

    fn hand_in(&self, commands: Vec<Command>) -> Result<(), NotTaken> {
        let count = commands.len();
        let waiting = self.queue.push(&self.party, commands);
        let waiting = waiting.inspect_err(|because| telemetry::not_taken(count, because.as_str()))?;
        telemetry::queue_waiting(waiting);
        Ok(())
    }

    /// No more is taken; what has queued is still written.
    pub(super) fn close(&self) {
        self.queue.close();
    }

    /// Starts the writers: tasks of their own, so that no caller who hangs up can cut a transaction in two. They end
    /// when the inbox is closed and what had queued is written.
    pub(super) fn start(
        &self,
        sessions: &Sessions,
        clock: &Clock,
        doors: &Doors,
        options: &InboxOptions,
    ) -> JoinSet<()> {
        let mut writers = JoinSet::new();
        let turns = Arc::new(Turns::default());
        let place = Arc::new(Mutex::new(()));
        for _ in 0..options.writers {
            let writer = Writer {
                queue: self.queue.clone(),
                place: place.clone(),
                turns: turns.clone(),
                sessions: sessions.clone(),
                clock: clock.clone(),
                doors: doors.clone(),
                batch: options.batch,
                lease: options.lease,
            };
            writers.spawn(writer.run());
        }
        writers
    }
}

struct Writer {
    queue: Arc<Queue<Command>>,
    /// Where one free writer waits at the queue, and the others behind it.
    place: Arc<Mutex<()>>,
    turns: Arc<Turns>,
    sessions: Sessions,
    clock: Clock,
    doors: Doors,
    batch: usize,
    lease: Duration,
}

impl Writer {
    async fn run(self) {
        loop {
            let (commands, _turn) = self.next().await;
            if commands.is_empty() {
                return;
            }
            self.write(commands).await;
        }
    }

    /// What has queued when it is our turn; nothing only when the inbox is closed and empty.
    async fn next(&self) -> (Vec<Command>, Turn<'_>) {
        let _place = self.place.lock().await;
        if self.queue.has_some().await {
            self.turns.wait().await;
        }
        (self.queue.take(self.batch), self.turns.set_out())
    }

    /// Most commands go the short way; what it left over takes the long one.
    async fn write(&self, commands: Vec<Command>) {
        let left = self.write_express(commands).await;
        if !left.is_empty() {
            self.write_whole(left).await;
        }
    }

    /// Gives what it left over.
    async fn write_express(&self, commands: Vec<Command>) -> Vec<Command> {
        let express = Arc::new(Express::of(Plan::of(&commands)));
        let (outcome, written) = self
            .reserved(&commands, |sessions, terms| async move {
                let written = sessions
                    .run(|session| {
                        let (express, terms) = (express.clone(), terms.clone());
                        Box::pin(async move { express.write(session, &terms).await })
                    })
                    .await;
                (express.outcome().await, written)
            })
            .await;
        let (done, left) = split(commands, &outcome);
        // What was done here was tried here.
        answer(done, outcome, &Plan::default());
        match written {
            Ok(()) => left,
            Err(error) => {
                refuse_all(left, &error);
                Vec::new()
            }
        }
    }

    async fn write_whole(&self, commands: Vec<Command>) {
        let plan = Arc::new(Plan::of(&commands));
        let planned = plan.clone();
        let (outcome, written) = self
            .reserved(&commands, |sessions, terms| async move {
                let written = sessions
                    .transaction(|session| {
                        let (plan, terms) = (planned.clone(), terms.clone());
                        Box::pin(async move { record(session, &plan, &terms).await })
                    })
                    .await;
                match written {
                    Ok(outcome) => (outcome, Ok(())),
                    Err(error) => (Outcome::default(), Err(error)),
                }
            })
            .await;
        match written {
            Ok(()) => {
                let untried = answer(commands, outcome, &plan);
                if !untried.is_empty() {
                    Box::pin(self.write_whole(untried)).await;
                }
            }
            // Nobody else must pay for a command that Postgres cannot take, whatever it is.
            Err(error) if error.is_about_the_data() && 1 < commands.len() => {
                tracing::error!(%error, commands = commands.len(), "Could not commit a batch; committing each by itself");
                for command in commands {
                    Box::pin(self.write_whole(vec![command])).await;
                }
            }
            Err(error) => refuse_all(commands, &error),
        }
    }

    /// Writes with room taken at the lanes before, and hands over what was committed as leased to this process: all of it,
    /// also where something failed later. What nobody is handed would wait for its lease to expire.
    async fn reserved<Writing>(
        &self,
        commands: &[Command],
        write: impl FnOnce(Sessions, Terms) -> Writing,
    ) -> (Outcome, Result<(), StoreError>)
    where
        Writing: Future<Output = (Outcome, Result<(), StoreError>)>,
    {
        let began = Instant::now();
        let reservation = self.doors.reserve(u32::try_from(commands.len()).unwrap_or(u32::MAX));
        let room = Arc::new(reservation.columns());
        let terms = Terms { clock: self.clock.clone(), lease: self.lease, room };
        let (mut outcome, written) = write(self.sessions.clone(), terms).await;
        telemetry::committed(outcome.events.len() + outcome.messages.len(), began.elapsed(), written.is_ok());
        let leases = std::mem::take(&mut outcome.leases);
        telemetry::handed_off(leases.len());
        telemetry::unparked(outcome.unparked);
        outcome.owed.iter().for_each(|(account_sid, messages)| telemetry::owed(account_sid, *messages));
        reservation.hand_over(leases, &outcome.owed);
        (outcome, written)
    }
}

fn refuse_all(commands: Vec<Command>, error: &StoreError) {
    tracing::error!(%error, commands = commands.len(), "Could not commit a batch; its callers were told to try again");
    refuse(commands, NotTaken::Unavailable);
}
