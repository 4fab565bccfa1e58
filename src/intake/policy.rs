//! Which scope each route needs. A route under /v1 is registered here, with its scope, or not at all.

use axum::{extract::Request, middleware, response::IntoResponse, routing::MethodRouter};
use utoipa::openapi::{
    ContentBuilder, PathItem, Ref, RefOr, Response as Described, ResponseBuilder, path::Operation,
    security::SecurityRequirement,
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::{
    Intake,
    auth::{Caller, Callers, identify},
    edge::detached,
    openapi::BEARER,
    problem::{PROBLEM_JSON, Problem},
};
use crate::domain::Scope;

/// The routes that need a token.
#[derive(Default)]
pub(super) struct Guarded(OpenApiRouter<Intake>);

impl Guarded {
    /// The only way in: what is asked of the caller comes first, and the document says so.
    pub(super) fn route(self, scope: Scope, (schemas, mut paths, methods): UtoipaMethodRouter<Intake>) -> Self {
        paths.paths.values_mut().flat_map(operations).for_each(|operation| describe(operation, scope));
        Self(self.0.routes((schemas, paths, guarded(methods, scope))))
    }

    /// For a name that another route's path takes: documented as the route that it would have had.
    pub(super) fn route_of_a_name(self, scope: Scope, path: &str, methods: MethodRouter<Intake>) -> Self {
        Self(self.0.route(path, guarded(methods, scope)))
    }

    pub(super) fn into_router(self, callers: Callers) -> axum::Router<Intake> {
        self.0.split_for_parts().0.layer(middleware::from_fn_with_state(callers, identify))
    }

    pub(super) fn into_openapi(self) -> utoipa::openapi::OpenApi {
        self.0.into_openapi()
    }
}

fn guarded(methods: MethodRouter<Intake>, scope: Scope) -> MethodRouter<Intake> {
    let methods = match scope {
        // It asks nothing of Postgres itself: it hands in, and waits.
        Scope::Ingest => methods,
        Scope::Read | Scope::Operate => methods.route_layer(middleware::from_fn(detached)),
    };
    methods.route_layer(middleware::from_fn(move |request: Request, next: middleware::Next| async move {
        match request.extensions().get::<Caller>() {
            None => Problem::Unauthorized.into_response(),
            Some(caller) if !caller.may(scope) => Problem::Forbidden(scope).into_response(),
            Some(_) => next.run(request).await,
        }
    }))
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
