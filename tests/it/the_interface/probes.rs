//! `/livez`, `/readyz`, `/openapi.json`, `/docs`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::served;
use crate::harness::documented::routes;
use crate::harness::service::{Answer, Service};

async fn asked(service: &Service, path: &str) -> Answer {
    service.by_nobody().get(path).await
}

#[tokio::test]
async fn a_process_that_works_is_live_and_ready() {
    let (_world, service) = served().await;
    assert_eq!(asked(&service, "/livez").await.told(), (200, json!({"status": "live"})));
    assert_eq!(asked(&service, "/readyz").await.told(), (200, json!({"status": "ready"})));
}

#[tokio::test]
async fn a_process_that_drains_wants_no_traffic_and_still_answers() {
    let (_world, service) = served().await;
    service.readiness.drain();
    let answer = asked(&service, "/readyz").await;
    assert_eq!(answer.problem(), (503, "not-ready".to_owned()));
    assert_eq!(answer.json()["detail"], "draining");
    assert_eq!(asked(&service, "/livez").await.status, 200);
    let taken = service.post("/v1/events", super::completed("e1", "login")).await;
    assert_eq!(taken.status, 202, "whoever comes all the same is served");
}

#[tokio::test]
async fn a_process_that_lost_a_loop_wants_no_traffic_and_says_which() {
    let (_world, service) = served().await;
    service.readiness.fail("a writer ended");
    let answer = asked(&service, "/readyz").await;
    assert_eq!(answer.problem(), (503, "not-ready".to_owned()));
    assert_eq!(answer.json()["detail"], "a writer ended");
    assert_eq!(asked(&service, "/livez").await.status, 200, "restarting is for whoever watches");
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_whole() {
    let (_world, service) = served().await;
    let answer = asked(&service, "/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!((&document["info"]["title"], document["info"]["version"].is_string()), (&json!("confirmd"), true));
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let route = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{route}");
            assert!(operation["summary"].is_string(), "{route}");
            let named: BTreeSet<_> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let told = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let told: BTreeSet<_> = told.map(|parameter| parameter["name"].as_str().unwrap()).collect();
            assert_eq!(named, told, "{route}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(status == "default" || status.parse::<u16>().is_ok_and(|status| (200..600).contains(&status)));
                assert!(response["description"].is_string(), "{route} {status}");
            }
            let needs_token = operation["security"][0]["bearer"].is_array();
            assert_eq!(needs_token, path.starts_with("/v1/"), "{route}");
        }
    }
    assert_eq!(ids.len(), routes().len());
    every_reference_leads_somewhere(&document, &document);
    every_type_is_of_json_schema(&document);
}

fn every_reference_leads_somewhere(document: &Value, value: &Value) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            members.values().for_each(|member| every_reference_leads_somewhere(document, member));
        }
        Value::Array(items) => items.iter().for_each(|item| every_reference_leads_somewhere(document, item)),
        _ => {}
    }
}

/// `nullable` is of OpenAPI 3.0; 3.1 has JSON Schema's own types, `null` among them.
fn every_type_is_of_json_schema(document: &Value) {
    const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
    let text = document.to_string();
    assert!(!text.contains("\"nullable\""));
    for schema in document["components"]["schemas"].as_object().unwrap().values() {
        for member in schema["properties"].as_object().into_iter().flat_map(|members| members.values()) {
            let types = member["type"].as_array().cloned().unwrap_or_else(|| vec![member["type"].clone()]);
            for kind in types.iter().filter_map(Value::as_str) {
                assert!(TYPES.contains(&kind), "{kind}");
            }
        }
    }
}

#[tokio::test]
async fn the_page_asks_nobody_but_this_service() {
    let (_world, service) = served().await;
    let moved = asked(&service, "/docs").await;
    assert_eq!((moved.status, moved.header("location")), (303, "/docs/"));
    let page = asked(&service, "/docs/").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    // What the page loads, and what these start: none of it names another host.
    let mut loaded = vec!["swagger-initializer.js".to_owned()];
    for attribute in ["src=\"", "href=\""] {
        loaded.extend(page.text.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    assert!(4 < loaded.len(), "{loaded:?}");
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "{}", page.text);
    for path in loaded {
        let path = path.trim_start_matches("./");
        assert!(!path.contains("//"), "{path}");
        let part = asked(&service, &format!("/docs/{path}")).await;
        assert_eq!(part.status, 200, "{path}");
        if path.ends_with("initializer.js") {
            assert!(!part.text.contains("http://") && !part.text.contains("https://"), "{}", part.text);
            assert!(part.text.contains("/openapi.json"), "{}", part.text);
        }
    }
}
