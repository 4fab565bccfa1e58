//! What is wrong with a request is told, all of it at once, and nothing wrong gets any further.

use axum::body::Body;
use serde_json::json;

use super::{ACCOUNT, MESSAGE, app, app_with, ask, faults, json_to, post};
use crate::intake::document::{LARGE, SMALL};

const OTHER_ACCOUNT: &str = "ACffffffffffffffffffffffffffffffff";

#[tokio::test]
async fn what_is_no_json_is_malformed() {
    let deep = "[".repeat(8000);
    for path in ["/v1/events", "/v1/messages", "/v1/events/batch", "/v1/dead-letters/replay"] {
        for body in [
            &b""[..],
            b" ",
            b"{",
            b"{}{}",
            b"{\"a\"}",
            b"\xef\xbb\xbf{}",
            b"{\"event_id\":\"\xff\"}",
            b"{\"event_id\":\"\xc0\x80\"}",
            b"{'a':1}",
            b"nul",
            b"{\"a\":01}",
            deep.as_bytes(),
        ] {
            let answer = post(path, body.to_vec()).await;
            assert_eq!(answer.problem(), (400, "invalid-request".to_owned()), "{path} {body:?}");
        }
    }
    for body in ["{\"event_id\":\"\\ud800\"}", "{\"event_id\":1e400}"] {
        assert_eq!(post("/v1/events", body).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn a_body_must_be_an_object() {
    for path in ["/v1/events", "/v1/messages", "/v1/events/batch", "/v1/dead-letters/replay"] {
        for body in ["null", "1", "-1", "1.5", "true", "\"a\"", "[]", "[{}]"] {
            let answer = post(path, body).await;
            assert_eq!((answer.status.as_u16(), answer.faults()), (422, vec![String::new()]), "{path} {body}");
        }
    }
}

#[tokio::test]
async fn all_faults_of_an_event_are_told_at_once() {
    for (body, told) in [
        (json!({}), vec!["/event_id", "/action_id"]),
        (json!({"event_id": null, "action_id": null}), vec!["/event_id", "/action_id"]),
        (json!({"event_id": 1, "action_id": [], "occurred_at": {}}), vec!["/event_id", "/occurred_at", "/action_id"]),
        (json!({"event_id": "e", "action_id": "a", "type": "otp.sent"}), vec!["/type"]),
        (json!({"event_id": "e", "action_id": "a", "resolve": "first"}), vec!["/resolve"]),
        (json!({"event_id": "e", "action_id": "a", "resolve": "exact"}), vec!["/message_sid"]),
        (json!({"event_id": "e", "resolve": "exact"}), vec!["/message_sid"]),
        (json!({"event_id": "e", "message_sid": MESSAGE, "resolve": "all"}), vec!["/resolve"]),
        (json!({"event_id": "e", "message_sid": "SM1", "account_sid": "AC1"}), vec!["/account_sid", "/message_sid"]),
        (json!({"event_id": "e", "message_sid": MESSAGE, "account_sid": OTHER_ACCOUNT}), vec!["/account_sid"]),
        (json!({"event_id": "e", "action_id": "a", "account_sid": ACCOUNT}), vec!["/account_sid"]),
        (json!({"event_id": "e", "action_id": "a", "occurred_at": "2026-11-23T10:00:00"}), vec!["/occurred_at"]),
        (json!({"event_id": "e", "action_id": "a", "phone": 1, "a/b~": 2}), vec!["/a~1b~0", "/phone"]),
        (json!({"event_id": "+15557122661", "action_id": "ada@example.org"}), vec!["/event_id", "/action_id"]),
        (json!({"event_id": "e\u{0}", "action_id": "\u{2028}"}), vec!["/event_id", "/action_id"]),
    ] {
        let answer = post("/v1/events", body.to_string()).await;
        assert_eq!(answer.problem(), (422, "invalid-request".to_owned()), "{body}");
        assert_eq!(answer.faults(), told, "{body}");
    }
}

#[tokio::test]
async fn every_way_to_say_it_right_reaches_the_store() {
    let moment = "2026-11-23T10:00:42.123+01:00";
    let labels = json!({"country": "DE", "sender": null, "template": "login otp", "channel": "sms"});
    for (path, body) in [
        ("/v1/messages", json!({"action_id": "a", "message_sid": MESSAGE})),
        ("/v1/messages", json!({"action_id": "1", "message_sid": MESSAGE, "account_sid": ACCOUNT, "sent_at": moment})),
        ("/v1/messages", json!({"action_id": "a", "message_sid": MESSAGE, "labels": labels})),
        ("/v1/messages", json!({"action_id": "a", "message_sid": MESSAGE, "labels": null, "account_sid": null})),
        ("/v1/events", json!({"event_id": "e", "action_id": "a"})),
        ("/v1/events", json!({"event_id": "e", "action_id": "a", "type": "otp.completed", "occurred_at": moment})),
        ("/v1/events", json!({"event_id": "e", "action_id": "a", "resolve": "all", "message_sid": null})),
        ("/v1/events", json!({"event_id": "e", "message_sid": MESSAGE})),
        ("/v1/events", json!({"event_id": "e", "message_sid": MESSAGE, "action_id": "a", "resolve": "exact"})),
        ("/v1/events", json!({"event_id": "e", "message_sid": MESSAGE, "account_sid": ACCOUNT, "resolve": "latest"})),
    ] {
        let answer = post(path, body.to_string()).await;
        assert_eq!(answer.problem(), (503, "unavailable".to_owned()), "{path} {body}");
        assert!(answer.headers.contains_key("retry-after"));
    }
}

#[tokio::test]
async fn an_item_that_is_right_is_not_taken_down_by_one_that_is_wrong() {
    let body = r#"{"events":[{"event_id":"e","action_id":"a"},{"event_id":"f"},{"event_id":"g","action_id":"a"}]}"#;
    let answer = post("/v1/events/batch", body).await.json();
    let told: Vec<_> = answer["results"].as_array().unwrap().iter().map(|result| &result["status"]).collect();
    assert_eq!(told, [503, 422, 503]);
    assert_eq!(answer["results"][2]["problem"]["type"], "urn:confirmd:problem:unavailable");
}

#[tokio::test]
async fn all_faults_of_a_message_are_told_at_once() {
    let labels = json!({"country": "", "sender": "+15557122661", "name": "Ada", "channel": 1});
    let body = json!({"action_id": "a", "message_sid": MESSAGE, "labels": labels, "sent_at": 0});
    let told = ["/sent_at", "/labels/name", "/labels/country", "/labels/sender", "/labels/channel"];
    assert_eq!(post("/v1/messages", body.to_string()).await.faults(), told);
    assert_eq!(post("/v1/messages", "{}").await.faults(), ["/action_id", "/message_sid"]);
    let body = json!({"action_id": "a", "message_sid": MESSAGE, "labels": "sms"});
    assert_eq!(post("/v1/messages", body.to_string()).await.faults(), ["/labels"]);
}

#[tokio::test]
async fn with_several_accounts_a_message_must_name_its_own() {
    for path in ["/v1/messages", "/v1/events"] {
        let mut body = json!({"action_id": "a", "message_sid": MESSAGE});
        if path == "/v1/events" {
            body["event_id"] = "e".into();
        }
        let request = json_to(path).body(Body::from(body.to_string())).unwrap();
        let answer = ask(app_with(vec![ACCOUNT, OTHER_ACCOUNT]).await, request).await;
        assert_eq!(answer.faults(), ["/account_sid"], "{path}");
    }
}

#[tokio::test]
async fn a_member_given_twice_is_refused() {
    let answer = post("/v1/events", r#"{"event_id":"e","action_id":"a","action_id":"b"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.faults()), (422, vec!["/action_id".to_owned()]));
    let answer = post("/v1/dead-letters/replay", r#"{"filter":{"reason":"gave_up","reason":"gave_up"}}"#).await;
    assert_eq!(answer.faults(), ["/filter/reason"]);
}

#[tokio::test]
async fn no_value_is_ever_echoed() {
    let body = json!({"event_id": "canary +15557122661", "action_id": {"canary": 1}, "type": "canary",
        "resolve": "canary", "occurred_at": "canary", "message_sid": "canary", "account_sid": "canary"});
    let answer = post("/v1/events", body.to_string()).await;
    assert_eq!(answer.faults().len(), 7);
    assert!(!String::from_utf8(answer.body).unwrap().contains("canary"));
}

#[tokio::test]
async fn the_header_and_the_body_must_agree_on_the_events_id() {
    let asked = |header: &'static str, body: serde_json::Value| async move {
        let request = json_to("/v1/events").header("idempotency-key", header);
        ask(app().await, request.body(Body::from(body.to_string())).unwrap()).await.faults()
    };
    assert_eq!(asked("\"e\"", json!({"action_id": "a", "event_id": "f"})).await, ["/event_id"]);
    assert_eq!(asked("\"e", json!({"action_id": "a"})).await, ["Idempotency-Key"]);
    assert_eq!(asked("\"e\"", json!({})).await, ["/action_id"]);
    let right: [String; 0] = [];
    assert_eq!(asked("\"e\"", json!({"action_id": "a"})).await, right);
    assert_eq!(asked("e", json!({"action_id": "a", "event_id": "e"})).await, right);
}

#[tokio::test]
async fn a_replay_is_told_what_is_wrong_with_it() {
    for (body, told) in [
        (json!({}), vec!["/filter"]),
        (json!({"filter": {}, "dry_run": "yes", "rate": 0, "limit": -1}), vec!["/dry_run", "/rate", "/limit"]),
        (json!({"filter": {}, "rate": 10001, "limit": 1.5}), vec!["/rate", "/limit"]),
        (
            json!({"filter": {"reason": "old", "event_id": "", "x": 1}}),
            vec!["/filter/x", "/filter/reason", "/filter/event_id"],
        ),
    ] {
        assert_eq!(post("/v1/dead-letters/replay", body.to_string()).await.faults(), told, "{body}");
    }
    let pause = format!("/v1/lanes/{ACCOUNT}/pause");
    for reason in ["", "call +1 555 712 2661", "a\nb", &"a".repeat(201)] {
        assert_eq!(post(&pause, json!({"reason": reason}).to_string()).await.faults(), ["/reason"], "{reason}");
    }
}

#[tokio::test]
async fn a_batch_of_faulty_events_has_an_answer_for_each() {
    let huge = "a".repeat(SMALL);
    let body = format!(r#"{{"events":[{{"event_id":"e"}}, 7, {{"event_id":"\ud800"}}, {{"x":1}}, "{huge}"]}}"#);
    let answer = post("/v1/events/batch", body).await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results[0]["event_id"], "e");
    let told: Vec<_> =
        results.iter().map(|result| (result["status"].as_u64().unwrap(), faults(&result["problem"]))).collect();
    let pointers = |pointers: &[&str]| pointers.iter().map(|pointer| (*pointer).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        told,
        [
            (422, pointers(&["/action_id"])),
            (422, pointers(&[""])),
            (422, pointers(&[""])),
            (422, pointers(&["/x", "/event_id", "/action_id"])),
            (413, pointers(&[])),
        ]
    );
}

#[tokio::test]
async fn a_batch_has_1_to_1000_events() {
    let batch = |events: usize| format!(r#"{{"events":[{}]}}"#, vec!["0"; events].join(","));
    for (events, status) in [(0, 422), (1, 200), (1000, 200), (1001, 422)] {
        let answer = post("/v1/events/batch", batch(events)).await;
        assert_eq!(answer.status, status, "{events}");
        if status == 422 {
            assert_eq!(answer.faults(), ["/events"]);
        }
    }
    for body in ["{}", r#"{"events":null}"#, r#"{"events":{}}"#, r#"{"events":"a"}"#] {
        assert_eq!(post("/v1/events/batch", body).await.faults(), ["/events"], "{body}");
    }
}

#[tokio::test]
async fn a_body_has_its_limit() {
    for (path, most) in [("/v1/events", SMALL), ("/v1/messages", SMALL), ("/v1/events/batch", LARGE)] {
        for (bytes, status) in [(most - 1, 400), (most, 400), (most + 1, 413)] {
            let answer = post(path, vec![b' '; bytes]).await;
            assert_eq!(answer.status, status, "{path} {bytes}");
        }
        let trickle = futures_util::stream::iter((0..=most / 1000).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1000])));
        let answer = post(path, Body::from_stream(trickle)).await;
        assert_eq!(answer.problem(), (413, "payload-too-large".to_owned()), "{path}");
        assert_eq!(answer.headers["connection"], "close");
    }
}

#[tokio::test]
async fn a_body_has_its_time() {
    let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    assert_eq!(post("/v1/events", never).await.problem(), (408, "request-timeout".to_owned()));
}

#[tokio::test]
async fn only_json_is_read() {
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"] {
        let request = axum::http::Request::post("/v1/events").header("authorization", "Bearer all");
        let answer = ask(app().await, request.header("content-type", kind).body(Body::from("{}")).unwrap()).await;
        assert_eq!(answer.problem(), (415, "unsupported-media-type".to_owned()), "{kind}");
    }
}
