//! Promises 1 and 2: 2xx means durable, and nothing accepted is lost: whatever the order of arrival.

use std::sync::Arc;

use confirmd::domain::{EventState, FeedbackState, Resolve};
use confirmd::store::{Accepted, Inbox, Registered};
use tokio::sync::Barrier;

use crate::harness::gate::Gate;
use crate::harness::world::{HOUR, MINUTE, World, drain, event, exact, noon, registration, sid};

fn state(accepted: &Accepted) -> EventState {
    match accepted {
        Accepted::Taken(answer) | Accepted::Replayed(answer) => answer.state,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_event_after_its_message_is_confirmed_by_one_request() {
    let mut world = World::new().await;
    assert_eq!(world.register("login", 1).await, Registered::Created(FeedbackState::None));
    let answer = world.complete("e1", "login").await;
    assert_eq!(state(&answer), EventState::Pending);
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.feedback(1).await, "confirmed@1");
    assert_eq!(world.event("e1").await, "confirmed");
    world.is_lawful().await;
}

#[tokio::test]
async fn an_event_before_its_message_is_parked_and_confirmed_when_the_message_comes() {
    let mut world = World::new().await;
    assert_eq!(state(&world.complete("e1", "login").await), EventState::Parked);
    assert_eq!(world.drain().await, 0);
    assert_eq!(world.event("e1").await, "parked");
    world.is_lawful().await;

    world.travel(HOUR);
    assert_eq!(world.register("login", 1).await, Registered::Created(FeedbackState::Pending));
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.event("e1").await, "confirmed");
    world.is_lawful().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_and_its_message_at_the_same_instant_always_find_each_other() {
    let mut world = World::new().await;
    let other = world.replica().await;
    let actions = 300;
    let mut told = Vec::new();
    for number in 0..actions {
        let start = Arc::new(Barrier::new(2));
        let name = format!("login-{number}");
        // Two processes: nothing but Postgres brings the two together.
        let (inbox, gate, action) = (world.store.inbox.clone(), start.clone(), name.clone());
        told.push(tokio::spawn(async move {
            gate.wait().await;
            inbox.register(registration(&action, number, None)).await.map(drop)
        }));
        let inbox = other.store.inbox.clone();
        told.push(tokio::spawn(async move {
            start.wait().await;
            inbox.accept(event(&format!("e-{number}"), &name, Resolve::Latest)).await.map(drop)
        }));
    }
    for told in told {
        told.await.unwrap().unwrap();
    }
    world.drain().await;
    // What was handed to the other replica's lanes is theirs to send.
    let mut other = other;
    drain(&mut other.delivery).await;
    for number in 0..actions {
        assert_eq!(world.feedback(number).await, "confirmed@1");
    }
    assert_eq!(world.requests(), actions as usize, "one request a message");
    world.is_lawful().await;
}

/// Both have done all their looking before either commits: the one moment at which each could miss the other.
async fn overlap(first: Told, second: Told) {
    let mut world = World::new().await;
    let mut other = world.replica().await;
    let mut gate = Gate::before_each_commit(&world.database.url).await;
    let (here, there) = (world.store.inbox.clone(), other.store.inbox.clone());
    let first = tokio::spawn(async move { first.tell(&here).await });
    gate.holds(1).await;
    let second = tokio::spawn(async move { second.tell(&there).await });
    gate.holds(2).await;
    gate.open().await;
    first.await.unwrap();
    second.await.unwrap();
    world.drain().await;
    drain(&mut other.delivery).await;
    assert_eq!(world.event("e1").await, "confirmed");
    assert_eq!(world.requests(), 1);
    world.is_lawful().await;
}

#[derive(Clone, Copy)]
enum Told {
    Message,
    Event,
}

impl Told {
    async fn tell(self, inbox: &Inbox) {
        match self {
            Self::Message => drop(inbox.register(registration("login", 1, None)).await.unwrap()),
            Self::Event => drop(inbox.accept(event("e1", "login", Resolve::Latest)).await.unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_while_its_message_is_being_committed_finds_it() {
    overlap(Told::Message, Told::Event).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_while_its_event_is_being_committed_finds_it() {
    overlap(Told::Event, Told::Message).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_events_that_name_an_unknown_message_at_the_same_instant_are_one_feedback() {
    let mut world = World::new().await;
    let mut other = world.replica().await;
    let mut gate = Gate::before_each_commit(&world.database.url).await;
    let (here, there) = (world.store.inbox.clone(), other.store.inbox.clone());
    let first = tokio::spawn(async move { here.accept(exact("e1", 1)).await });
    gate.holds(1).await;
    let second = tokio::spawn(async move { there.accept(exact("e2", 1)).await });
    gate.holds(2).await;
    gate.open().await;
    assert_eq!(state(&first.await.unwrap().unwrap()), EventState::Pending);
    assert_eq!(state(&second.await.unwrap().unwrap()), EventState::Pending);
    world.drain().await;
    drain(&mut other.delivery).await;
    assert_eq!(world.requests(), 1);
    assert_eq!((world.event("e1").await.as_str(), world.event("e2").await.as_str()), ("confirmed", "confirmed"));
    world.is_lawful().await;
}

#[tokio::test]
async fn two_events_for_one_message_are_one_feedback() {
    let mut world = World::new().await;
    world.register("login", 1).await;
    world.complete("e1", "login").await;
    world.complete("e2", "login").await;
    assert_eq!(world.drain().await, 1);
    let late = world.complete("e3", "login").await;
    assert_eq!(state(&late), EventState::Confirmed, "there is nothing left to send");
    assert_eq!(world.drain().await, 0);
    for event in ["e1", "e2", "e3"] {
        assert_eq!(world.event(event).await, "confirmed");
    }
    world.is_lawful().await;
}

#[tokio::test]
async fn of_a_resend_the_latest_before_the_event_is_confirmed() {
    let mut world = World::new().await;
    world.register_sent("login", 1, Some(noon() - 3 * MINUTE)).await;
    world.register_sent("login", 2, Some(noon() - MINUTE)).await;
    world.register_sent("login", 3, Some(noon() + MINUTE)).await;
    world.complete("e1", "login").await;
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.feedback(1).await, "none@0");
    assert_eq!(world.feedback(2).await, "confirmed@1");
    assert_eq!(world.feedback(3).await, "none@0");
}

#[tokio::test]
async fn where_clocks_differ_the_first_message_stands_in() {
    let mut world = World::new().await;
    world.register_sent("login", 1, Some(noon() + MINUTE)).await;
    world.register_sent("login", 2, Some(noon() + 2 * MINUTE)).await;
    world.complete("e1", "login").await;
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.feedback(1).await, "confirmed@1");
}

#[tokio::test]
async fn of_a_resend_all_are_confirmed_if_the_caller_says_so_and_late_ones_too() {
    let mut world = World::new().await;
    world.register_sent("login", 1, Some(noon() - 3 * MINUTE)).await;
    world.complete_by("e1", "login", Resolve::All).await;
    world.register_sent("login", 2, Some(noon() - MINUTE)).await;
    world.register_sent("login", 3, Some(noon() + MINUTE)).await;
    assert_eq!(world.drain().await, 2);
    assert_eq!(world.feedback(1).await, "confirmed@1");
    assert_eq!(world.feedback(2).await, "confirmed@1");
    assert_eq!(world.feedback(3).await, "none@0", "it was sent after the user was done");
    world.is_lawful().await;
}

#[tokio::test]
async fn a_parked_event_that_confirms_all_waits_for_each() {
    let mut world = World::new().await;
    world.complete_by("e1", "login", Resolve::All).await;
    world.register_sent("login", 1, Some(noon() - MINUTE)).await;
    world.register_sent("login", 2, Some(noon() - MINUTE)).await;
    assert_eq!(world.drain().await, 2);
    let receipt = world.store.ledger.event(&crate::harness::world::key("e1")).await.unwrap().unwrap();
    assert_eq!(receipt.message_sids, [sid(1), sid(2)]);
    world.is_lawful().await;
}
