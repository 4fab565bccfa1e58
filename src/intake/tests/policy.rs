//! Who may do what: every route, without a token, with a wrong one, with one that may not.

use axum::{body::Body, http::Request};

use super::{app, ask, json_to};
use crate::domain::Scope;
use crate::intake::openapi;

/// Every route of the document: its method, a path that fits it, and the scope that it needs.
fn documented() -> Vec<(String, String, Option<String>)> {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scope = operation["security"][0]["bearer"][0].as_str().map(str::to_owned);
            let path = path
                .replace("{account_sid}", super::ACCOUNT)
                .replace("{message_sid}", super::MESSAGE)
                .replace("{event_id}", "e")
                .replace("{action_id}", "a");
            assert!(!path.contains('{'), "{path}");
            routes.push((method.to_uppercase(), path, scope));
        }
    }
    routes
}

async fn asked(method: &str, path: &str, authorization: &[&str]) -> super::Answer {
    let mut request = Request::builder().method(method).uri(path);
    for value in authorization {
        request = request.header("authorization", *value);
    }
    ask(app().await, request.body(Body::empty()).unwrap()).await
}

#[test]
fn every_route_of_v1_has_a_scope_and_no_other_has() {
    let routes = documented();
    assert_eq!(routes.len(), 14);
    for (_, path, scope) in routes {
        assert_eq!(path.starts_with("/v1/"), scope.is_some(), "{path}");
    }
}

#[tokio::test]
async fn without_a_valid_token_every_route_of_v1_says_the_same() {
    let mut bodies = Vec::new();
    for (method, path, _) in documented().into_iter().filter(|(_, _, scope)| scope.is_some()) {
        for authorization in [&[][..], &["Bearer wrong"], &["Basic all"], &["Bearer all", "Bearer all"], &["Bearer "]] {
            let answer = asked(&method, &path, authorization).await;
            assert_eq!(answer.problem(), (401, "unauthorized".to_owned()), "{method} {path}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            bodies.push(answer.body);
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
}

#[tokio::test]
async fn without_the_scope_every_route_of_v1_names_it() {
    for (method, path, needed) in documented() {
        let Some(needed) = needed else { continue };
        for other in Scope::ALL.map(Scope::as_str).into_iter().filter(|scope| *scope != needed) {
            let answer = asked(&method, &path, &[&format!("Bearer {other}")]).await;
            assert_eq!(answer.problem(), (403, "forbidden".to_owned()), "{method} {path}");
            assert!(answer.json()["detail"].as_str().unwrap().contains(&format!("`{needed}`")));
        }
    }
}

/// What anybody may ask, and nothing else: it tells of no caller, event or account.
const OPEN_TO_ALL: [&str; 7] = ["/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/", "/docs/{*rest}"];

/// Where nothing is: axum's own fallback.
const NOWHERE: [&str; 2] = ["/", "/{*__private__axum_fallback}"];

/// Every path that the router itself holds, whether the document knows it or not.
async fn routed() -> Vec<String> {
    let router = format!("{:?}", app().await);
    let mut paths: Vec<String> = router.split('"').filter(|text| text.starts_with('/')).map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    paths
}

#[tokio::test]
async fn no_route_of_the_router_is_without_a_policy() {
    let paths = routed().await;
    let open = |path: &str| OPEN_TO_ALL.contains(&path) || NOWHERE.contains(&path);
    let guarded: Vec<&String> = paths.iter().filter(|path| !open(path)).collect();
    assert!(10 <= guarded.len(), "the router shows its paths: {paths:?}");
    for path in ["/", "/nowhere"] {
        assert_eq!(asked("GET", path, &[]).await.status, 404, "{path}");
    }
    for path in guarded {
        let path = path
            .replace("{account_sid}", super::ACCOUNT)
            .replace("{message_sid}", super::MESSAGE)
            .replace("{event_id}", "e")
            .replace("{action_id}", "a");
        assert!(path.starts_with("/v1/") && !path.contains('{'), "{path} is neither guarded nor open to all");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let answer = asked(method, &path, &[]).await;
            assert!([401, 405].contains(&answer.status.as_u16()), "{method} {path}: {}", answer.status);
        }
    }
}

#[tokio::test]
async fn the_token_comes_before_the_body() {
    let request = Request::post("/v1/events").header("content-length", "1000000000000").body(Body::empty());
    assert_eq!(ask(app().await, request.unwrap()).await.status, 401);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    for path in ["/", "/v1", "/v1/", "/v2/events", "/v1/events/", "/v1/events/a/b", "/.env", "/%00", "/v1/messages/%ff"]
    {
        let answer = asked("GET", path, &["Bearer all"]).await;
        assert_eq!(answer.problem(), (404, "not-found".to_owned()), "{path}");
    }
    for path in ["/v1/messages/SM1", "/v1/events/a%20b", "/v1/actions/%2B15557122661"] {
        let answer = asked("GET", path, &["Bearer all"]).await;
        assert_eq!(answer.problem(), (404, "not-found".to_owned()), "{path}");
    }
    let unknown = "/v1/lanes/ACffffffffffffffffffffffffffffffff/resume";
    assert_eq!(ask(app().await, json_to(unknown).body(Body::empty()).unwrap()).await.status, 404);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    for (method, path, allowed) in
        [("GET", "/v1/messages", "POST"), ("PUT", "/v1/lanes", "GET,HEAD"), ("BREW", "/livez", "GET,HEAD")]
    {
        let answer = asked(method, path, &["Bearer all"]).await;
        assert_eq!(answer.problem(), (405, "method-not-allowed".to_owned()), "{method} {path}");
        assert_eq!(answer.headers["allow"], allowed);
    }
}

#[tokio::test]
async fn with_token_and_scope_every_read_and_command_reaches_the_store() {
    for (method, path, needed) in documented() {
        let Some(needed) = needed.filter(|needed| needed != "ingest") else { continue };
        let body = if path.ends_with("replay") { r#"{"filter":{}}"# } else { "" };
        let request = Request::builder().method(method.as_str()).uri(&path);
        let request = request.header("authorization", format!("Bearer {needed}"));
        let request = request.header("content-type", "application/json").body(Body::from(body)).unwrap();
        let answer = ask(app().await, request).await;
        assert_eq!(answer.problem(), (503, "unavailable".to_owned()), "{method} {path}");
        assert_eq!(answer.headers["retry-after"], "5");
    }
}
