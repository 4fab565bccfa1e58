//! `GET /v1/events/{event_id}` and `GET /v1/actions/{action_id}`.

use std::time::Duration;

use chrono::DateTime;
use serde_json::{Value, json};

use super::{NOON, completed, mapping, served};
use crate::harness::world::{DAY, HOUR, MINUTE, account, key, sid};

const SECOND: Duration = Duration::from_secs(1);

/// Each line of a receipt's history: what, and its detail.
fn history(receipt: &Value) -> Vec<String> {
    let line = |happening: &Value| {
        let words = ["what", "detail"].map(|member| happening[member].as_str().unwrap_or_default());
        words.join(" ").trim().to_owned()
    };
    let history = receipt["history"].as_array().unwrap();
    let at = |happening: &Value| DateTime::parse_from_rfc3339(happening["at"].as_str().unwrap()).unwrap();
    assert!(history.is_sorted_by_key(at), "oldest first: {history:?}");
    history.iter().map(line).collect()
}

#[tokio::test]
async fn a_receipt_tells_what_was_taken_and_what_became_of_it() {
    let (mut world, service) = served().await;
    service.post("/v1/messages", mapping("login", 1)).await;
    let mut event = completed("e1", "login");
    event["occurred_at"] = "2026-11-23T11:59:58Z".into();
    service.post("/v1/events", event).await;
    assert_eq!(
        service.get("/v1/events/e1").await.told(),
        (
            200,
            json!({
                "event_id": "e1", "state": "pending", "action_id": "login", "message_sids": [sid(1)],
                "occurred_at": "2026-11-23T11:59:58Z", "accepted_at": NOON,
                "history": [{"at": NOON, "what": "accepted"}]
            })
        )
    );
    world.travel(SECOND);
    world.drain().await;
    let receipt = service.get("/v1/events/e1").await.json();
    assert_eq!(receipt["state"], "confirmed");
    assert_eq!(history(&receipt), ["accepted", "attempt #1 200 confirmed", "confirmed"]);
    assert_eq!(
        receipt["history"][2],
        json!({"at": "2026-11-23T12:00:01Z", "what": "confirmed", "message_sid": sid(1)})
    );
}

#[tokio::test]
async fn a_receipt_tells_of_parking_resolving_and_retries() {
    let (mut world, service) = served().await;
    world.fault("503;first=1");
    service.post("/v1/events", completed("e1", "login")).await;
    let parked = service.get("/v1/events/e1").await.json();
    assert_eq!((&parked["state"], &parked["message_sids"]), (&json!("parked"), &json!([])));
    assert_eq!(parked["occurred_at"], NOON, "the moment it was told, as it does not say");
    world.travel(HOUR);
    service.post("/v1/messages", mapping("login", 1)).await;
    world.travel(SECOND);
    world.drain().await;
    assert_eq!(service.get("/v1/events/e1").await.json()["state"], "pending");
    world.travel(MINUTE);
    world.drain().await;
    let receipt = service.get("/v1/events/e1").await.json();
    assert_eq!((&receipt["state"], &receipt["message_sids"]), (&json!("confirmed"), &json!([sid(1)])));
    let told = history(&receipt);
    assert_eq!(
        told,
        [
            "accepted",
            "parked",
            "resolved",
            "attempt #1 503 code 20503 retry transient",
            "attempt #2 200 confirmed",
            "confirmed"
        ]
    );
    assert_eq!(receipt["history"][2], json!({"at": "2026-11-23T13:00:00Z", "what": "resolved", "message_sid": sid(1)}));
}

#[tokio::test]
async fn a_receipt_of_a_late_event_begins_with_what_came_before_it() {
    let (mut world, service) = served().await;
    service.post("/v1/messages", mapping("login", 1)).await;
    service.post("/v1/events", completed("e1", "login")).await;
    world.drain().await;
    world.travel(HOUR);
    service.post("/v1/events", completed("e2", "login")).await;
    let receipt = service.get("/v1/events/e2").await.json();
    assert_eq!(history(&receipt), ["attempt #1 200 confirmed", "confirmed", "accepted"]);
}

#[tokio::test]
async fn a_receipt_says_why_its_message_was_given_up() {
    let (mut world, service) = served().await;
    world.fault("400");
    service.post("/v1/messages", mapping("login", 1)).await;
    service.post("/v1/events", completed("e1", "login")).await;
    world.travel(SECOND);
    world.drain().await;
    let receipt = service.get("/v1/events/e1").await.json();
    assert_eq!(receipt["state"], "dead");
    assert_eq!(history(&receipt).last().unwrap(), "dead rejected");
}

