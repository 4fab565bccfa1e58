//! What surrounds every request: its id, a task of its own where it needs one, a deadline, one line in the log, metrics; and every
//! error leaves as a problem.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::time::{Instant, timeout};
use tower::{Layer, Service};
use tracing::Instrument;

use super::{
    listener::InFlight,
    problem::Problem,
    request_id::{RequestId, X_REQUEST_ID},
};
use crate::domain::TraceContext;
use crate::telemetry;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Makes a router fit to be served. `deadline` is how long an answer may take; whoever gets none by then is told 503,
/// while the work goes on.
pub fn within_edge(router: Router, deadline: Duration) -> Router {
    router.layer(Edge { inner: (), deadline })
}

/// A service of its own kind, for the reason that [`super::policy`] has for its own.
#[derive(Clone)]
struct Edge<S> {
    inner: S,
    deadline: Duration,
}

impl<S> Layer<S> for Edge<()> {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Edge<S> {
        Edge { inner, deadline: self.deadline }
    }
}

impl<S> Service<Request> for Edge<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let begun = Begun::of(&request);
        let answering = attended(self.inner.call(request), self.deadline);
        Box::pin(async move { Ok(begun.end(answering).await) })
    }
}

/// What is known of a request before it is looked at.
struct Begun {
    at: Instant,
    request_id: RequestId,
    method: &'static str,
    route: Option<MatchedPath>,
    trace: Option<TraceContext>,
}

impl Begun {
    fn of(request: &Request) -> Self {
        Self {
            at: Instant::now(),
            request_id: RequestId::of(request.headers()),
            method: method_of(request),
            route: request.extensions().get::<MatchedPath>().cloned(),
            trace: trace_of(request.headers()),
        }
    }

    /// The answer as it goes out, once it is there.
    async fn end(self, answering: impl Future<Output = Response>) -> Response {
        let Self { at, request_id, method, route, trace } = self;
        // The template of the path, never the path itself: it holds ids, and there is no end of them.
        let route = route.as_ref().map_or("none", MatchedPath::as_str);
        let (span, trace) = telemetry::request_span(request_id.as_str(), method, route, trace);

        let response = telemetry::within(trace, answering).instrument(span.clone()).await;
        let shed = response.extensions().get::<Problem>() == Some(&Problem::Busy);
        let mut response = explained(response, &request_id);
        response.headers_mut().insert(X_REQUEST_ID, request_id.header());
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

        let took = at.elapsed();
        let status = response.status();
        telemetry::answered(route, method, status.as_u16(), took);
        telemetry::request_ended(&span, status.as_u16());
        span.in_scope(|| {
            let (status, took_ms) = (status.as_u16(), took.as_millis());
            // Shedding is counted, not logged: under overload a line for each would be more load.
            if 500 <= status && !shed {
                tracing::warn!(status, took_ms, "Answered {status}");
            } else {
                tracing::debug!(status, took_ms, "Answered {status}");
            }
        });
        response
    }
}

/// Waits for the answer as long as it may take. A panic ends in a problem, too; the panic hook has logged where.
async fn attended(answering: impl Future<Output = Result<Response, Infallible>>, deadline: Duration) -> Response {
    match timeout(deadline, AssertUnwindSafe(answering).catch_unwind()).await {
        Ok(Ok(Ok(response))) => response,
        Ok(Err(_)) => Problem::Internal.into_response(),
        Err(_) => Problem::Unavailable.into_response(),
    }
}

/// Runs the request in a task of its own, as every route must that works on a connection to Postgres itself: the server
/// drops our future when the client hangs up, and nothing that has begun there may be cut in the middle. What is handed to
/// the writers goes on without us, and needs none.
pub(super) async fn detached(mut request: Request, next: Next) -> Response {
    let in_flight = request.extensions_mut().remove::<InFlight>();
    let work = async move {
        let response = next.run(request).await;
        drop(in_flight);
        response
    };
    match tokio::spawn(work.in_current_span()).await {
        Ok(response) => response,
        // It panicked; the panic hook has logged where.
        Err(_) => Problem::Internal.into_response(),
    }
}

/// Where the caller's request stands in a trace. Whatever is none is passed over, as W3C wants it.
fn trace_of(headers: &HeaderMap) -> Option<TraceContext> {
    let mut told = headers.get_all(TRACEPARENT).iter();
    let (Some(only), None) = (told.next(), told.next()) else { return None };
    TraceContext::try_from(only.to_str().ok()?).ok()
}

/// Gives a problem its instance, and an error without a problem the problem of its status.
fn explained(mut response: Response, request_id: &RequestId) -> Response {
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_error(response.status()) => Problem::of_bare(response.status()),
        None => return response,
    };
    let mut answer = problem.answer(request_id);
    if let Some(methods) = response.headers_mut().remove(header::ALLOW) {
        answer.headers_mut().insert(header::ALLOW, methods);
    }
    answer
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// A method may be any word; those that nobody uses are one.
fn method_of(request: &Request) -> &'static str {
    match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    async fn asked(router: Router, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).header(X_REQUEST_ID, "r1").body(Body::empty()).unwrap();
        let response = within_edge(router, Duration::from_millis(50)).oneshot(request).await.unwrap();
        assert_eq!(response.headers()[X_REQUEST_ID], "r1");
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_problem_with_the_requests_id() {
        async fn panics() -> StatusCode {
            panic!("on purpose: see src/secret.rs")
        }
        let (status, problem) = asked(Router::new().route("/", get(panics)), "/").await;
        assert_eq!(status, 500);
        assert_eq!(problem["type"], "urn:confirmd:problem:internal");
        assert_eq!(problem["instance"], "urn:confirmd:request:r1");
        assert!(!problem.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn an_answer_that_takes_too_long_is_503_while_the_work_goes_on() {
        let (begin, done) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
        let state: &'static _ = Box::leak(Box::new((begin, done)));
        let work = get(move || async move {
            state.0.notified().await;
            state.1.notify_one();
        });
        let router = Router::new().route("/", work).layer(axum::middleware::from_fn(detached));
        let (status, problem) = asked(router, "/").await;
        assert_eq!((status.as_u16(), &problem["type"]), (503, &"urn:confirmd:problem:unavailable".into()));
        state.0.notify_one();
        state.1.notified().await;
    }

    #[tokio::test]
    async fn an_error_without_a_problem_gets_one() {
        let router = || Router::new().route("/", get(|| async { StatusCode::IM_A_TEAPOT }));
        assert_eq!(asked(router(), "/").await.1["type"], "urn:confirmd:problem:invalid-request");
        assert_eq!(asked(router(), "/none").await.1["type"], "urn:confirmd:problem:not-found");
    }
}
