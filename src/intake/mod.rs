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
mod policy;
mod probes;
mod problem;
mod query;
mod receipts;
mod replay;
mod request_id;
mod schema;
#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::{Router, extract::FromRef, routing::get};
use utoipa_axum::routes;

use self::{accounts::Accounts, document::BodyDeadline, policy::Guarded};
pub use self::{
    auth::{CallerOptions, Callers},
    edge::within_edge,
    line::{EventReader, LineFault, ReadEvent},
    openapi::openapi,
    probes::{Readiness, operations_router},
};
use crate::{
    domain::{AccountSid, Scope},
    store::{Inbox, Ledger, Operator},
};

/// Who may call, about which accounts, and for how long.
#[derive(Clone)]
pub struct IntakeOptions {
    pub callers: Callers,
    /// The configured ones. If it is only one, messages need not name it.
    pub accounts: Vec<AccountSid>,
    /// How long the body of a request may take to arrive.
    pub body_deadline: Duration,
}

/// All that a handler knows.
#[derive(Clone)]
struct Intake {
    inbox: Inbox,
    ledger: Ledger,
    operator: Operator,
    accounts: Accounts,
    body_deadline: BodyDeadline,
}

impl FromRef<Intake> for BodyDeadline {
    fn from_ref(intake: &Intake) -> Self {
        intake.body_deadline
    }
}

/// The interface for callers: `/v1`, `/openapi.json`, `/docs`. It is whole within its edge: see [`within_edge`].
pub fn router(inbox: Inbox, ledger: Ledger, operator: Operator, options: IntakeOptions) -> Router {
    let accounts = Accounts::new(options.accounts);
    let intake = Intake { inbox, ledger, operator, accounts, body_deadline: BodyDeadline(options.body_deadline) };
    v1().into_router(options.callers).merge(openapi::routes()).with_state(intake)
}

fn v1() -> Guarded {
    Guarded::default()
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
