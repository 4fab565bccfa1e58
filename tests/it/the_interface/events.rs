//! `POST /v1/events`.

use reqwest::Method;
use serde_json::{Value, json};

use super::{completed, mapping, served, served_with};
use crate::harness::service::{ALL, Answer, Service, json};
use crate::harness::world::{DAY, MINUTE, Setting, account, sid};

const EVENTS: &str = "/v1/events";

fn taken(event_id: &str, state: &str, sids: &[u32]) -> Value {
    let sids: Vec<_> = sids.iter().map(|number| sid(*number)).collect();
    json!({"event_id": event_id, "state": state, "message_sids": sids})
}

/// Posts an event with an `Idempotency-Key`.
async fn post_keyed(service: &Service, header: &str, body: Value) -> Answer {
    let keyed = |request| json(request, &body).header("Idempotency-Key", header);
    service.by(ALL).ask(Method::POST, EVENTS, keyed).await
}

#[tokio::test]
async fn an_event_is_202_whatever_stands_of_its_message() {
    let (mut world, service) = served().await;
    let answer = service.post(EVENTS, completed("e-parked", "signup")).await;
    assert_eq!(answer.told(), (202, taken("e-parked", "parked", &[])));

    service.post("/v1/messages", mapping("login", 1)).await;
    let answer = service.post(EVENTS, completed("e-pending", "login")).await;
    assert_eq!(answer.told(), (202, taken("e-pending", "pending", &[1])));
    assert_eq!((answer.header("content-type"), answer.header("idempotent-replayed")), ("application/json", ""));
    world.drain().await;
    let answer = service.post(EVENTS, completed("e-confirmed", "login")).await;
    assert_eq!(answer.told(), (202, taken("e-confirmed", "confirmed", &[1])));

    world.fault("400");
    service.post("/v1/messages", mapping("reset", 2)).await;
    service.post(EVENTS, completed("e2", "reset")).await;
    world.drain().await;
    let answer = service.post(EVENTS, completed("e-dead", "reset")).await;
    assert_eq!(answer.told(), (202, taken("e-dead", "dead", &[2])));
    world.is_lawful().await;
}

#[tokio::test]
async fn every_member_of_an_event_is_taken() {
    let (_world, service) = served().await;
    service.post("/v1/messages", mapping("login", 1)).await;
    let whole = json!({"event_id": "e1", "type": "otp.completed", "action_id": "login", "resolve": "latest",
        "occurred_at": "2026-11-23T13:00:42.5+01:00"});
    assert_eq!(service.post(EVENTS, whole).await.told(), (202, taken("e1", "pending", &[1])));
    let receipt = service.get("/v1/events/e1").await.json();
    assert_eq!(receipt["occurred_at"], "2026-11-23T12:00:42.500Z");
}

#[tokio::test]
async fn the_same_event_again_gets_the_same_body_whatever_came_of_it_since() {
    let (mut world, service) = served().await;
    service.post("/v1/messages", mapping("login", 1)).await;
    for (event_id, action) in [("e1", "login"), ("e2", "signup")] {
        let first = service.post(EVENTS, completed(event_id, action)).await;
        service.post("/v1/messages", mapping("signup", 2)).await;
        world.drain().await;
        let again = service.post(EVENTS, completed(event_id, action)).await;
        assert_eq!((again.status, &again.text), (202, &first.text));
        assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
        assert_eq!(world.event(event_id).await, "confirmed");
    }
    assert_eq!(world.requests(), 2);
}

#[tokio::test]
async fn the_same_key_with_another_content_is_a_mismatch_and_changes_nothing() {
    let (mut world, service) = served().await;
    service.post("/v1/messages", mapping("login", 1)).await;
    service.post("/v1/messages", mapping("signup", 2)).await;
    service.post(EVENTS, completed("e1", "login")).await;
    for other in [
        completed("e1", "signup"),
        json!({"event_id": "e1", "action_id": "login", "resolve": "all"}),
        json!({"event_id": "e1", "action_id": "login", "occurred_at": "2026-11-23T10:00:00Z"}),
        json!({"event_id": "e1", "message_sid": sid(1)}),
    ] {
        let answer = service.post(EVENTS, other.clone()).await;
        assert_eq!(answer.problem(), (422, "idempotency-mismatch".to_owned()), "{other}");
        assert_eq!(answer.header("idempotent-replayed"), "");
    }
    assert_eq!(world.drain().await, 1);
    assert_eq!(service.get(&format!("/v1/messages/{}", sid(2))).await.json()["feedback"]["state"], "none");
    world.is_lawful().await;
}

