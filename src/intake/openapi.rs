//! The OpenAPI document, from the routes and types themselves, and a page to read it on.

use axum::{Router, http::header, routing::get};
use utoipa::{
    OpenApi,
    openapi::{
        RefOr,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{
    policy::{operations, problem},
    probes, v1,
};

/// The name of the one security scheme.
pub(super) const BEARER: &str = "bearer";

const PATH: &str = "/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "confirmd",
        version = "1",
        description = "Makes sure that every completed one-time password is confirmed where its message was sent. \
            Ids are opaque to the service: no phone number, no e-mail address and no code belongs in a request.\n\n\
            Every error is a problem (RFC 9457) whose `type` is stable. A request may carry an `X-Request-Id` of 1 to \
            128 visible ASCII characters; the answer carries it back, or one that was made.",
    ),
    tags(
        (name = "messages", description = "Which message was sent for an action."),
        (name = "events", description = "That a user completed an action, and what became of it."),
        (name = "actions", description = "What a user was asked to do."),
        (name = "dead letters", description = "What was given up: to be read and replayed."),
        (name = "lanes", description = "One account's deliveries."),
        (name = "operations", description = "Probes and metrics. They may be on a listener of their own."),
    ),
    components(schemas(super::problem::ProblemBody)),
)]
struct Document;

/// All routes, also those that are served elsewhere.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.merge(v1(Vec::new().into()).into_openapi());
    document.merge(probes::routes().into_openapi());
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The token of a caller. Its scopes are `ingest`, `read` and `operate`."))
        .build();
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert(BEARER.to_owned(), SecurityScheme::Http(scheme).into());
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        let answers = &mut operation.responses.responses;
        answers.entry("default".to_owned()).or_insert_with(|| RefOr::T(problem("Any other fault.")));
    }
    document
}

/// `/openapi.json` and `/docs`. Neither needs a token, nor the internet.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let json = serde_json::to_string(&openapi()).unwrap_or_default();
    let document = get(|| async move { ([(header::CONTENT_TYPE, "application/json")], json) });
    // The page would ask a validator on the internet otherwise.
    let page = SwaggerUi::new("/docs").config(Config::from(PATH).validator_url("none"));
    Router::new().route(PATH, document).merge(page)
}
