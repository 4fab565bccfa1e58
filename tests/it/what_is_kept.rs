//! Promise 2, over the years: what is settled is forgotten in time, in an order that keeps the law, and nothing else is.

use std::collections::HashMap;
use std::time::Duration;

use confirmd::domain::{LetterReason, Resolve};
use confirmd::operate::housekeeping::{Housekeeper, HousekeepingOptions};
use confirmd::store::{Accepted, LaneReport, LetterFilter, REPORTS_KEPT};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::world::{DAY, HOUR, MINUTE, Setting, World, account, sid};

/// Forgets once what may be: events, messages and actions, each within its bound. Gives how many of each.
async fn forget(world: &World) -> [u64; 3] {
    let upkeep = &world.store.upkeep;
    let events = upkeep.forget_events().await.unwrap();
    world.is_lawful().await;
    let messages = upkeep.forget_messages().await.unwrap();
    world.is_lawful().await;
    let actions = upkeep.forget_actions().await.unwrap();
    world.is_lawful().await;
    [events, messages, actions]
}

/// One round of a running process's upkeep.
async fn tidy(world: &World) {
    let lanes = HashMap::from([(account(1), "main".to_owned().try_into().unwrap())]);
    let housekeeper = Housekeeper::new(world.store.clone(), lanes, HousekeepingOptions::new(2 * HOUR));
    housekeeper.tidy().await.unwrap();
    housekeeper.measure().await.unwrap();
    world.is_lawful().await;
}

