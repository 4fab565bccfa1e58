//! `GET /v1/lanes`, `POST /v1/lanes/{account_sid}/pause` and `…/resume`.

use confirmd::store::LaneReport;
use reqwest::Method;
use serde_json::{Value, json};

use super::{NOON, completed, mapping, served, served_with};
use crate::harness::service::ALL;
use crate::harness::world::{DAY, HOUR, Setting, account, noon};

const LANES: &str = "/v1/lanes";

fn lane(number: u32, paused: Value) -> Value {
    json!({"account_sid": account(number), "paused": paused, "pending": 0, "leased": 0, "oldest_due_at": null, "dead": 0, "shadowed": 0,
        "replicas": []})
}

fn command(number: u32, command: &str) -> String {
    format!("/v1/lanes/{}/{command}", account(number))
}

#[tokio::test]
async fn every_lane_is_listed_as_all_replicas_see_it() {
    let setting = Setting { accounts: vec![account(1), account(2)], ..Setting::default() };
    let (mut world, service) = served_with(setting).await;
    let idle = json!({"items": [lane(1, Value::Null), lane(2, Value::Null)]});
    assert_eq!(service.get(LANES).await.told(), (200, idle));

    let report = LaneReport {
        replica: "here".to_owned(),
        limit: 8,
        in_flight: 3,
        breaker: "half_open".to_owned(),
        shadow: true,
        reported_at: noon(),
    };
    world.store.outbox.report(&account(1), &report).await.unwrap();
    world.fault("400;first=1");
    for number in 1..=3 {
        let mut told = mapping(&format!("login-{number}"), number);
        told["account_sid"] = json!(account(1));
        service.post("/v1/messages", told).await;
        service.post("/v1/events", completed(&format!("e{number}"), &format!("login-{number}"))).await;
        if number == 1 {
            world.drain().await;
        }
    }
    let mut busy = lane(1, Value::Null);
    busy["pending"] = 2.into();
    busy["leased"] = 2.into();
    busy["oldest_due_at"] = NOON.into();
    busy["dead"] = 1.into();
    busy["replicas"] = json!([{"replica": "here", "limit": 8, "in_flight": 3, "breaker": "half_open", "shadow": true, "reported_at": NOON}]);
    assert_eq!(service.get(LANES).await.json(), json!({"items": [busy, lane(2, Value::Null)]}));
    world.travel(HOUR);
    let later = service.get(LANES).await.json();
    assert_eq!((&later["items"][0]["leased"], &later["items"][0]["replicas"]), (&json!(0), &json!([])), "long ago");
}

#[tokio::test]
async fn a_paused_lane_sends_nothing_until_it_is_resumed() {
    let (mut world, service) = served().await;
    let paused = json!({"reason": "operator: login: token rotation", "since": NOON, "probe_at": null});
    let answer = service.post(&command(1, "pause"), json!({"reason": "token rotation"})).await;
    assert_eq!(answer.told(), (200, lane(1, paused.clone())));
    world.drain().await;
    service.post("/v1/messages", mapping("login", 1)).await;
    let taken = service.post("/v1/events", completed("e1", "login")).await;
    assert_eq!((taken.status, &taken.json()["state"]), (202, &json!("pending")), "callers never wait for a lane");
    world.travel(DAY);
    assert_eq!(world.drain().await, 0);
    let mut waiting = lane(1, paused);
    waiting["pending"] = 1.into();
    waiting["oldest_due_at"] = NOON.into();
    assert_eq!(service.get(LANES).await.json(), json!({"items": [waiting]}));
    assert_eq!(world.feedback(1).await, "pending@0 lane paused: login: token rotation");

    let again = service.post(&command(1, "pause"), json!({})).await.json();
    assert_eq!(again["paused"], json!({"reason": "operator: login", "since": NOON, "probe_at": null}));

    let resumed = service.by(ALL).ask(Method::POST, &command(1, "resume"), |request| request).await;
    assert_eq!((resumed.status, &resumed.json()["paused"], &resumed.json()["pending"]), (200, &Value::Null, &json!(1)));
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.feedback(1).await, "confirmed@1");
    assert_eq!(service.get(LANES).await.json(), json!({"items": [lane(1, Value::Null)]}));
}

#[tokio::test]
async fn a_pause_needs_no_reason_and_no_body() {
    let (_world, service) = served().await;
    let paused = json!({"reason": "operator: login", "since": NOON, "probe_at": null});
    let bare = service.by(ALL).ask(Method::POST, &command(1, "pause"), |request| request).await;
    assert_eq!(bare.told(), (200, lane(1, paused.clone())));
    for body in [json!({}), json!({"reason": null}), Value::Null] {
        assert_eq!(service.post(&command(1, "pause"), body).await.told(), (200, lane(1, paused.clone())));
    }
}

#[tokio::test]
async fn a_pause_for_a_fault_of_the_account_says_when_it_is_probed_and_can_be_resumed() {
    let (mut world, service) = served().await;
    world.fault("401;first=1");
    service.post("/v1/messages", mapping("login", 1)).await;
    service.post("/v1/events", completed("e1", "login")).await;
    world.drain().await;
    let paused = service.get(LANES).await.json()["items"][0]["paused"].clone();
    let told = json!({"reason": "Twilio answered 401, code 20003", "since": NOON, "probe_at": "2026-11-23T12:01:00Z"});
    assert_eq!(paused, told);
    service.post("/v1/messages", mapping("signup", 2)).await;
    service.post("/v1/events", completed("e2", "signup")).await;
    assert_eq!(world.drain().await, 0);
    service.post(&command(1, "resume"), json!({})).await;
    assert_eq!(world.drain().await, 1, "at once, without waiting for the probe");
    assert_eq!(service.get("/v1/events/e2").await.json()["state"], "confirmed");
}

#[tokio::test]
async fn a_lane_that_is_not_configured_is_not_found_and_a_faulty_reason_is_told() {
    let (_world, service) = served().await;
    for path in [command(2, "pause"), command(2, "resume"), "/v1/lanes/AC1/pause".to_owned(), command(1, "stop")] {
        assert_eq!(service.post(&path, json!({})).await.problem(), (404, "not-found".to_owned()), "{path}");
    }
    let answer = service.post(&command(1, "pause"), json!({"reason": "ask +1 555 712 2661", "until": 1})).await;
    assert_eq!((answer.problem().0, answer.faults()), (422, vec!["/until".to_owned(), "/reason".to_owned()]));
    assert_eq!(service.get(LANES).await.json()["items"][0]["paused"], Value::Null);
}
