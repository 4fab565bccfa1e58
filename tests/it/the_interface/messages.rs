//! `POST /v1/messages` and `GET /v1/messages/{message_sid}`.

use serde_json::{Value, json};

use super::{NOON, completed, mapping, served, served_with};
use crate::harness::world::{MINUTE, Setting, account, sid};

fn mapped(action_id: &str, number: u32, state: &str) -> Value {
    json!({"action_id": action_id, "message_sid": sid(number), "account_sid": account(1), "feedback": {"state": state}})
}

fn path(number: u32) -> String {
    format!("/v1/messages/{}", sid(number))
}

#[tokio::test]
async fn a_new_mapping_is_201_and_the_same_again_200() {
    let (_world, service) = served().await;
    let whole = json!({
        "action_id": "login-7f3a", "message_sid": sid(1), "account_sid": account(1), "sent_at": "2026-11-23T11:59:30+00:00",
        "labels": {"country": "DE", "sender": "MG0123456789abcdef0123456789abcdef", "template": "login-otp", "channel": "sms"}
    });
    let answer = service.post("/v1/messages", whole.clone()).await;
    assert_eq!(answer.told(), (201, mapped("login-7f3a", 1, "none")));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(service.post("/v1/messages", whole).await.told(), (200, mapped("login-7f3a", 1, "none")));
    assert_eq!(service.post("/v1/messages", mapping("login-7f3a", 1)).await.status, 200, "less of the same");
    assert_eq!(
        service.get(&path(1)).await.told(),
        (
            200,
            json!({
                "message_sid": sid(1), "account_sid": account(1), "action_id": "login-7f3a",
                "sent_at": "2026-11-23T11:59:30Z", "registered_at": NOON,
                "labels": {
                    "country": "DE", "sender": "MG0123456789abcdef0123456789abcdef", "template": "login-otp",
                    "channel": "sms"
                },
                "feedback": {"state": "none", "attempts": 0, "due_at": null, "settled_at": null, "reason": null},
                "attempts": []
            })
        )
    );
}

#[tokio::test]
async fn what_was_left_out_is_filled_in_and_what_was_said_stands() {
    let (_world, service) = served().await;
    service.post("/v1/messages", mapping("login", 1)).await;
    let mut more = mapping("login", 1);
    more["labels"] = json!({"country": "DE"});
    assert_eq!(service.post("/v1/messages", more.clone()).await.status, 200);
    more["labels"] = json!({"country": "FR", "channel": "sms"});
    assert_eq!(service.post("/v1/messages", more).await.status, 200);
    assert_eq!(service.get(&path(1)).await.json()["labels"], json!({"country": "DE", "channel": "sms"}));
    assert_eq!(service.get(&path(1)).await.json()["sent_at"], NOON, "the moment of the mapping");
}

#[tokio::test]
async fn a_message_of_another_action_or_account_is_a_conflict_and_nothing_changes() {
    let (_world, service) = served_with(Setting { accounts: vec![account(1), account(2)], ..Setting::default() }).await;
    let body = |action_id: &str, number: u32| json!({"action_id": action_id, "message_sid": sid(1), "account_sid": account(number)});
    assert_eq!(service.post("/v1/messages", body("login", 1)).await.status, 201);
    let before = service.get(&path(1)).await.json();
    for other in [body("signup", 1), body("login", 2)] {
        let answer = service.post("/v1/messages", other).await;
        assert_eq!(answer.problem(), (409, "message-conflict".to_owned()));
        assert_eq!(answer.json()["title"], "The message is mapped to another action or account");
    }
    assert_eq!(service.get(&path(1)).await.json(), before);
    assert_eq!(service.get("/v1/actions/signup").await.status, 404);
}

#[tokio::test]
async fn the_feedback_of_a_mapping_is_told_as_it_stands() {
    let (mut world, service) = served().await;
    service.post("/v1/events", completed("e1", "login")).await;
    let answer = service.post("/v1/messages", mapping("login", 1)).await;
    assert_eq!(answer.told(), (201, mapped("login", 1, "pending")), "an event was waiting for it");
    assert_eq!(service.post("/v1/messages", mapping("login", 1)).await.told(), (200, mapped("login", 1, "pending")));
    world.drain().await;
    assert_eq!(service.post("/v1/messages", mapping("login", 1)).await.told(), (200, mapped("login", 1, "confirmed")));

    world.fault("400");
    service.post("/v1/messages", mapping("signup", 2)).await;
    service.post("/v1/events", completed("e2", "signup")).await;
    world.drain().await;
    assert_eq!(service.post("/v1/messages", mapping("signup", 2)).await.told(), (200, mapped("signup", 2, "dead")));
}

