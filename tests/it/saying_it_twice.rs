//! Promise 4: saying it twice changes nothing.

use std::collections::BTreeMap;

use confirmd::domain::{Event, FeedbackState, Resolve, Target};
use confirmd::store::{Accepted, NotTaken, Registered};
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::harness::outside::eventually;
use crate::harness::world::{MINUTE, Setting, World, account, action, event, exact, noon, registration, sid};

#[tokio::test]
async fn the_same_event_again_gets_the_stored_answer() {
    let mut world = World::new().await;
    world.register("login", 1).await;
    let Accepted::Taken(first) = world.complete("e1", "login").await else { panic!("it is new") };
    world.drain().await;
    let Accepted::Replayed(again) = world.complete("e1", "login").await else { panic!("it is not new") };
    assert_eq!(again, first, "also when its message is confirmed by now");
    assert_eq!(world.drain().await, 0);
    world.is_lawful().await;
}

#[tokio::test]
async fn a_parked_event_again_gets_the_stored_answer_also_when_it_is_resolved_by_then() {
    let mut world = World::new().await;
    let Accepted::Taken(first) = world.complete("e1", "login").await else { panic!("it is new") };
    world.register("login", 1).await;
    world.drain().await;
    assert_eq!(world.complete("e1", "login").await, Accepted::Replayed(first));
}

#[tokio::test]
async fn the_same_key_with_another_content_is_a_mismatch_and_has_no_effect() {
    let mut world = World::new().await;
    world.register("login", 1).await;
    world.register("signup", 2).await;
    world.complete("e1", "login").await;
    assert_eq!(world.complete("e1", "signup").await, Accepted::Mismatch);
    assert_eq!(world.complete_by("e1", "login", Resolve::All).await, Accepted::Mismatch);
    // Naming a message that is not known would add it to the map, were the event taken.
    assert_eq!(world.accept(exact("e1", 3)).await, Ok(Accepted::Mismatch));
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.feedback(2).await, "none@0");
    assert_eq!(world.feedback(3).await, "unknown");
    world.is_lawful().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once_are_one_event() {
    let mut world = World::new().await;
    let other = world.replica().await;
    world.register("login", 1).await;
    let posts = (0..200).map(|post| {
        let inbox = if post % 2 == 0 { world.store.inbox.clone() } else { other.store.inbox.clone() };
        // Every tenth says something else under the same key.
        let resolve = if post % 10 == 9 { Resolve::All } else { Resolve::Latest };
        tokio::spawn(async move { inbox.accept(event("e1", "login", resolve)).await.unwrap() })
    });
    let posts: Vec<_> = posts.collect();
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    for post in posts {
        let kind = match post.await.unwrap() {
            Accepted::Taken(_) => "taken",
            Accepted::Replayed(_) => "replayed",
            Accepted::Mismatch => "mismatch",
            Accepted::Conflict => "conflict",
        };
        *answers.entry(kind).or_default() += 1;
    }
    assert_eq!(answers["taken"], 1, "{answers:?}");
    // Whichever content was first, all of the other content are mismatches.
    let mismatches = answers["mismatch"];
    assert!(mismatches == 20 || mismatches == 180, "{answers:?}");
    assert_eq!(answers.values().sum::<usize>(), 200);
    drop(other);
    world.travel(2 * MINUTE);
    world.drain().await;
    assert_eq!(world.event("e1").await, "confirmed");
    assert_eq!(world.store.upkeep.audit().await.unwrap().accepted, 1);
}

