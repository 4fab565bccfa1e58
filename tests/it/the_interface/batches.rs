//! `POST /v1/events/batch`.

use reqwest::Method;
use serde_json::{Value, json};

use super::{completed, mapping, served};
use crate::harness::service::{ALL, faults};
use crate::harness::world::sid;

const BATCH: &str = "/v1/events/batch";

fn ok(event_id: &str, state: &str, sids: &[u32]) -> Value {
    let sids: Vec<_> = sids.iter().map(|number| sid(*number)).collect();
    json!({"event_id": event_id, "status": 202, "state": state, "message_sids": sids})
}

/// An item's id, its status, the name of its problem, its pointers.
fn refused(result: &Value) -> (Option<&str>, u64, &str, Vec<String>) {
    let problem = &result["problem"];
    assert_eq!(problem["status"], result["status"]);
    assert_eq!(problem.get("instance"), None, "it is the request that has one");
    let kind = problem["type"].as_str().unwrap().strip_prefix("urn:confirmd:problem:").unwrap();
    (result["event_id"].as_str(), result["status"].as_u64().unwrap(), kind, faults(problem))
}

#[tokio::test]
async fn each_item_has_its_own_answer_in_the_order_of_the_request() {
    let (mut world, service) = served().await;
    service.post("/v1/messages", mapping("login", 1)).await;
    service.post("/v1/events", completed("before", "login")).await;
    let mut oversize = completed("oversize", "login");
    oversize["type"] = "x".repeat(17 << 10).into();
    let answer = service
        .post(
            BATCH,
            json!({"events": [
                completed("good", "login"),
                {"event_id": "bad", "message_sid": "SM1", "phone": 1},
                oversize,
                completed("good", "login"),
                completed("before", "login"),
                completed("before", "signup"),
                {"event_id": "foreign", "action_id": "signup", "message_sid": sid(1)},
                completed("parked", "signup"),
                {"action_id": "login"},
                7,
                {"event_id": "exact", "message_sid": sid(2)},
            ]}),
        )
        .await;
    assert_eq!((answer.status, answer.header("idempotent-replayed")), (200, ""));
    let body = answer.json();
    let results = body["results"].as_array().unwrap();
    let replayed = |mut result: Value| {
        result["replayed"] = true.into();
        result
    };
    let pointers = |told: &[&str]| told.iter().map(|pointer| (*pointer).to_owned()).collect::<Vec<_>>();
    assert_eq!(results.len(), 11);
    assert_eq!(results[0], ok("good", "pending", &[1]));
    assert_eq!(
        refused(&results[1]),
        (Some("bad"), 422, "invalid-request", pointers(&["/phone", "/message_sid"])),
        "pointers start at the item"
    );
    assert_eq!(refused(&results[2]), (None, 413, "payload-too-large", pointers(&[])));
    assert_eq!(results[3], replayed(ok("good", "pending", &[1])));
    assert_eq!(results[4], replayed(ok("before", "pending", &[1])));
    assert_eq!(refused(&results[5]), (Some("before"), 422, "idempotency-mismatch", pointers(&[])));
    assert_eq!(refused(&results[6]), (Some("foreign"), 409, "message-conflict", pointers(&[])));
    assert_eq!(results[7], ok("parked", "parked", &[]));
    assert_eq!(refused(&results[8]), (None, 422, "invalid-request", pointers(&["/event_id"])));
    assert_eq!(refused(&results[9]), (None, 422, "invalid-request", pointers(&[""])));
    assert_eq!(results[10], ok("exact", "pending", &[2]));

    assert_eq!(world.drain().await, 2);
    assert_eq!(service.get("/v1/events/foreign").await.status, 404);
    assert_eq!(world.store.upkeep.audit().await.unwrap().accepted, 4);
    world.is_lawful().await;
}

#[tokio::test]
async fn the_header_says_nothing_for_a_batch() {
    let (_world, service) = served().await;
    let body = json!({"events": [{"action_id": "login"}]});
    let keyed = |request| crate::harness::service::json(request, &body).header("Idempotency-Key", "e1");
    let answer = service.by(ALL).ask(Method::POST, BATCH, keyed).await;
    assert_eq!(refused(&answer.json()["results"][0]).3, ["/event_id"]);
}

#[tokio::test]
async fn a_thousand_events_are_taken_at_once_and_the_same_again_is_replayed() {
    let (mut world, service) = served().await;
    service.post("/v1/messages", mapping("login", 1)).await;
    let events: Vec<_> = (0..1000).map(|number| completed(&format!("e{number}"), "login")).collect();
    let batch = json!({"events": events});
    let first = service.post(BATCH, batch.clone()).await.json();
    let again = service.post(BATCH, batch).await.json();
    for (number, (first, again)) in
        first["results"].as_array().unwrap().iter().zip(again["results"].as_array().unwrap()).enumerate()
    {
        assert_eq!(*first, ok(&format!("e{number}"), "pending", &[1]));
        assert_eq!(again["replayed"], true);
        assert_eq!((&again["state"], &again["message_sids"]), (&first["state"], &first["message_sids"]));
    }
    assert_eq!(world.drain().await, 1, "one message, one request");
    world.is_lawful().await;
}

#[tokio::test]
async fn a_batch_that_is_none_is_refused_whole() {
    let (world, service) = served().await;
    let too_many: Vec<_> = (0..1001).map(|number| completed(&format!("e{number}"), "login")).collect();
    for (body, told) in [
        (json!({}), vec!["/events"]),
        (json!({"events": []}), vec!["/events"]),
        (json!({"events": {}}), vec!["/events"]),
        (json!({"events": too_many}), vec!["/events"]),
        (json!({"events": [completed("e1", "login")], "more": 1}), vec!["/more"]),
        (json!([completed("e1", "login")]), vec![""]),
    ] {
        let answer = service.post(BATCH, body).await;
        assert_eq!((answer.problem().0, answer.faults()), (422, told.iter().map(|told| (*told).to_owned()).collect()));
    }
    let large = json!({"events": [completed("e1", &"a".repeat(1 << 20))]});
    assert_eq!(service.post(BATCH, large).await.problem(), (413, "payload-too-large".to_owned()));
    assert_eq!(world.store.upkeep.audit().await.unwrap().accepted, 0);
}
