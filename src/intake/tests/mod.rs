//! The router as callers meet it, up to the door of the store: it is shut.

mod content;
mod page;
mod policy;
mod sockets;

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tower::ServiceExt;

use super::{CallerOptions, IntakeOptions, Readiness, operations_router, problem::PROBLEM_JSON, router, within_edge};
use crate::domain::Scope;
use crate::store::{
    Clock, InboxOptions, OutboxOptions, SessionOptions, Store, StoreOptions, UpkeepOptions, connect_options,
};

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const MESSAGE: &str = "SM0123456789abcdef0123456789abcdef";

const SHORT: Duration = Duration::from_millis(50);

/// A store that takes nothing: its inbox is closed, and there is no Postgres behind it.
fn shut_store() -> Store {
    let session = SessionOptions {
        plans: crate::store::Plans::Once,
        connections: 1,
        acquire_timeout: SHORT,
        statement_timeout: SHORT,
        lock_timeout: SHORT,
        idle_in_transaction_timeout: SHORT,
        deadline: SHORT,
    };
    let store = Store::new(StoreOptions {
        connect: connect_options("postgres://nobody@127.0.0.1:1/none").unwrap(),
        intake: session.clone(),
        delivery: session.clone(),
        reads: session,
        inbox: InboxOptions { writers: 1, batch: 1, max_waiting: 1000, longest_wait: SHORT, lease: SHORT },
        outbox: OutboxOptions { lease: SHORT, max_lost_leases: 1 },
        upkeep: UpkeepOptions { park_limit: SHORT, history: SHORT, dead_letters: SHORT, batch: 1 },
        accounts: Vec::new(),
        clock: Clock::default(),
    });
    store.close_inbox();
    store
}

/// One caller for each scope, its token the scope's name, and one with all of them.
fn callers() -> Vec<CallerOptions> {
    let caller = |name: &str, scopes: Vec<Scope>| CallerOptions {
        name: name.to_owned().try_into().unwrap(),
        namespace: "default".to_owned().try_into().unwrap(),
        scopes,
        token_digests: vec![Sha256::digest(name).into()],
    };
    let each = Scope::ALL.map(|scope| caller(scope.as_str(), vec![scope]));
    each.into_iter().chain([caller("all", Scope::ALL.to_vec())]).collect()
}

async fn app() -> Router {
    app_with(vec![ACCOUNT]).await
}

async fn app_with(accounts: Vec<&str>) -> Router {
    let accounts = accounts.into_iter().map(|sid| sid.to_owned().try_into().unwrap()).collect();
    let options =
        IntakeOptions { callers: callers().into(), accounts, body_deadline: SHORT, most_waiting_per_caller: 1000 };
    let Store { inbox, ledger, operator, .. } = shut_store();
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let operations = operations_router(Readiness::new(ledger.clone()), recorder.handle());
    within_edge(router(inbox, ledger, operator, options).merge(operations), Duration::from_secs(5))
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Its status and the last part of the problem's type.
    fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers["content-type"], PROBLEM_JSON);
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        let kind = problem["type"].as_str().unwrap();
        (self.status.as_u16(), kind.strip_prefix("urn:confirmd:problem:").unwrap().to_owned())
    }

    /// The pointers, headers and parameters of its faults, in order.
    fn faults(&self) -> Vec<String> {
        faults(&self.json())
    }
}

fn faults(problem: &Value) -> Vec<String> {
    let place = |fault: &Value| {
        let place = ["pointer", "header", "parameter"].into_iter().find_map(|kind| fault[kind].as_str());
        place.unwrap().to_owned()
    };
    problem["errors"].as_array().into_iter().flatten().map(place).collect()
}

async fn ask(app: Router, request: Request<Body>) -> Answer {
    let response = app.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let answer =
        Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes().into() };
    assert!(answer.headers.contains_key("x-request-id"));
    if !answer.status.is_success() && !answer.status.is_redirection() {
        let text = String::from_utf8_lossy(&answer.body).to_lowercase();
        for leak in ["sqlx", "postgres", "src/", "panicked", "constraint", "axum", "serde", "line 1"] {
            assert!(!text.contains(leak), "{text}");
        }
    }
    answer
}

fn json_to(path: &str) -> axum::http::request::Builder {
    Request::post(path).header("authorization", "Bearer all").header("content-type", "application/json")
}

async fn post(path: &str, body: impl Into<Body>) -> Answer {
    ask(app().await, json_to(path).body(body.into()).unwrap()).await
}