#[tokio::test]
async fn the_same_mapping_again_is_known_and_fills_what_was_left_out() {
    let world = World::new().await;
    world.register("login", 1).await;
    let mut told = registration("login", 1, Some(noon() - MINUTE));
    told.labels.country = Some("DE".to_owned().try_into().unwrap());
    assert_eq!(world.store.inbox.register(told).await, Ok(Registered::Known(FeedbackState::None)));
    let mut other = registration("login", 1, Some(noon()));
    other.labels.country = Some("FR".to_owned().try_into().unwrap());
    assert_eq!(world.store.inbox.register(other).await, Ok(Registered::Known(FeedbackState::None)));
    let message = world.store.ledger.message(None, &sid(1)).await.unwrap().unwrap();
    assert_eq!(message.sent_at, noon() - MINUTE, "what was said first stands");
    assert_eq!(message.labels.country.unwrap().as_str(), "DE");
}

#[tokio::test]
async fn an_event_that_waits_while_its_message_is_filled_in_chooses_by_what_is_known_then() {
    let mut world = World::new().await;
    world.register_sent("login", 1, Some(noon() - MINUTE)).await;
    world.register("login", 2).await;
    // Somebody else says when the second was sent, before the first, and has not committed it.
    let mut other = PgConnection::connect(&world.database.url).await.unwrap();
    let fill = "update message set sent_at = $1 where message_sid = $2";
    other.execute("begin").await.unwrap();
    sqlx::query(fill).bind(noon() - 2 * MINUTE).bind(sid(2).as_str()).execute(&mut other).await.unwrap();
    let committed = async {
        let other = tokio::sync::Mutex::new(&mut other);
        eventually("the event waits for its message", || async {
            let waits = "select count(*) from pg_stat_activity
                         where datname = current_database() and wait_event_type = 'Lock'";
            let waiting: i64 = sqlx::query_scalar(waits).fetch_one(&mut **other.lock().await).await.unwrap();
            (waiting == 1).then_some(())
        })
        .await;
        other.lock().await.execute("commit").await.unwrap();
    };
    let (taken, ()) = tokio::join!(world.complete("e1", "login"), committed);
    let Accepted::Taken(answer) = taken else { panic!("it is new: {taken:?}") };
    assert_eq!(answer.message_sids, [sid(1)]);
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.feedback(2).await, "none@0");
    world.is_lawful().await;
}

#[tokio::test]
async fn a_message_belongs_to_one_action_one_account_and_one_namespace() {
    let setting = Setting { accounts: vec![account(1), account(2)], ..Setting::default() };
    let world = World::with(setting).await;
    world.register("login", 1).await;
    assert_eq!(world.register("signup", 1).await, Registered::Conflict);
    let mut elsewhere = registration("login", 1, None);
    elsewhere.account_sid = account(2);
    assert_eq!(world.store.inbox.register(elsewhere).await, Ok(Registered::Conflict));
    let mut stranger = registration("login", 1, None);
    stranger.namespace = "another".to_owned().try_into().unwrap();
    assert_eq!(world.store.inbox.register(stranger).await, Ok(Registered::Conflict));
    let mut event = exact("e1", 1);
    event.key.namespace = "another".to_owned().try_into().unwrap();
    assert_eq!(world.accept(event).await, Ok(Accepted::Conflict));
    assert_eq!(world.feedback(1).await, "none@0");
    assert_eq!(world.store.upkeep.audit().await.unwrap().accepted, 0);
}

#[tokio::test]
async fn an_event_that_names_its_message_is_never_parked_and_makes_it_known() {
    let mut world = World::new().await;
    let Ok(Accepted::Taken(answer)) = world.accept(exact("e1", 7)).await else { panic!("it is new") };
    assert_eq!((answer.state.as_str(), answer.message_sids), ("pending", vec![sid(7)]));
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.feedback(7).await, "confirmed@1");
    // The caller maps it afterwards; what waited for the action is resolved by it.
    world.complete("e2", "login").await;
    assert_eq!(world.register("login", 7).await, Registered::Known(FeedbackState::Confirmed));
    assert_eq!(world.event("e2").await, "confirmed");
    assert_eq!(world.drain().await, 0);
    world.is_lawful().await;
}

