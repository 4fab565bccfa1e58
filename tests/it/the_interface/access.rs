//! Who may do what, to whose things; and what is no request at all.

use reqwest::Method;
use serde_json::{Value, json};

use super::{completed, mapping, served};
use crate::harness::documented::routes;
use crate::harness::service::{ALL, ROTATED, STRANGER, Service};
use crate::harness::world::{account, sid};

const POST: Method = Method::POST;
const GET: Method = Method::GET;

/// Every route that needs a token: its scope, its template, and a request that it takes.
fn matrix() -> Vec<(&'static str, Method, &'static str, String, Value)> {
    let lane = |command: &str| format!("/v1/lanes/{}/{command}", account(1));
    let message = format!("/v1/messages/{}", sid(1));
    vec![
        ("ingest", POST, "/v1/messages", "/v1/messages".into(), mapping("login", 1)),
        ("ingest", POST, "/v1/events", "/v1/events".into(), completed("e1", "login")),
        ("ingest", POST, "/v1/events/batch", "/v1/events/batch".into(), json!({"events": [completed("e1", "login")]})),
        ("read", GET, "/v1/events/{event_id}", "/v1/events/e1".into(), Value::Null),
        ("read", GET, "/v1/actions/{action_id}", "/v1/actions/login".into(), Value::Null),
        ("read", GET, "/v1/messages/{message_sid}", message, Value::Null),
        ("read", GET, "/v1/dead-letters", "/v1/dead-letters".into(), Value::Null),
        ("operate", POST, "/v1/dead-letters/replay", "/v1/dead-letters/replay".into(), json!({"filter": {}})),
        ("read", GET, "/v1/lanes", "/v1/lanes".into(), Value::Null),
        ("operate", POST, "/v1/lanes/{account_sid}/pause", lane("pause"), json!({})),
        ("operate", POST, "/v1/lanes/{account_sid}/resume", lane("resume"), json!({})),
    ]
}