#[tokio::test]
async fn a_receipt_of_an_event_whose_message_never_came_is_expired() {
    let (world, service) = served().await;
    service.post("/v1/events", completed("e1", "login")).await;
    world.travel(7 * DAY);
    world.store.upkeep.expire_parked().await.unwrap();
    let receipt = service.get("/v1/events/e1").await.json();
    assert_eq!(receipt["state"], "expired");
    assert_eq!(history(&receipt), ["accepted", "parked", "expired"]);
    assert_eq!(receipt["history"][2]["at"], "2026-11-30T12:00:00Z");
}

#[tokio::test]
async fn a_receipt_of_an_event_that_named_no_action_has_none() {
    let (_world, service) = served().await;
    service.post("/v1/events", json!({"event_id": "e1", "message_sid": sid(1)})).await;
    let receipt = service.get("/v1/events/e1").await.json();
    assert_eq!((&receipt["action_id"], &receipt["message_sids"]), (&Value::Null, &json!([sid(1)])));
}

#[tokio::test]
async fn every_id_that_is_taken_can_be_read_back() {
    let (_world, service) = served().await;
    for (id, path) in [("a/b", "a%2Fb"), ("100%", "100%25"), ("?#", "%3F%23"), ("batch", "batch")] {
        let id = json!(id);
        let taken = service.post("/v1/events", json!({"event_id": id, "action_id": id})).await;
        assert_eq!(taken.status, 202, "{id}");
        assert_eq!(service.get(&format!("/v1/events/{path}")).await.json()["event_id"], id);
        assert_eq!(service.get(&format!("/v1/actions/{path}")).await.json()["action_id"], id);
    }
}

/// The event that was the first of its message stands nowhere else.
#[tokio::test]
async fn an_action_and_a_message_show_the_event_by_which_they_were_owed() {
    let (mut world, service) = served().await;
    service.post("/v1/messages", mapping("login", 1)).await;
    service.post("/v1/events", completed("e1", "login")).await;
    service.post("/v1/messages", mapping("signup", 2)).await;
    service.post("/v1/messages", mapping("reset", 3)).await;
    for (event_id, number) in [("e2", 2), ("e3", 3)] {
        let mut exact = completed(event_id, "signup");
        exact["message_sid"] = json!(sid(number));
        exact["account_sid"] = json!(account(1));
        if number == 3 {
            exact.as_object_mut().unwrap().remove("action_id");
        }
        service.post("/v1/events", exact).await;
    }
    world.drain().await;
    for (action, event_id) in [("login", "e1"), ("signup", "e2")] {
        let told = service.get(&format!("/v1/actions/{action}")).await.json();
        assert_eq!(told["events"], json!([{"event_id": event_id, "state": "confirmed"}]));
    }
    for (number, event_id) in [(1, "e1"), (2, "e2"), (3, "e3")] {
        assert_eq!(world.store.ledger.events_of_message(&sid(number)).await.unwrap(), [key(event_id)]);
    }
}

#[tokio::test]
async fn an_action_shows_its_messages_and_events_and_where_they_stand() {
    let (mut world, service) = served().await;
    service.post("/v1/events", completed("e1", "login")).await;
    assert_eq!(
        service.get("/v1/actions/login").await.told(),
        (200, json!({"action_id": "login", "messages": [], "events": [{"event_id": "e1", "state": "parked"}]}))
    );
    world.travel(MINUTE);
    let mut second = mapping("login", 2);
    second["sent_at"] = "2026-11-23T12:01:00Z".into();
    service.post("/v1/messages", second).await;
    let mut first = mapping("login", 1);
    first["sent_at"] = "2026-11-23T11:59:00Z".into();
    service.post("/v1/messages", first).await;
    world.drain().await;
    world.travel(MINUTE);
    service.post("/v1/events", completed("e2", "login")).await;
    let (status, action) = service.get("/v1/actions/login").await.told();
    assert_eq!(status, 200);
    let message = |number: u32, sent_at: &str, state: &str| json!({"message_sid": sid(number), "account_sid": account(1), "sent_at": sent_at, "feedback": {"state": state}});
    assert_eq!(
        action,
        json!({
            "action_id": "login",
            "messages": [
                message(1, "2026-11-23T11:59:00Z", "none"),
                message(2, "2026-11-23T12:01:00Z", "confirmed"),
            ],
            "events": [{"event_id": "e1", "state": "confirmed"}, {"event_id": "e2", "state": "confirmed"}]
        })
    );
}

#[tokio::test]
async fn what_nobody_told_is_not_found() {
    let (_world, service) = served().await;
    for path in ["/v1/events/e1", "/v1/actions/login", &format!("/v1/messages/{}", sid(1))] {
        assert_eq!(service.get(path).await.problem(), (404, "not-found".to_owned()), "{path}");
    }
}
