//! The router as callers meet it, up to the door of the store: nothing here may pass it.

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

use super::{
    CallerOptions, IntakeOptions, Readiness, Scope, operations_router, problem::PROBLEM_JSON, router, within_edge,
};
use crate::store::{Inbox, Ledger, Operator};

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const MESSAGE: &str = "SM0123456789abcdef0123456789abcdef";

/// Doors to a store that is not there.
fn doors() -> (Inbox, Ledger, Operator) {
    (Inbox {}, Ledger {}, Operator {})
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

fn app() -> Router {
    app_with(vec![ACCOUNT])
}

fn app_with(accounts: Vec<&str>) -> Router {
    let accounts = accounts.into_iter().map(|sid| sid.to_owned().try_into().unwrap()).collect();
    let options = IntakeOptions { callers: callers(), accounts, body_deadline: Duration::from_millis(50) };
    let (inbox, ledger, operator) = doors();
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
    ask(app(), json_to(path).body(body.into()).unwrap()).await
}
