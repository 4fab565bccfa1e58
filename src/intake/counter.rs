//! The parsers of all that a stranger sends, without the server around them: the same functions that the routes call
//! before they ask the store. `tests/fuzz` tries them.

use axum::http::HeaderMap;

use super::{
    CallerOptions,
    accounts::Accounts,
    auth::{Callers, bearer},
    batch,
    dead_letters::ListParameters,
    events,
    idempotency_key::idempotency_key,
    items::Items,
    messages,
    problem::Problem,
    replay,
};
use crate::domain::{AccountSid, CallerName, Event, Namespace, Registration};
use crate::store::LetterFilter;

/// Takes what is handed over it, or says in a problem's JSON what is wrong with it.
pub struct Counter {
    callers: Callers,
    accounts: Accounts,
    namespace: Namespace,
}

impl Counter {
    /// `namespace`: of whoever is served.
    pub fn new(callers: Vec<CallerOptions>, accounts: Vec<AccountSid>, namespace: Namespace) -> Self {
        Self { callers: callers.into(), accounts: Accounts::new(accounts), namespace }
    }

    /// Whom the `Authorization` header names.
    pub fn caller(&self, headers: &HeaderMap) -> Option<CallerName> {
        self.callers.find(bearer(headers).unwrap_or_default()).map(|caller| caller.name().clone())
    }

    /// The body of `POST /v1/events`, with its `Idempotency-Key` header.
    ///
    /// # Errors
    /// The problem that the caller would be told.
    pub fn event(&self, body: &str, headers: &HeaderMap) -> Result<Event, String> {
        events::parse(body, idempotency_key(headers), &self.namespace, &self.accounts).map_err(told)
    }

    /// The body of `POST /v1/events/batch`: each of its events by itself.
    ///
    /// # Errors
    /// The problem that the caller would be told, of the whole or of an item.
    pub fn events(&self, body: &str) -> Result<Vec<Result<Event, String>>, String> {
        let Items(items) = batch::parse(body).map_err(told)?;
        let read = |item: &str| batch::read_item(item, &self.namespace, &self.accounts).1.map_err(told);
        Ok(items.iter().map(|item| read(item.get())).collect())
    }

    /// The body of `POST /v1/messages`.
    ///
    /// # Errors
    /// The problem that the caller would be told.
    pub fn message(&self, body: &str) -> Result<Registration, String> {
        messages::parse(body, &self.namespace, &self.accounts).map_err(told)
    }

    /// The body of `POST /v1/dead-letters/replay`.
    ///
    /// # Errors
    /// The problem that the caller would be told.
    pub fn replay(&self, body: &str) -> Result<LetterFilter, String> {
        replay::parse(body, &self.namespace).map(|order| order.filter).map_err(told)
    }

    /// The query of `GET /v1/dead-letters`.
    ///
    /// # Errors
    /// The problem that the caller would be told.
    pub fn dead_letters(&self, query: &str) -> Result<LetterFilter, String> {
        ListParameters::parse(Some(query)).map(|list| list.filter(&self.namespace)).map_err(told)
    }
}

fn told(problem: Problem) -> String {
    serde_json::to_string(&problem.body(None)).unwrap_or_default()
}