#[tokio::test]
async fn the_key_may_stand_in_the_header_in_the_body_or_in_both() {
    let (_world, service) = served().await;
    let body = json!({"action_id": "login"});
    let answer = post_keyed(&service, "\"e1\"", body.clone()).await;
    assert_eq!(answer.told(), (202, taken("e1", "parked", &[])));
    for (header, body) in [
        ("e1", body.clone()),
        ("\"e1\"", completed("e1", "login")),
        ("e1", json!({"action_id": "login", "event_id": null})),
    ] {
        let again = post_keyed(&service, header, body).await;
        assert_eq!((again.told(), again.header("idempotent-replayed")), ((202, taken("e1", "parked", &[])), "true"));
    }
    assert_eq!(service.post(EVENTS, completed("e1", "login")).await.header("idempotent-replayed"), "true");

    let differing = post_keyed(&service, "\"e2\"", completed("e1", "login")).await;
    assert_eq!((differing.problem().0, differing.faults()), (422, vec!["/event_id".to_owned()]));
    let broken = post_keyed(&service, "\"e2", body.clone()).await;
    assert_eq!((broken.problem().0, broken.faults()), (422, vec!["Idempotency-Key".to_owned()]));
    let neither = service.post(EVENTS, body).await;
    assert_eq!((neither.problem().0, neither.faults()), (422, vec!["/event_id".to_owned()]));
    assert_eq!(service.get("/v1/events/e2").await.status, 404);
}

#[tokio::test]
async fn an_event_may_name_its_message_and_so_map_it() {
    let (mut world, service) = served().await;
    let answer = service.post(EVENTS, json!({"event_id": "e1", "message_sid": sid(1)})).await;
    assert_eq!(answer.told(), (202, taken("e1", "pending", &[1])));
    let message = service.get(&format!("/v1/messages/{}", sid(1))).await.json();
    assert_eq!((&message["action_id"], &message["account_sid"]), (&Value::Null, &json!(account(1))));
    world.drain().await;
    let exact = json!({"event_id": "e2", "message_sid": sid(1), "account_sid": account(1), "action_id": "login",
        "resolve": "exact"});
    assert_eq!(service.post(EVENTS, exact).await.told(), (202, taken("e2", "confirmed", &[1])));
    assert_eq!(service.get(&format!("/v1/messages/{}", sid(1))).await.json()["action_id"], "login");

    let elsewhere = json!({"event_id": "e3", "message_sid": sid(1), "action_id": "signup"});
    assert_eq!(service.post(EVENTS, elsewhere).await.problem(), (409, "message-conflict".to_owned()));
    assert_eq!(service.get("/v1/events/e3").await.status, 404, "it was not taken");
    world.is_lawful().await;
}

#[tokio::test]
async fn an_event_of_an_account_that_is_not_known_is_a_fault() {
    let setting = Setting { accounts: vec![account(1), account(2)], ..Setting::default() };
    let (_world, service) = served_with(setting).await;
    let event = |body: Value| service.post(EVENTS, body);
    for body in [
        json!({"event_id": "e1", "message_sid": sid(1)}),
        json!({"event_id": "e1", "message_sid": sid(1), "account_sid": account(3)}),
        json!({"event_id": "e1", "action_id": "login", "account_sid": account(1)}),
    ] {
        let answer = event(body.clone()).await;
        assert_eq!(answer.problem(), (422, "invalid-request".to_owned()), "{body}");
        assert_eq!(answer.faults(), ["/account_sid"], "{body}");
    }
    let answer = event(json!({"event_id": "e1", "message_sid": sid(1), "account_sid": account(2)})).await;
    assert_eq!(answer.told(), (202, taken("e1", "pending", &[1])));
}

#[tokio::test]
async fn an_event_confirms_the_latest_message_or_all_of_them() {
    let (mut world, service) = served().await;
    for number in 1..=2 {
        service.post("/v1/messages", mapping("login", number)).await;
        service.post("/v1/messages", mapping("signup", 10 + number)).await;
        world.travel(MINUTE);
    }
    assert_eq!(service.post(EVENTS, completed("e1", "login")).await.told(), (202, taken("e1", "pending", &[2])));
    let all = json!({"event_id": "e2", "action_id": "signup", "resolve": "all"});
    assert_eq!(service.post(EVENTS, all).await.told(), (202, taken("e2", "pending", &[12, 11])), "the latest first");
    assert_eq!(world.drain().await, 3);
}

#[tokio::test]
async fn an_event_is_never_too_late() {
    let (mut world, service) = served().await;
    service.post("/v1/messages", mapping("login", 1)).await;
    world.travel(80 * DAY);
    let mut event = completed("e1", "login");
    event["occurred_at"] = "2026-11-23T12:01:00Z".into();
    assert_eq!(service.post(EVENTS, event).await.told(), (202, taken("e1", "pending", &[1])));
    assert_eq!(world.drain().await, 1);
}

#[tokio::test]
async fn several_faults_of_an_event_are_told_at_once_and_it_is_not_taken() {
    let (world, service) = served().await;
    let body = json!({"event_id": "e 1", "type": "otp.sent", "message_sid": "SM1", "resolve": "all", "occurred_at": 7,
        "phone": "+15557122661"});
    let answer = service.post(EVENTS, body).await;
    assert_eq!(answer.problem(), (422, "invalid-request".to_owned()));
    assert_eq!(answer.faults(), ["/phone", "/event_id", "/type", "/occurred_at", "/resolve", "/message_sid"]);
    let id = answer.header("x-request-id");
    assert_eq!(answer.json()["instance"], format!("urn:confirmd:request:{id}"));
    assert!(!answer.text.contains("5557122661"), "a fault never echoes its value");
    assert_eq!(world.store.upkeep.audit().await.unwrap().accepted, 0);
}