/// Takes out what is another each time.
fn without_durations(message: &mut Value) {
    for attempt in message["attempts"].as_array_mut().unwrap() {
        assert!(attempt["took_ms"].take().is_u64());
        assert!(attempt["at"].take().as_str().unwrap().starts_with("2026-11-23T1"));
        assert!(attempt["request_id"].take().as_str().unwrap().starts_with("RQ"));
    }
}

#[tokio::test]
async fn a_message_tells_of_each_attempt() {
    let (mut world, service) = served().await;
    world.fault("503;first=1");
    service.post("/v1/messages", mapping("login", 1)).await;
    service.post("/v1/events", completed("e1", "login")).await;
    world.drain().await;
    let pending = service.get(&path(1)).await.json();
    let feedback = &pending["feedback"];
    assert_eq!((&feedback["state"], &feedback["attempts"]), (&json!("pending"), &json!(1)));
    assert!("2026-11-23T12:00:00." < feedback["due_at"].as_str().unwrap(), "a second later, more or less: {feedback}");
    assert_eq!((&feedback["settled_at"], &feedback["reason"]), (&Value::Null, &Value::Null));

    world.travel(MINUTE);
    world.drain().await;
    let mut confirmed = service.get(&path(1)).await.json();
    without_durations(&mut confirmed);
    let attempt = |number: u32, status: u16, code: Value, verdict: &str, class: &str| {
        json!({"number": number, "at": null, "status": status, "code": code, "verdict": verdict, "class": class,
            "error": null, "request_id": null, "took_ms": null})
    };
    assert_eq!(
        confirmed,
        json!({
            "message_sid": sid(1), "account_sid": account(1), "action_id": "login", "sent_at": NOON, "registered_at": NOON,
            "labels": {},
            "feedback": {
                "state": "confirmed", "attempts": 2, "due_at": null, "settled_at": "2026-11-23T12:01:00Z", "reason": null
            },
            "attempts": [
                attempt(1, 503, json!(20503), "retry", "transient"),
                attempt(2, 200, Value::Null, "confirmed", "confirmed"),
            ]
        })
    );
}

#[tokio::test]
async fn a_dead_feedback_says_why() {
    let (mut world, service) = served().await;
    world.fault("400;code=20001");
    service.post("/v1/messages", mapping("login", 1)).await;
    service.post("/v1/events", completed("e1", "login")).await;
    world.drain().await;
    let message = service.get(&path(1)).await.json();
    assert_eq!(
        message["feedback"],
        json!({"state": "dead", "attempts": 1, "due_at": null, "settled_at": NOON, "reason": "rejected"})
    );
    assert_eq!((&message["attempts"][0]["status"], &message["attempts"][0]["code"]), (&json!(400), &json!(20001)));
}

#[tokio::test]
async fn several_faults_of_a_message_are_told_at_once() {
    let (_world, service) = served_with(Setting { accounts: vec![account(1), account(2)], ..Setting::default() }).await;
    let body = json!({"action_id": "ada@example.org", "message_sid": "SM1", "account_sid": account(3), "sent_at": "now",
        "labels": {"sender": "+1 555 712 2661", "phone": "x"}, "a/b": 1});
    let answer = service.post("/v1/messages", body).await;
    assert_eq!(answer.problem(), (422, "invalid-request".to_owned()));
    let told = ["/a~1b", "/action_id", "/message_sid", "/account_sid", "/sent_at", "/labels/phone", "/labels/sender"];
    assert_eq!(answer.faults(), told);
    assert_eq!(
        answer.json()["errors"][3],
        json!({"pointer": "/account_sid", "detail": "must be an account that is configured here"})
    );
    assert!(!answer.text.contains("ada") && !answer.text.contains("555"), "no value is echoed");
    let unnamed = service.post("/v1/messages", mapping("login", 1)).await;
    assert_eq!((unnamed.status, unnamed.faults()), (422, vec!["/account_sid".to_owned()]), "which of the two?");
    assert_eq!(service.get(&path(1)).await.status, 404, "nothing was mapped");
}
