//! The OpenAPI document and its page, and the probes.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Answer, app, ask, shut_store};
use crate::intake::{
    Readiness,
    batch::BatchBody,
    event_body::EventBody,
    fault::Faults,
    labels::LabelsBody,
    lanes::PauseBody,
    messages::MessageBody,
    object::Object,
    openapi, operations_router,
    problem::Problem,
    replay::{FilterBody, ReplayBody},
    within_edge,
};

async fn get(path: &str) -> Answer {
    ask(app().await, Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_document_is_open_to_all() {
    let answer = get("/openapi.json").await;
    assert_eq!(
        (answer.status, &answer.headers["content-type"]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = serde_json::to_value(openapi()).unwrap();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let document = serde_json::to_value(openapi()).unwrap();
    let items = document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let names: Vec<_> = items.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
}

/// Whether the schema of a body and its parser know the same members.
fn agrees<T: DeserializeOwned>(name: &str) {
    let document = serde_json::to_value(openapi()).unwrap();
    let schema = &document["components"]["schemas"][name];
    assert_eq!(schema["additionalProperties"], false, "{name}");
    let unknown = |member: &str| {
        let body: Object<T> = serde_json::from_value(json!({ member: null })).unwrap();
        let mut faults = Faults::default();
        body.optional("", &mut faults);
        matches!(faults.or(Some(())), Err(Problem::Invalid(_)))
    };
    let members = schema["properties"].as_object().unwrap();
    assert!(!members.is_empty(), "{name}");
    for member in members.keys() {
        assert!(!unknown(member), "{name} {member}");
    }
    for member in ["phone", "", "Event_id", "unknown"] {
        assert!(unknown(member), "{name} {member}");
    }
}

#[test]
fn the_schemas_and_the_parsers_know_the_same_members() {
    agrees::<MessageBody>("MessageBody");
    agrees::<LabelsBody>("Labels");
    agrees::<EventBody>("EventBody");
    agrees::<BatchBody>("BatchBody");
    agrees::<ReplayBody>("ReplayBody");
    agrees::<FilterBody>("LetterFilter");
    agrees::<PauseBody>("PauseBody");
}

#[test]
fn what_must_be_given_is_required_in_the_schema() {
    let document = serde_json::to_value(openapi()).unwrap();
    let required = |name: &str| document["components"]["schemas"][name]["required"].clone();
    assert_eq!(required("MessageBody"), json!(["action_id", "message_sid"]));
    assert_eq!(required("EventBody"), Value::Null);
    assert_eq!(required("BatchBody"), json!(["events"]));
    assert_eq!(required("ReplayBody"), json!(["filter"]));
}

#[tokio::test]
async fn the_page_needs_no_internet() {
    assert_eq!(get("/docs").await.status, StatusCode::SEE_OTHER);
    for path in ["/docs/", "/docs/swagger-initializer.js", "/docs/index.css"] {
        let answer = get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let text = String::from_utf8(answer.body).unwrap();
        assert!(!text.contains("https://") && !text.contains("http://"), "{path}: {text}");
    }
    assert!(String::from_utf8(get("/docs/swagger-initializer.js").await.body).unwrap().contains("/openapi.json"));
    assert_eq!(get("/docs/none.js").await.problem().0, 404);
}

#[tokio::test]
async fn draining_and_dead_loops_are_not_ready_and_say_so() {
    let readiness = Readiness::new(shut_store().ledger);
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let router =
        within_edge(operations_router(readiness.clone(), recorder.handle()), std::time::Duration::from_secs(5));
    readiness.fail("the claim loop ended");
    readiness.drain();
    let answer = ask(router.clone(), Request::get("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.problem(), (503, "not-ready".to_owned()));
    assert_eq!(answer.json()["detail"], "the claim loop ended, draining");
    let metrics = router.oneshot(Request::get("/metrics").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(metrics.status(), StatusCode::OK);
}

#[tokio::test]
async fn without_postgres_the_process_is_live_and_not_ready() {
    let app = app().await;
    let asked = |path| ask(app.clone(), Request::get(path).body(Body::empty()).unwrap());
    assert_eq!(asked("/livez").await.status, StatusCode::OK);
    let answer = asked("/readyz").await;
    assert_eq!(answer.problem(), (503, "not-ready".to_owned()));
    assert_eq!(answer.json()["detail"], "the database does not answer");
}