async fn status(service: &Service, token: Option<&str>, method: &Method, path: &str, body: &Value) -> (u16, Value) {
    let by = token.map_or_else(|| service.by_nobody(), |token| service.by(token));
    let answer = by.ask(method.clone(), path, |request| crate::harness::service::json(request, body)).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn every_route_needs_a_token_and_its_own_scope() {
    let (_world, service) = served().await;
    for (needed, method, _, path, body) in matrix() {
        for token in [None, Some("wrong"), Some("")] {
            let (status, problem) = status(&service, token, &method, &path, &body).await;
            assert_eq!(
                (status, &problem["type"]),
                (401, &json!("urn:confirmd:problem:unauthorized")),
                "{method} {path}"
            );
        }
        for scope in ["ingest", "read", "operate"] {
            let (status, problem) = status(&service, Some(scope), &method, &path, &body).await;
            if scope == needed {
                assert!((200..300).contains(&status), "{method} {path} with {scope}: {problem}");
            } else {
                assert_eq!(
                    (status, &problem["type"]),
                    (403, &json!("urn:confirmd:problem:forbidden")),
                    "{method} {path}"
                );
                assert_eq!(problem["detail"], format!("The token lacks the scope `{needed}`."));
            }
        }
        assert_eq!(status(&service, Some(ALL), &method, &path, &body).await.0 / 100, 2, "{method} {path}");
        assert_eq!(status(&service, Some(ROTATED), &method, &path, &body).await.0 / 100, 2, "{method} {path}");
    }
}

#[test]
fn the_matrix_and_the_document_are_of_one_mind() {
    let mut told: Vec<_> = matrix()
        .into_iter()
        .map(|(scope, method, template, _, _)| (method.to_string(), template.to_owned(), Some(scope.to_owned())))
        .chain(["/livez", "/readyz", "/metrics"].map(|path| ("GET".to_owned(), path.to_owned(), None)))
        .collect();
    told.sort();
    let mut documented: Vec<_> =
        routes().into_iter().map(|(method, template, scope)| (method.to_string(), template, scope)).collect();
    documented.sort();
    assert_eq!(told, documented);
}

#[tokio::test]
async fn a_refused_token_is_challenged_and_told_nothing_else() {
    let (_world, service) = served().await;
    let missing = service.by_nobody().get("/v1/lanes").await;
    let wrong = service.by("wrong").get("/v1/events/e1").await;
    assert_eq!((missing.header("www-authenticate"), wrong.header("www-authenticate")), ("Bearer", "Bearer"));
    assert_eq!(missing.text, wrong.text, "whatever was wrong with it");
}

#[tokio::test]
async fn what_is_another_namespaces_is_as_what_is_not_there() {
    let (mut world, service) = served().await;
    service.post("/v1/messages", mapping("login", 1)).await;
    service.post("/v1/events", completed("e1", "login")).await;
    world.drain().await;
    let stranger = service.by(STRANGER);
    for (theirs, nobodys) in [
        ("/v1/events/e1".to_owned(), "/v1/events/e2".to_owned()),
        ("/v1/actions/login".to_owned(), "/v1/actions/signup".to_owned()),
        (format!("/v1/messages/{}", sid(1)), format!("/v1/messages/{}", sid(2))),
    ] {
        let mut answers = Vec::new();
        for path in [&theirs, &nobodys] {
            let answer = stranger.ask(GET, path, |request| request.header("X-Request-Id", "r1")).await;
            assert_eq!(answer.problem(), (404, "not-found".to_owned()), "{path}");
            answers.push(answer.text);
        }
        assert_eq!(answers[0], answers[1], "{theirs}");
    }
    // The same ids are other things in another namespace.
    let parked = stranger.post("/v1/events", completed("e1", "login")).await;
    assert_eq!(parked.told(), (202, json!({"event_id": "e1", "state": "parked", "message_sids": []})));
    assert_eq!(parked.header("idempotent-replayed"), "");
    assert_eq!(stranger.get("/v1/actions/login").await.json()["messages"], json!([]));
    assert_eq!(service.get("/v1/events/e1").await.json()["state"], "confirmed");
    // A message belongs to one of them.
    let taken = stranger.post("/v1/messages", mapping("login", 1)).await;
    assert_eq!(taken.problem(), (409, "message-conflict".to_owned()));
    let named = stranger.post("/v1/events", json!({"event_id": "e2", "message_sid": sid(1)})).await;
    assert_eq!(named.problem(), (409, "message-conflict".to_owned()));
    world.is_lawful().await;
}

#[tokio::test]
async fn what_is_not_there_or_not_so_is_a_problem() {
    let (_world, service) = served().await;
    for path in ["/", "/v1", "/v1/", "/v2/events", "/v1/events/", "/v1/events/a/b", "/.env", "/v1/messages/SM1"] {
        assert_eq!(service.get(path).await.problem(), (404, "not-found".to_owned()), "{path}");
    }
    for (method, path, allowed) in [
        (Method::GET, "/v1/messages", "POST"),
        (Method::DELETE, "/v1/events/e1", "GET,HEAD"),
        (Method::PUT, "/v1/lanes", "GET,HEAD"),
        (Method::POST, "/livez", "GET,HEAD"),
    ] {
        let answer = service.by(ALL).ask(method, path, |request| request).await;
        assert_eq!(answer.problem(), (405, "method-not-allowed".to_owned()), "{path}");
        assert_eq!(answer.header("allow"), allowed, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_a_problem_on_every_route_that_takes_one() {
    let (world, service) = served().await;
    for (_, method, _, path, body) in matrix().into_iter().filter(|route| route.1 == POST) {
        if path.ends_with("resume") {
            continue;
        }
        let ask = |kind: &'static str, text: Vec<u8>| {
            let (service, method, path) = (&service, method.clone(), &path);
            async move {
                let with = |request: reqwest::RequestBuilder| {
                    let request = if kind.is_empty() { request } else { request.header("content-type", kind) };
                    request.body(text)
                };
                service.by(ALL).ask(method, path, with).await.problem()
            }
        };
        for kind in ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"] {
            let told = ask(kind, body.to_string().into_bytes()).await;
            assert_eq!(told, (415, "unsupported-media-type".to_owned()), "{path} {kind}");
        }
        for text in [&b"{"[..], b"{}{}", b"\xff", b"nul"] {
            let told = ask("application/json", text.to_vec()).await;
            assert_eq!(told, (400, "invalid-request".to_owned()), "{path} {text:?}");
        }
        let most = if path.ends_with("batch") { 1 << 20 } else { 16 << 10 };
        assert_eq!(ask("application/json", vec![b' '; most]).await.0, 400, "{path}: {most} bytes are read");
        assert_eq!(
            ask("application/json", vec![b' '; most + 1]).await,
            (413, "payload-too-large".to_owned()),
            "{path}"
        );
    }
    assert_eq!(world.store.upkeep.audit().await.unwrap().accepted, 0);
}

#[tokio::test]
async fn a_request_keeps_the_id_it_came_with_or_gets_one() {
    let (_world, service) = served().await;
    let all = service.by(ALL);
    let named =
        |id: &'static str, path: &'static str| all.ask(GET, path, move |request| request.header("X-Request-Id", id));
    let found = named("req-7f3a", "/livez").await;
    assert_eq!((found.status, found.header("x-request-id")), (200, "req-7f3a"));
    let missing = named("req-7f3a", "/v1/events/e1").await;
    assert_eq!(missing.header("x-request-id"), "req-7f3a");
    assert_eq!(missing.json()["instance"], "urn:confirmd:request:req-7f3a");
    for unfit in ["+15557122661", "ada@example.org", "two words", ""] {
        let made = named(unfit, "/livez").await;
        assert_eq!(made.header("x-request-id").len(), 36, "{unfit}");
    }
    let (one, other) = (service.get("/livez").await, service.get("/livez").await);
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
}
