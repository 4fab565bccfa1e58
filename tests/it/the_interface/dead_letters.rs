//! `GET /v1/dead-letters` and `POST /v1/dead-letters/replay`.

use std::time::Duration;

use serde_json::{Value, json};

use super::{NOON, completed, mapping, served, served_with};
use crate::harness::service::{STRANGER, Service};
use crate::harness::world::{DAY, MINUTE, Setting, World, account, sid};

const LETTERS: &str = "/v1/dead-letters";
const REPLAY: &str = "/v1/dead-letters/replay";

/// The SIDs or event ids of a page, and its `next`.
fn page(body: &Value) -> (Vec<String>, Option<String>) {
    let id =
        |item: &Value| ["message_sid", "event_id"].into_iter().find_map(|name| item[name].as_str()).unwrap().to_owned();
    let items = body["items"].as_array().unwrap().iter().map(id).collect();
    (items, body["next"].as_str().map(str::to_owned))
}

async fn listed(service: &Service, query: &str) -> Vec<String> {
    let answer = service.get(&format!("{LETTERS}?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    page(&answer.json()).0
}

/// Dead feedback of messages 1 and 2 (rejected, a minute apart) and 3 (not found), and the expired event `e-late`.
async fn given_up(world: &mut World, service: &Service) {
    service.post("/v1/events", completed("e-late", "never")).await;
    world.travel(7 * DAY);
    world.store.upkeep.expire_parked().await.unwrap();
    for (number, rule) in [(1, "400;code=20001;first=1"), (2, "400;first=1"), (3, "404;first=1")] {
        world.travel(MINUTE);
        world.fault(rule);
        let mut told = mapping(&format!("login-{number}"), number);
        told["sent_at"] = NOON.into();
        service.post("/v1/messages", told).await;
        service.post("/v1/events", completed(&format!("e{number}"), &format!("login-{number}"))).await;
        world.drain().await;
    }
}

#[tokio::test]
async fn dead_letters_are_listed_newest_first_with_all_that_is_known() {
    let (mut world, service) = served().await;
    assert_eq!(service.get(LETTERS).await.told(), (200, json!({"items": [], "next": null})));
    given_up(&mut world, &service).await;
    let feedback = |number: u32, reason: &str, status: u16, code: u32| {
        json!({"kind": "feedback", "message_sid": sid(number), "account_sid": account(1),
            "action_id": format!("login-{number}"), "reason": reason, "attempts": 1, "last_status": status,
            "last_code": code, "died_at": format!("2026-11-30T12:0{number}:00Z")})
    };
    assert_eq!(
        service.get(LETTERS).await.told(),
        (
            200,
            json!({
                "items": [
                    feedback(3, "message_not_found", 404, 20404),
                    feedback(2, "rejected", 400, 20400),
                    feedback(1, "rejected", 400, 20001),
                    {"kind": "event", "event_id": "e-late", "action_id": "never", "reason": "expired",
                        "died_at": "2026-11-30T12:00:00Z"},
                ],
                "next": null
            })
        )
    );
}

#[tokio::test]
async fn a_filter_leaves_what_fits_it() {
    let (mut world, service) = served().await;
    given_up(&mut world, &service).await;
    let message = |number: u32| sid(number).as_str().to_owned();
    for (query, told) in [
        ("reason=rejected".to_owned(), vec![message(2), message(1)]),
        ("reason=expired".to_owned(), vec!["e-late".to_owned()]),
        ("reason=poison".to_owned(), vec![]),
        (format!("account_sid={}", account(1)), vec![message(3), message(2), message(1)]),
        (format!("account_sid={}", account(2)), vec![]),
        (format!("message_sid={}", sid(2)), vec![message(2)]),
        (format!("message_sid={}&reason=message_not_found", sid(2)), vec![]),
        ("event_id=e-late".to_owned(), vec!["e-late".to_owned()]),
        ("event_id=e1".to_owned(), vec![]),
    ] {
        assert_eq!(listed(&service, &query).await, told, "{query}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_and_hold_everything_once() {
    let (mut world, service) = served().await;
    given_up(&mut world, &service).await;
    // Of one moment: the order is by name.
    world.fault("400");
    for number in 4..=6 {
        service.post("/v1/messages", mapping(&format!("login-{number}"), number)).await;
        service.post("/v1/events", completed(&format!("e{number}"), &format!("login-{number}"))).await;
    }
    world.drain().await;
    let whole = page(&service.get(LETTERS).await.json()).0;
    assert_eq!(whole.len(), 7);
    for limit in 1..=7 {
        let (mut turned, mut pages) = (Vec::new(), 0);
        let mut next = Some(String::new());
        while let Some(cursor) = next {
            let cursor = if cursor.is_empty() { cursor } else { format!("&cursor={cursor}") };
            let (items, following) = page(&service.get(&format!("{LETTERS}?limit={limit}{cursor}")).await.json());
            assert!(!items.is_empty() && items.len() <= limit, "no page is empty");
            turned.extend(items);
            pages += 1;
            next = following;
        }
        assert_eq!((turned, pages), (whole.clone(), 7usize.div_ceil(limit)), "{limit} a page");
    }
    assert_eq!(listed(&service, "reason=rejected&limit=500").await.len(), 5);
}

#[tokio::test]
async fn all_that_is_wrong_with_a_query_is_told_at_once() {
    let (_world, service) = served().await;
    let answer = service.get(&format!("{LETTERS}?reason=old&limit=501&cursor=x&phone=1&account_sid=AC1&limit=2")).await;
    assert_eq!(answer.problem(), (422, "invalid-request".to_owned()));
    assert_eq!(answer.faults(), ["reason", "account_sid", "limit", "cursor", "phone"]);
    assert!(answer.json()["errors"][0].get("parameter").is_some());
    let answer = service.post(REPLAY, json!({"filter": {"reason": "old", "x": 1}, "rate": 0, "dry_run": 1})).await;
    assert_eq!(answer.problem(), (422, "invalid-request".to_owned()));
    assert_eq!(answer.faults(), ["/filter/x", "/filter/reason", "/dry_run", "/rate"]);
    assert_eq!(service.post(REPLAY, json!({})).await.faults(), ["/filter"], "all of them has to be said, as {{}}");
}

#[tokio::test]
async fn a_replay_is_only_counted_unless_it_is_asked_for() {
    let (mut world, service) = served().await;
    given_up(&mut world, &service).await;
    for body in [
        json!({"filter": {"reason": "rejected"}}),
        json!({"filter": {"reason": "rejected"}, "dry_run": true, "rate": 50}),
        json!({"filter": {"reason": "rejected"}, "dry_run": null, "limit": 1}),
    ] {
        assert_eq!(service.post(REPLAY, body).await.told(), (200, json!({"matched": 2, "replayed": 0})));
    }
    assert_eq!((world.drain().await, listed(&service, "").await.len()), (0, 4));

    let asked = json!({"filter": {"reason": "rejected"}, "dry_run": false});
    assert_eq!(service.post(REPLAY, asked.clone()).await.told(), (200, json!({"matched": 2, "replayed": 2})));
    assert_eq!(listed(&service, "").await, [sid(3).as_str(), "e-late"]);
    assert_eq!(service.post(REPLAY, asked).await.told(), (200, json!({"matched": 0, "replayed": 0})));
    world.travel(MINUTE);
    assert_eq!(world.drain().await, 2);
    for event in ["e1", "e2"] {
        assert_eq!(service.get(&format!("/v1/events/{event}")).await.json()["state"], "confirmed");
    }
    assert_eq!(service.get(&format!("/v1/messages/{}", sid(1))).await.json()["feedback"]["attempts"], 2);
    world.is_lawful().await;
}

#[tokio::test]
async fn a_replay_is_paced_and_bounded_and_takes_the_oldest_first() {
    let (mut world, service) = served().await;
    given_up(&mut world, &service).await;
    let asked = json!({"filter": {"account_sid": account(1)}, "dry_run": false, "rate": 1, "limit": 2});
    assert_eq!(service.post(REPLAY, asked).await.told(), (200, json!({"matched": 3, "replayed": 2})));
    assert_eq!(listed(&service, "").await, [sid(3).as_str(), "e-late"]);
    assert_eq!(world.drain().await, 1, "one a second");
    assert_eq!(world.feedback(1).await, "confirmed@2");
    world.travel(Duration::from_secs(1));
    assert_eq!(world.drain().await, 1);
}

#[tokio::test]
async fn an_expired_event_is_replayed_to_its_message_or_parked_anew() {
    let (mut world, service) = served().await;
    given_up(&mut world, &service).await;
    let asked = json!({"filter": {"event_id": "e-late"}, "dry_run": false});
    assert_eq!(service.post(REPLAY, asked.clone()).await.told(), (200, json!({"matched": 1, "replayed": 1})));
    assert_eq!(service.get("/v1/events/e-late").await.json()["state"], "parked");
    world.travel(7 * DAY);
    world.store.upkeep.expire_parked().await.unwrap();
    service.post("/v1/messages", mapping("never", 9)).await;
    assert_eq!(service.post(REPLAY, asked).await.told(), (200, json!({"matched": 1, "replayed": 1})));
    world.drain().await;
    assert_eq!(service.get("/v1/events/e-late").await.json()["state"], "confirmed");
    world.is_lawful().await;
}

#[tokio::test]
async fn the_dead_letters_of_another_namespace_are_neither_listed_nor_replayed() {
    let (mut world, service) = served_with(Setting { accounts: vec![account(1)], ..Setting::default() }).await;
    given_up(&mut world, &service).await;
    let stranger = service.by(STRANGER);
    assert_eq!(stranger.get(LETTERS).await.told(), (200, json!({"items": [], "next": null})));
    for filter in [
        json!({}),
        json!({"reason": "rejected"}),
        json!({"message_sid": sid(1)}),
        json!({"event_id": "e-late"}),
        json!({"account_sid": account(1)}),
    ] {
        let query: Vec<_> =
            filter.as_object().unwrap().iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap())).collect();
        let answer = stranger.get(&format!("{LETTERS}?{}", query.join("&"))).await;
        assert_eq!(answer.json()["items"], json!([]), "{filter}");
        for dry_run in [true, false] {
            let answer = stranger.post(REPLAY, json!({"filter": filter, "dry_run": dry_run})).await;
            assert_eq!(answer.told(), (200, json!({"matched": 0, "replayed": 0})), "{filter}");
        }
    }
    world.travel(MINUTE);
    assert_eq!((world.drain().await, listed(&service, "").await.len()), (0, 4));
}