#[tokio::test]
async fn an_event_that_names_its_message_and_its_action_resolves_what_waited_for_that_action() {
    let mut world = World::new().await;
    world.complete("e1", "login").await;
    let mut named = exact("e2", 1);
    named.target = Target::Message { message_sid: sid(1), account_sid: account(1), action_id: Some(action("login")) };
    world.accept(named).await.unwrap();
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.event("e1").await, "confirmed");
    world.is_lawful().await;
}

/// A message that is known by an event alone, and an event that waits for `login`.
async fn known_without_its_action() -> World {
    let setting = Setting { accounts: vec![account(1), account(2)], ..Setting::default() };
    let world = World::with(setting).await;
    world.accept(exact("e1", 1)).await.unwrap();
    world.complete("e2", "login").await;
    world
}

fn exact_of(event_id: &str, account_number: u32) -> Event {
    let (account_sid, action_id) = (account(account_number), Some(action("login")));
    let target = Target::Message { message_sid: sid(1), account_sid, action_id };
    Event { target, ..exact(event_id, 1) }
}

/// On one thread both are handed in before a writer looks: one batch.
#[tokio::test]
async fn who_registers_somebody_elses_message_in_the_same_batch_does_not_take_an_events_action_along() {
    let mut world = known_without_its_action().await;
    let mut elsewhere = registration("signup", 1, None);
    elsewhere.account_sid = account(2);
    let inbox = &world.store.inbox;
    let (registered, accepted) = tokio::join!(inbox.register(elsewhere), inbox.accept(exact_of("e3", 1)));
    assert_eq!(registered, Ok(Registered::Conflict));
    assert!(matches!(accepted, Ok(Accepted::Taken(_))), "{accepted:?}");
    world.drain().await;
    assert_eq!(world.event("e2").await, "confirmed", "the event said which action the message belongs to");
    world.is_lawful().await;
}

#[tokio::test]
async fn an_event_that_names_somebody_elses_message_in_the_same_batch_does_not_take_anothers_action_along() {
    let mut world = known_without_its_action().await;
    let answers = world.store.inbox.accept_all(vec![exact_of("e3", 2), exact_of("e4", 1)]).await;
    assert!(matches!(&answers[..], [Ok(Accepted::Conflict), Ok(Accepted::Taken(_))]), "{answers:?}");
    world.drain().await;
    assert_eq!(world.event("e2").await, "confirmed");
    world.is_lawful().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_overlap_in_opposite_order_do_not_hinder_each_other() {
    let mut world = World::new().await;
    let other = world.replica().await;
    let events: Vec<Event> =
        (0..400).map(|n| event(&format!("e{n}"), &format!("a{}", n % 40), Resolve::Latest)).collect();
    let backwards: Vec<Event> = events.iter().rev().cloned().collect();
    for number in 0..40 {
        world.register(&format!("a{number}"), number).await;
    }
    let (there, back) = (world.store.inbox.clone(), other.store.inbox.clone());
    let (there, back) = tokio::join!(
        tokio::spawn(async move { there.accept_all(events).await }),
        tokio::spawn(async move { back.accept_all(backwards).await }),
    );
    let answers: Vec<Accepted> = there.unwrap().into_iter().chain(back.unwrap()).map(Result::unwrap).collect();
    let taken = answers.iter().filter(|answer| matches!(answer, Accepted::Taken(_))).count();
    let replayed = answers.iter().filter(|answer| matches!(answer, Accepted::Replayed(_))).count();
    assert_eq!((taken, replayed), (400, 400));
    drop(other);
    world.travel(2 * MINUTE);
    world.drain().await;
    world.is_lawful().await;
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_takes_nothing_by_halves() {
    let world = World::with(Setting { max_waiting: 3, ..Setting::default() }).await;
    let events = (0..4).map(|n| event(&format!("e{n}"), "login", Resolve::Latest)).collect();
    for answer in world.store.inbox.accept_all(events).await {
        assert_eq!(answer, Err(NotTaken::QueueFull));
    }
    assert_eq!(world.store.upkeep.audit().await.unwrap().accepted, 0);
}