async fn sql(world: &World, statement: &str) {
    let mut connection = PgConnection::connect(&world.database.url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Tables that hold anything.
async fn remains(world: &World) -> Vec<String> {
    let mut connection = PgConnection::connect(&world.database.url).await.unwrap();
    let tables = [
        "action",
        "message",
        "event",
        "parked",
        "resolution",
        "expired",
        "feedback",
        "confirmation",
        "attempt",
        "dead_letter",
    ];
    let mut remains = Vec::new();
    for table in tables {
        let any = format!("select exists (select from {table})");
        if sqlx::query_scalar(AssertSqlSafe(any)).fetch_one(&mut connection).await.unwrap() {
            remains.push(table.to_owned());
        }
    }
    connection.close().await.unwrap();
    remains
}

#[tokio::test]
async fn what_is_confirmed_is_forgotten_after_90_days_events_first_actions_last() {
    let mut world = World::new().await;
    world.owes("login", 1).await;
    world.drain().await;
    world.travel(90 * DAY - HOUR);
    assert_eq!(forget(&world).await, [0, 0, 0]);
    world.travel(HOUR);

    let upkeep = &world.store.upkeep;
    assert_eq!(upkeep.forget_actions().await.unwrap(), 0, "its message and its event still name it");
    assert_eq!(upkeep.forget_messages().await.unwrap(), 0, "its event still names it");
    assert_eq!(forget(&world).await, [1, 1, 1]);
    assert_eq!(remains(&world).await, [""; 0]);

    let again = world.complete("event-of-login", "login").await;
    assert!(matches!(again, Accepted::Taken(_)), "it is news again");
}

#[tokio::test]
async fn what_is_owed_is_never_forgotten() {
    let mut world = World::new().await;
    world.store.operator.pause(&account(1), "for years").await.unwrap();
    world.drain().await;
    world.owes("login", 1).await;
    world.travel(1000 * DAY);
    tidy(&world).await;
    assert_eq!(forget(&world).await, [0, 0, 0]);

    world.store.operator.resume(&account(1)).await.unwrap();
    world.drain().await;
    assert_eq!(world.feedback(1).await, "confirmed@1");
    assert_eq!(forget(&world).await, [1, 0, 0], "the event is old; that it is confirmed is news");
    world.travel(90 * DAY);
    assert_eq!(forget(&world).await, [0, 1, 1]);
    assert_eq!(remains(&world).await, [""; 0]);
}

#[tokio::test]
async fn a_parked_event_is_not_forgotten_and_an_expired_one_after_400_days() {
    let world = World::new().await;
    world.complete("e1", "login").await;
    world.travel(1000 * DAY);
    assert_eq!(forget(&world).await, [0, 0, 0], "whatever its age, first it must expire");

    assert_eq!(world.store.upkeep.expire_parked().await.unwrap(), 1);
    assert_eq!(forget(&world).await, [0, 0, 0]);
    world.travel(400 * DAY - HOUR);
    tidy(&world).await;
    assert_eq!(world.event("e1").await, "expired");
    world.travel(HOUR);
    assert_eq!(forget(&world).await, [1, 0, 1]);
    assert_eq!(remains(&world).await, [""; 0]);
}

#[tokio::test]
async fn a_dead_letter_can_be_brought_back_for_400_days() {
    let mut world = World::new().await;
    world.fault("400");
    for number in 1..=2 {
        world.owes(&format!("login-{number}"), number).await;
    }
    world.drain().await;
    world.travel(400 * DAY - HOUR);
    tidy(&world).await;
    assert_eq!(world.feedback(1).await, "dead@1 rejected");
    world.twilio.clear_faults();
    let one = LetterFilter { message_sid: Some(sid(1)), ..LetterFilter::default() };
    assert_eq!(world.store.operator.replay(&one, 50, 1).await.unwrap().replayed, 1);
    world.drain().await;
    assert_eq!(world.event("event-of-login-1").await, "confirmed");

    world.travel(HOUR);
    assert_eq!(forget(&world).await, [2, 1, 1], "the other, and the event of the one that is confirmed now");
    assert_eq!(world.feedback(2).await, "unknown");
    assert_eq!(world.feedback(1).await, "confirmed@2");
}

#[tokio::test]
async fn a_message_is_kept_as_long_as_its_youngest_event() {
    let mut world = World::new().await;
    world.owes("login", 1).await;
    world.drain().await;
    world.travel(80 * DAY);
    world.complete("e2", "login").await;
    world.travel(20 * DAY);
    assert_eq!(forget(&world).await, [1, 0, 0]);
    assert_eq!(world.event("event-of-login").await, "unknown");
    assert_eq!(world.event("e2").await, "confirmed", "its receipt is whole");
    assert_eq!(world.feedback(1).await, "confirmed@1");

    world.travel(70 * DAY);
    assert_eq!(forget(&world).await, [1, 1, 1]);
    assert_eq!(remains(&world).await, [""; 0]);
}

#[tokio::test]
async fn an_event_stays_until_each_of_its_messages_may_go() {
    let mut world = World::new().await;
    world.complete_by("e1", "login", Resolve::All).await;
    for number in 1..=3 {
        world.register("login", number).await;
    }
    world.fault(&format!("400;message={}", sid(3)));
    world.drain().await;
    world.travel(399 * DAY);
    assert_eq!(forget(&world).await, [0, 0, 0], "one of its messages is among the dead letters");
    world.travel(DAY);
    assert_eq!(forget(&world).await, [1, 3, 1]);
    assert_eq!(remains(&world).await, [""; 0]);
}

#[tokio::test]
async fn a_mapping_that_nobody_asked_for_is_forgotten_too() {
    let world = World::new().await;
    world.register("login", 1).await;
    world.travel(90 * DAY);
    assert_eq!(forget(&world).await, [0, 1, 1]);
    assert_eq!(remains(&world).await, [""; 0]);
}

#[tokio::test]
async fn each_step_is_bounded_and_all_of_them_together_finish() {
    let mut world = World::with(Setting { upkeep_batch: 3, ..Setting::default() }).await;
    for number in 0..10 {
        world.owes(&format!("login-{number}"), number).await;
        world.complete(&format!("parked-{number}"), &format!("unknown-{number}")).await;
    }
    world.drain().await;
    world.travel(7 * DAY);
    let mut expired = Vec::new();
    while expired.last() != Some(&0) {
        expired.push(world.store.upkeep.expire_parked().await.unwrap());
        world.is_lawful().await;
    }
    assert_eq!(expired, [3, 3, 3, 1, 0]);

    world.travel(83 * DAY);
    let mut forgotten = Vec::new();
    while forgotten.last() != Some(&[0, 0, 0]) {
        forgotten.push(forget(&world).await);
    }
    assert_eq!(forgotten, [[3, 3, 3], [3, 3, 3], [3, 3, 3], [1, 1, 1], [0, 0, 0]]);
    assert_eq!(remains(&world).await, ["action", "event", "expired"]);
}

#[tokio::test]
async fn a_round_of_tidying_does_all_of_it() {
    let mut world = World::with(Setting { upkeep_batch: 3, ..Setting::default() }).await;
    for number in 0..10 {
        world.owes(&format!("login-{number}"), number).await;
        world.complete(&format!("parked-{number}"), &format!("unknown-{number}")).await;
    }
    world.fault(&format!("400;message={}", sid(100)));
    world.owes("hopeless", 100).await;
    world.drain().await;
    tidy(&world).await;
    assert_eq!(world.event("parked-0").await, "parked");

    world.travel(7 * DAY);
    tidy(&world).await;
    assert_eq!(world.event("parked-0").await, "expired");
    world.travel(84 * DAY);
    tidy(&world).await;
    assert_eq!((world.feedback(1).await.as_str(), world.feedback(100).await.as_str()), ("unknown", "dead@1 rejected"));
    world.travel(400 * DAY);
    tidy(&world).await;
    assert_eq!(remains(&world).await, [""; 0]);
}

#[tokio::test]
async fn what_stands_in_the_store_is_counted() {
    let mut world = World::new().await;
    world.complete("e1", "unknown-1").await;
    world.travel(7 * DAY);
    world.store.upkeep.expire_parked().await.unwrap();
    world.complete("e2", "unknown-2").await;
    world.fault("400;first=1");
    world.owes("hopeless", 1).await;
    world.drain().await;
    world.store.operator.pause(&account(1), "to count it").await.unwrap();
    world.drain().await;
    world.owes("login", 2).await;
    world.travel(MINUTE);

    let kept = world.store.upkeep.measure().await.unwrap();
    assert_eq!((kept.parked, kept.oldest_parked), (1, Some(MINUTE)));
    let mut dead = kept.dead.clone();
    dead.sort();
    assert_eq!(dead, [("expired".to_owned(), 1), ("rejected".to_owned(), 1)]);
    let [lane] = kept.lanes.try_into().unwrap();
    assert_eq!((lane.account_sid, lane.pending, lane.oldest_due), (account(1), 1, Some(MINUTE)));
    let expired = LetterFilter { reason: Some(LetterReason::Expired), ..LetterFilter::default() };
    assert_eq!(world.store.operator.count(&expired).await.unwrap(), 1);
}

#[tokio::test]
async fn what_a_clock_put_off_for_years_before_it_was_set_right_is_due_again() {
    let mut world = World::new().await;
    let longest_backoff = 2 * HOUR;
    world.fault(&format!("503;first=1;message={}", sid(1)));
    world.fault(&format!("429;first=1;message={}", sid(3)));
    world.owes("tried", 1).await;
    world.owes("throttled", 3).await;
    world.drain().await;
    world.store.operator.pause(&account(1), "so that nothing is handed over").await.unwrap();
    world.drain().await;
    world.owes("fresh", 2).await;
    world.store.operator.resume(&account(1)).await.unwrap();
    assert_eq!(world.store.upkeep.pull_in(longest_backoff).await.unwrap(), 0, "nothing is put off too far");

    sql(&world, "update feedback set due_at = '2036-01-01'").await;
    assert_eq!(world.drain().await, 0);
    assert_eq!(world.store.upkeep.pull_in(longest_backoff).await.unwrap(), 3);
    assert_eq!(world.drain().await, 3);
    for (number, stands) in [(1, "confirmed@2"), (2, "confirmed@1"), (3, "confirmed@2")] {
        assert_eq!(world.feedback(number).await, stands);
    }
}

#[tokio::test]
async fn what_an_operator_brought_back_slowly_is_not_hurried() {
    let mut world = World::new().await;
    world.fault("400");
    for number in 0..5 {
        world.owes(&format!("login-{number}"), number).await;
    }
    world.drain().await;
    world.twilio.clear_faults();
    world.store.operator.replay(&LetterFilter::default(), 1, u64::MAX).await.unwrap();
    assert_eq!(world.store.upkeep.pull_in(Duration::from_secs(1)).await.unwrap(), 0);
    assert_eq!(world.drain().await, 1, "one a second");
}

#[tokio::test]
async fn a_lease_of_a_clock_that_was_set_back_is_nobodys() {
    let mut world = World::new().await;
    world.owes("login", 1).await;
    sql(&world, "update feedback set lease_until = '2036-01-01'").await;
    // Whoever held it is gone, so another replica looks.
    let mut other = world.replica().await;
    crate::harness::world::drain(&mut other.delivery).await;
    assert_eq!(world.feedback(1).await, "confirmed@2");
    world.drain().await;
    world.is_lawful().await;
}

#[tokio::test]
async fn a_replica_that_has_been_silent_for_a_day_is_forgotten_and_one_that_tells_is_not() {
    let world = World::new().await;
    let tells = |name: &str| LaneReport {
        replica: name.to_owned(),
        in_flight: 0,
        limit: 8,
        breaker: "closed".to_owned(),
        shadow: false,
        reported_at: Default::default(), // by the database's clock
    };
    for name in ["gone", "there"] {
        world.store.outbox.report(&account(1), &tells(name)).await.unwrap();
    }
    world.travel(REPORTS_KEPT - MINUTE);
    world.store.outbox.report(&account(1), &tells("there")).await.unwrap();
    assert_eq!(world.store.upkeep.forget_replicas().await.unwrap(), 0, "a day is not over");
    world.travel(MINUTE);
    tidy(&world).await;
    let mut connection = PgConnection::connect(&world.database.url).await.unwrap();
    let left: Vec<String> =
        sqlx::query_scalar("select distinct replica from lane_report where replica in ('gone', 'there')")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    connection.close().await.unwrap();
    assert_eq!(left, ["there"]);
}
