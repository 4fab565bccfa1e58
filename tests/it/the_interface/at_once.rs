//! Many callers at once, more than can be taken, and a Postgres that is away.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::task::JoinSet;

use super::{completed, mapping, served, served_with};
use crate::harness::database::server_url;
use crate::harness::gate::Gate;
use crate::harness::outside::eventually;
use crate::harness::service::{Answer, MOST_WAITING_PER_CALLER, ROTATED, STRANGER, Service};
use crate::harness::world::{MINUTE, Setting, World};

/// Two processes over one database.
async fn two_services(world: &World) -> (Arc<Service>, Arc<Service>, crate::harness::world::Replica) {
    let other = world.replica().await;
    let (here, there) = (Service::of(world).await, Service::over(&other.store, &world.setting.accounts).await);
    (Arc::new(here), Arc::new(there), other)
}

/// Posts an event from a task of its own.
fn post(posts: &mut JoinSet<Answer>, service: &Arc<Service>, event: Value) {
    let service = service.clone();
    posts.spawn(async move { service.post("/v1/events", event).await });
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_posts_of_one_key_are_one_event_and_one_answer() {
    let mut world = World::new().await;
    let (here, there, other) = two_services(&world).await;
    here.post("/v1/messages", mapping("login", 1)).await;
    let mut posts = JoinSet::new();
    for number in 0..200 {
        post(&mut posts, if number % 2 == 0 { &here } else { &there }, completed("e1", "login"));
    }
    let answers = posts.join_all().await;
    let mut replayed = BTreeMap::new();
    for answer in &answers {
        assert_eq!((answer.status, &answer.text), (202, &answers[0].text));
        *replayed.entry(answer.header("idempotent-replayed")).or_insert(0) += 1;
    }
    assert_eq!(replayed, BTreeMap::from([("", 1), ("true", 199)]));
    assert_eq!(world.store.upkeep.audit().await.unwrap().accepted, 1);
    drop(other);
    world.travel(2 * MINUTE);
    world.drain().await;
    assert_eq!(world.event("e1").await, "confirmed");
    world.is_lawful().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_overlap_in_opposite_order_are_both_answered_whole() {
    let mut world = World::new().await;
    let (here, there, other) = two_services(&world).await;
    for number in 0..20 {
        here.post("/v1/messages", mapping(&format!("login-{number}"), number)).await;
    }
    let event = |number: usize| completed(&format!("e{number}"), &format!("login-{}", number % 25));
    let forth: Vec<_> = (0..500).map(event).collect();
    let back: Vec<_> = (0..500).rev().map(event).collect();
    let (forth, back) = tokio::join!(
        here.post("/v1/events/batch", json!({"events": forth})),
        there.post("/v1/events/batch", json!({"events": back})),
    );
    let (forth, back) = (forth.json(), back.json());
    let (forth, back) = (forth["results"].as_array().unwrap(), back["results"].as_array().unwrap());
    assert_eq!((forth.len(), back.len()), (500, 500));
    for (number, (one, other)) in forth.iter().zip(back.iter().rev()).enumerate() {
        assert_eq!((&one["event_id"], &one["status"]), (&json!(format!("e{number}")), &json!(202)), "{one}");
        let replayed = [one, other].iter().filter(|result| result["replayed"] == true).count();
        assert_eq!(replayed, 1, "{one} {other}");
        for member in ["event_id", "status", "state", "message_sids"] {
            assert_eq!(one[member], other[member]);
        }
    }
    assert_eq!(world.store.upkeep.audit().await.unwrap().accepted, 500);
    drop(other);
    world.travel(2 * MINUTE);
    world.drain().await;
    world.is_lawful().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_queue_is_refused_at_once_and_can_be_said_again() {
    let (world, service) = served_with(Setting { max_waiting: 2, batch: 1, ..Setting::default() }).await;
    let service = Arc::new(service);
    let mut gate = Gate::before_each_commit(&world.database.url).await;
    let event = |name: &str, number: usize| completed(&format!("{name}-{number}"), &format!("action-{name}-{number}"));

    let mut posts = JoinSet::new();
    for number in 0..4_u8 {
        // One by one: all at once, they would not fit the queue themselves.
        post(&mut posts, &service, event("written", number.into()));
        gate.holds(i64::from(number) + 1).await;
    }
    // Every writer stands there now. Two more fit the queue; whoever else comes is answered while they all wait.
    (0..10).for_each(|number| post(&mut posts, &service, event("more", number)));
    for _ in 0..8 {
        let answer = posts.join_next().await.unwrap().unwrap();
        assert_eq!(answer.problem(), (503, "busy".to_owned()));
        assert_eq!(answer.header("retry-after"), "1");
    }
    let batch = service.post("/v1/events/batch", json!({"events": [event("batch", 1)]})).await.json();
    assert_eq!((&batch["results"][0]["status"], &batch["results"][0]["event_id"]), (&json!(503), &json!("batch-1")));
    assert_eq!(service.post("/v1/messages", mapping("login", 1)).await.problem().0, 503);
    assert_eq!(service.get("/livez").await.status, 200);
    assert_eq!(service.get("/v1/events/more-0").await.status, 404, "readers are not in that queue");

    gate.open().await;
    for answer in posts.join_all().await {
        assert_eq!((answer.status, answer.header("idempotent-replayed")), (202, ""));
    }
    // Which two of them were in the queue is for the clock to say; the same keys again tell.
    let mut replayed = 0;
    for number in 0..10 {
        let answer = service.post("/v1/events", event("more", number)).await;
        assert_eq!(answer.status, 202);
        replayed += usize::from(answer.header("idempotent-replayed") == "true");
    }
    assert_eq!(replayed, 2);
    let audit = world.store.upkeep.audit().await.unwrap();
    assert_eq!(audit.accepted, 14, "each exactly once, and nothing of the batch");
    world.is_lawful().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_floods_is_refused_and_the_others_are_not() {
    const SHARE: usize = MOST_WAITING_PER_CALLER;
    let (world, service) = served_with(Setting { max_waiting: 2 * SHARE, ..Setting::default() }).await;
    let service = Arc::new(service);
    let mut gate = Gate::before_each_commit(&world.database.url).await;
    let flood = |name: usize, events: usize| {
        let event = |n: usize| completed(&format!("flood-{name}-{n}"), &format!("action-{name}-{n}"));
        json!({"events": (0..events).map(event).collect::<Vec<_>>()})
    };

    // A share and no more, of which nothing can be committed; and the caller hangs up on it, which changes nothing.
    let mut posts = JoinSet::new();
    for half in 0..2 {
        let (service, events) = (service.clone(), flood(half, SHARE / 2));
        posts.spawn(async move { service.post("/v1/events/batch", events).await });
        gate.holds(i64::try_from(half).unwrap() + 1).await;
    }
    posts.shutdown().await;
    let refused = service.post("/v1/events", completed("one-more", "login")).await;
    assert_eq!((refused.problem(), refused.header("retry-after")), ((503, "busy".to_owned()), "1"));
    let rotated = service.by(ROTATED).post("/v1/messages", mapping("login", 1)).await;
    assert_eq!(rotated.problem().0, 503, "another token makes no other caller");
    let batch = service.post("/v1/events/batch", flood(2, 2)).await.json();
    assert_eq!((&batch["results"][0]["status"], &batch["results"][1]["status"]), (&json!(503), &json!(503)));

    // There is room for another caller.
    let (other, event) = (service.clone(), completed("of-the-other", "login"));
    let other = tokio::spawn(async move { other.by(STRANGER).post("/v1/events", event).await });
    gate.holds(3).await;
    gate.open().await;
    assert_eq!(other.await.unwrap().status, 202);
    // And for the one who flooded, once that is done.
    let again = || async {
        let answer = service.post("/v1/events", completed("one-more", "login")).await;
        (answer.status == 202).then_some(())
    };
    eventually("the share is given back", again).await;
    let accepted = world.store.upkeep.audit().await.unwrap().accepted;
    assert_eq!(accepted, u64::try_from(SHARE).unwrap() + 2, "who hangs up is served all the same");
    world.is_lawful().await;
}

/// Lets nobody connect to the database of this world, and ends every connection to it; or lets them again.
async fn let_connect(world: &World, may: bool) {
    let mut admin = PgConnection::connect(&server_url().await).await.unwrap();
    let name = &world.database.name;
    let limit = format!("alter database {name} with allow_connections {may}");
    sqlx::query(AssertSqlSafe(limit)).execute(&mut admin).await.unwrap();
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";
    sqlx::query(end).bind(name).execute(&mut admin).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_every_route_says_so_and_afterwards_the_same_key_is_taken() {
    let (mut world, service) = served().await;
    service.post("/v1/messages", mapping("login", 1)).await;
    let_connect(&world, false).await;

    let unavailable = |answer: Answer| {
        assert_eq!(answer.problem(), (503, "unavailable".to_owned()));
        assert_eq!(answer.header("retry-after"), "5");
        let detail =
            "It may not have been taken. Try again after `Retry-After`; an event with the same id is safe to repeat.";
        assert_eq!(answer.json()["detail"], detail);
    };
    unavailable(service.post("/v1/events", completed("e1", "login")).await);
    unavailable(service.post("/v1/messages", mapping("login", 1)).await);
    for path in ["/v1/events/e1", "/v1/actions/login", "/v1/dead-letters", "/v1/lanes"] {
        unavailable(service.get(path).await);
    }
    unavailable(service.post("/v1/dead-letters/replay", json!({"filter": {}})).await);
    let batch = service.post("/v1/events/batch", json!({"events": [completed("e1", "login"), 7]})).await;
    let results = &batch.json()["results"];
    assert_eq!((batch.status, &results[0]["status"], &results[1]["status"]), (200, &json!(503), &json!(422)));
    assert_eq!(results[0]["problem"]["type"], "urn:confirmd:problem:unavailable");
    assert_eq!(service.get("/livez").await.told(), (200, json!({"status": "live"})));
    let readyz = async || service.by_nobody().get("/readyz").await;
    let not_ready =
        eventually("the probe sees it", || async { Some(readyz().await).filter(|told| told.status == 503) });
    assert_eq!(not_ready.await.json()["detail"], "the database does not answer");
    assert_eq!(service.get("/openapi.json").await.status, 200);

    let_connect(&world, true).await;
    eventually("the probe sees it again", || async { Some(readyz().await).filter(|told| told.status == 200) }).await;
    let answer = service.post("/v1/events", completed("e1", "login")).await;
    assert_eq!((answer.status, answer.header("idempotent-replayed")), (202, ""));
    world.drain().await;
    assert_eq!(world.event("e1").await, "confirmed");
    world.is_lawful().await;
}
