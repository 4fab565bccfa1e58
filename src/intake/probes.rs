//! What machines ask: `/livez`, `/readyz`, `/metrics`.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::header,
    middleware,
    response::{IntoResponse, Response},
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{edge::detached, problem::Problem};
use crate::store::Ledger;

/// How long Postgres may take to say that it is there.
const PING_LIMIT: Duration = Duration::from_secs(1);
/// How long its answer stands: however often the probe is asked, Postgres is not.
const PING_STANDS: Duration = Duration::from_millis(500);

/// Whether this process wants traffic. Shared: whoever stops it, or sees a part of it die, says so here.
#[derive(Clone)]
pub struct Readiness(Arc<Inner>);

struct Inner {
    ledger: Ledger,
    draining: AtomicBool,
    failed: Mutex<Vec<&'static str>>,
    /// When Postgres was asked last, and whether it answered. Held while asking, so that only one asks.
    ping: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

impl Readiness {
    pub fn new(ledger: Ledger) -> Self {
        let (failed, ping) = (Mutex::default(), tokio::sync::Mutex::default());
        Self(Arc::new(Inner { ledger, draining: AtomicBool::new(false), failed, ping }))
    }

    /// From now on no traffic is wanted.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// A part that should run for ever has ended. `what` reads alone: "the claim loop ended".
    pub fn fail(&self, what: &'static str) {
        tracing::error!("No longer ready: {what}");
        self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Why no traffic is wanted; empty if it is.
    async fn reasons(&self) -> Vec<&'static str> {
        let mut reasons = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if self.0.draining.load(Ordering::Acquire) {
            reasons.push("draining");
        }
        // What is already known needs no question.
        if reasons.is_empty() && !self.postgres_answers().await {
            reasons.push("the database does not answer");
        }
        reasons
    }

    async fn postgres_answers(&self) -> bool {
        let mut ping = self.0.ping.lock().await;
        match *ping {
            Some((at, answered)) if at.elapsed() < PING_STANDS => answered,
            _ => {
                let answered = self.0.ledger.ping(PING_LIMIT).await.is_ok();
                *ping = Some((Instant::now(), answered));
                answered
            }
        }
    }
}

#[derive(Clone)]
pub(super) struct Operations {
    readiness: Readiness,
    metrics: PrometheusHandle,
}

/// The probes and `/metrics`: to be merged into [`super::router`], or served on a listener of their own.
pub fn operations_router(readiness: Readiness, metrics: PrometheusHandle) -> Router {
    let routes = routes().split_for_parts().0.layer(middleware::from_fn(detached));
    routes.with_state(Operations { readiness, metrics })
}

pub(super) fn routes() -> OpenApiRouter<Operations> {
    OpenApiRouter::default().routes(routes!(livez)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// The answer of a probe.
#[derive(Serialize, ToSchema)]
pub(super) struct Probe {
    /// `live` or `ready`.
    status: &'static str,
}

/// Is the process alive?
///
/// Never touches the database: restarting cures no outage of it.
#[utoipa::path(
    get, path = "/livez", tag = "operations",
    responses((status = 200, description = "It is.", body = Probe))
)]
async fn livez() -> Json<Probe> {
    Json(Probe { status: "live" })
}

/// Does the process want traffic?
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses(
        (status = 200, description = "It does.", body = Probe),
        (status = 503, description = "It is draining, a part of it died, or Postgres does not answer: `detail` says which.",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn readyz(State(operations): State<Operations>) -> Result<Json<Probe>, Problem> {
    let reasons = operations.readiness.reasons().await;
    if reasons.is_empty() { Ok(Json(Probe { status: "ready" })) } else { Err(Problem::NotReady(reasons)) }
}

/// Metrics for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "In Prometheus's text format.", body = String, content_type = "text/plain"))
)]
async fn metrics(State(operations): State<Operations>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, operations.metrics.render()).into_response()
}
