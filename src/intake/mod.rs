//! Room 1: what callers tell us. Parse it, hand it to the store, answer.
//!
//! ```text
//! listener ──▶ edge ──▶ policy ──▶ one file per resource ──▶ store
//! sockets      id, task  who may    parse, ask, answer
//! ```
//!
//! Invariant: an answer depends on Postgres alone.
//! Invariant: no route under `/v1` exists without a scope, and no error without a problem.
//! Invariant: a caller that hangs up stops nothing that has begun.

mod accounts;
mod actions;
mod auth;
mod batch;
pub mod counter;
mod dead_letters;
mod document;
mod edge;
mod event_body;
mod events;
mod fault;
mod field;
mod idempotency_key;
mod impatient;
mod items;
mod labels;
mod lanes;
mod line;
pub mod listener;
mod messages;
mod moment;
mod named;
mod object;
mod openapi;
mod peers;
mod policy;
mod probes;
mod problem;
mod query;
mod receipts;
mod replay;
mod request_id;
mod schema;
mod share;
#[cfg(test)]
mod tests;

use std::{ops::Deref, sync::Arc, time::Duration};

use axum::{Router, extract::FromRef, routing::get};
use utoipa_axum::routes;

use self::{accounts::Accounts, auth::Caller, document::BodyDeadline, policy::Guarded, share::Taken};
pub use self::{
    auth::{CallerOptions, Callers},
    edge::within_edge,
    line::{EventReader, LineFault, ReadEvent},
    openapi::openapi,
    probes::{Readiness, operations_router},
};
use crate::{
    domain::{AccountSid, Event, Registration, Scope},
    store::{Accepted, Inbox, Ledger, NotTaken, Operator, Registered},
};

/// Who may call, about which accounts, and for how long.
#[derive(Clone)]
pub struct IntakeOptions {
    pub callers: Callers,
    /// The configured ones. If it is only one, messages need not name it.
    pub accounts: Vec<AccountSid>,
    /// How long the body of a request may take to arrive.
    pub body_deadline: Duration,
    /// Events and mappings of one caller that may wait for the writers.
    pub most_waiting_per_caller: usize,
}

/// All that a handler knows. axum clones it several times for each request.
#[derive(Clone)]
struct Intake(Arc<Known>);

struct Known {
    inbox: Inbox,
    ledger: Ledger,
    operator: Operator,
    accounts: Accounts,
    body_deadline: BodyDeadline,
    most_waiting_per_caller: usize,
}

impl Intake {
    /// Room for so many commands of this caller.
    fn room(&self, caller: &Caller, wanted: usize) -> Result<Taken, NotTaken> {
        caller.share().take(wanted, self.most_waiting_per_caller)
    }

    async fn register(&self, caller: &Caller, registration: Registration) -> Result<Registered, NotTaken> {
        let (room, inbox) = (self.room(caller, 1)?, self.inbox.of(caller.party()));
        room.until(async move { inbox.register(registration).await }).await
    }

    async fn accept(&self, caller: &Caller, event: Event) -> Result<Accepted, NotTaken> {
        let (room, inbox) = (self.room(caller, 1)?, self.inbox.of(caller.party()));
        room.until(async move { inbox.accept(event).await }).await
    }

    async fn accept_all(&self, caller: &Caller, events: Vec<Event>) -> Vec<Result<Accepted, NotTaken>> {
        let room = match self.room(caller, events.len()) {
            Ok(room) => room,
            Err(because) => return events.iter().map(|_| Err(because)).collect(),
        };
        let inbox = self.inbox.of(caller.party());
        room.until(async move { inbox.accept_all(events).await }).await
    }
}

impl Deref for Intake {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.0
    }
}

impl FromRef<Intake> for BodyDeadline {
    fn from_ref(intake: &Intake) -> Self {
        intake.body_deadline
    }
}

/// The interface for callers: `/v1`, `/openapi.json`, `/docs`. It is whole within its edge: see [`within_edge`].
pub fn router(inbox: Inbox, ledger: Ledger, operator: Operator, options: IntakeOptions) -> Router {
    let IntakeOptions { callers, accounts, body_deadline, most_waiting_per_caller } = options;
    let (accounts, body_deadline) = (Accounts::new(accounts), BodyDeadline(body_deadline));
    let known = Known { inbox, ledger, operator, accounts, body_deadline, most_waiting_per_caller };
    v1(callers).into_router().merge(openapi::routes()).with_state(Intake(Arc::new(known)))
}

fn v1(callers: Callers) -> Guarded {
    Guarded::new(callers)
        .route(Scope::Ingest, routes!(messages::register))
        .route(Scope::Read, routes!(messages::read))
        .route(Scope::Ingest, routes!(events::take))
        .route(Scope::Ingest, routes!(batch::take))
        .route(Scope::Read, routes!(receipts::read))
        .route_of_a_name(Scope::Read, batch::PATH, get(receipts::read_batch))
        .route(Scope::Read, routes!(actions::read))
        .route(Scope::Read, routes!(dead_letters::list))
        .route(Scope::Operate, routes!(replay::replay))
        .route(Scope::Read, routes!(lanes::list))
        .route(Scope::Operate, routes!(lanes::pause))
        .route(Scope::Operate, routes!(lanes::resume))
}
