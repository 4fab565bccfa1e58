//! Which scope each route needs. A route under /v1 is registered here, with its scope, or not at all.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    middleware,
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use futures_util::future::Either;
use tower::{Layer, Service};
use utoipa::openapi::{
    ContentBuilder, PathItem, Ref, RefOr, Response as Described, ResponseBuilder, path::Operation,
    security::SecurityRequirement,
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::{
    Intake,
    auth::{Caller, Callers, bearer},
    edge::detached,
    openapi::BEARER,
    problem::{PROBLEM_JSON, Problem},
};
use crate::domain::Scope;

/// The routes that need a token.
pub(super) struct Guarded {
    routes: OpenApiRouter<Intake>,
    callers: Callers,
}

impl Guarded {
    pub(super) fn new(callers: Callers) -> Self {
        Self { routes: OpenApiRouter::default(), callers }
    }

    /// The only way in: what is asked of the caller comes first, and the document says so.
    pub(super) fn route(mut self, scope: Scope, (schemas, mut paths, methods): UtoipaMethodRouter<Intake>) -> Self {
        paths.paths.values_mut().flat_map(operations).for_each(|operation| describe(operation, scope));
        self.routes = self.routes.routes((schemas, paths, guarded(methods, scope, &self.callers)));
        self
    }

    /// For a name that another route's path takes: documented as the route that it would have had.
    pub(super) fn route_of_a_name(mut self, scope: Scope, path: &str, methods: MethodRouter<Intake>) -> Self {
        self.routes = self.routes.route(path, guarded(methods, scope, &self.callers));
        self
    }

    pub(super) fn into_router(self) -> axum::Router<Intake> {
        self.routes.split_for_parts().0
    }

    pub(super) fn into_openapi(self) -> utoipa::openapi::OpenApi {
        self.routes.into_openapi()
    }
}

fn guarded(methods: MethodRouter<Intake>, scope: Scope, callers: &Callers) -> MethodRouter<Intake> {
    let methods = match scope {
        // It asks nothing of Postgres itself: it hands in, and waits.
        Scope::Ingest => methods,
        Scope::Read | Scope::Operate => methods.route_layer(middleware::from_fn(detached)),
    };
    methods.route_layer(Guard { inner: (), scope, callers: callers.clone() })
}

/// Lets in who may, and turns away everybody else. A service of its own kind: what axum makes of a function is allocated
/// and cloned with all that it surrounds, for each request anew.
#[derive(Clone)]
struct Guard<S> {
    inner: S,
    scope: Scope,
    callers: Callers,
}

impl<S> Layer<S> for Guard<()> {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, scope: self.scope, callers: self.callers.clone() }
    }
}

impl<S: Service<Request, Response = Response>> Service<Request> for Guard<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match admitted(&self.callers, self.scope, &request) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Either::Right(self.inner.call(request))
            }
            Err(problem) => Either::Left(ready(Ok(problem.into_response()))),
        }
    }
}

fn admitted(callers: &Callers, scope: Scope, request: &Request) -> Result<Caller, Problem> {
    // A missing token is compared as well.
    let caller = callers.find(bearer(request.headers()).unwrap_or_default()).ok_or(Problem::Unauthorized)?;
    tracing::Span::current().record("caller", caller.name().as_str());
    if caller.may(scope) { Ok(caller) } else { Err(Problem::Forbidden(scope)) }
}

pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
}

/// Adds what every guarded route has in common.
fn describe(operation: &mut Operation, scope: Scope) {
    operation.security = Some(vec![SecurityRequirement::new(BEARER, [scope.as_str()])]);
    let needs = format!("Needs the scope `{}`.", scope.as_str());
    let description = operation.description.take().map(|text| format!("{text}\n\n{needs}"));
    operation.description = description.or(Some(needs));

    let mut answers = vec![
        ("401", "No valid token. The same answer whatever is wrong with it."),
        ("403", "The token lacks the scope."),
        ("500", "A fault of the service. Safe to repeat with the same event id."),
        ("503", "Not taken, or not known to be. Repeat it after `Retry-After`, with the same event id."),
    ];
    if operation.request_body.is_some() {
        answers.extend([
            ("400", "Not well-formed JSON in UTF-8."),
            ("408", "The body took too long to arrive."),
            ("413", "The body is too large."),
            ("415", "The body is not `application/json`."),
            ("422", "The content is not what it should be: each fault with its JSON pointer."),
        ]);
    }
    for (status, meaning) in answers {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem(meaning)));
    }
}

/// An answer that is a problem.
pub(super) fn problem(meaning: &str) -> Described {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(meaning).content(PROBLEM_JSON, content).build()
}
