//! Dead letters are brought back paced, on record, by who has said how many they are; whoever is cut off goes on.

use std::time::Duration;

use confirmd::domain::LetterReason;
use confirmd::store::{LetterFilter, Run};
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};

use crate::harness::outside::eventually;
use crate::harness::process::Site;
use crate::harness::world::{DAY, World, account, sid};

/// So many letters of the messages from 1 on, the oldest first, and their events.
fn letters(from: u32, to: u32) -> String {
    format!(
        "insert into message (message_sid, account_sid, namespace, action_id, registered_at, owed_at, last_event_at)
         select 'SM' || lpad(to_hex(n), 32, '0'), 'AC00000000000000000000000000000001', 'default', 'login-' || n, now(), now(), now()
         from generate_series({from}, {to}) as n;
         insert into event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state, message_sids)
         select namespace, 'e-' || action_id, '', action_id, 'latest', now(), now(), 'pending', array[message_sid]
         from message where message_sid in (select 'SM' || lpad(to_hex(n), 32, '0') from generate_series({from}, {to}) as n);
         insert into dead_letter (message_sid, account_sid, namespace, reason, attempts, last_status, known_at, owed_at, died_at)
         select 'SM' || lpad(to_hex(n), 32, '0'), 'AC00000000000000000000000000000001', 'default', 'rejected', 1, 400,
                now(), now(), now() - interval '1 day' + n * interval '1 second'
         from generate_series({from}, {to}) as n;"
    )
}

/// What stands on record, batch by batch.
async fn operations(site: &Site) -> Vec<(String, String, String, String, i64)> {
    let mut connection = PgConnection::connect(&site.database.url).await.unwrap();
    let rows = sqlx::query_as("select done_by, done_via, what, subject, number from operation order by done_at");
    rows.fetch_all(&mut connection).await.unwrap()
}

fn recorded(by: &str, via: &str, what: &str, subject: &str, number: i64) -> (String, String, String, String, i64) {
    (by.to_owned(), via.to_owned(), what.to_owned(), subject.to_owned(), number)
}

#[tokio::test]
async fn more_than_a_thousand_are_brought_back_only_by_who_says_how_many() {
    let mut site = Site::new().await;
    site.set_variable("USER", "ada");
    site.sql(&letters(1, 1001)).await;
    let dry = site.run(&["dead-letters", "replay", "--reason", "rejected"]).await;
    assert!(dry.stdout.contains("1001 dead letters match; with --confirm 1001, 1001 would be brought back"), "{dry:?}");
    for guess in [&["--yes"][..], &["--confirm", "1000"]] {
        let refused = site.run(&[&["dead-letters", "replay", "--reason", "rejected"], guess].concat()).await;
        assert_eq!(refused.code, Some(64), "{refused:?}");
        assert!(refused.stderr.contains("say --confirm 1001"), "{refused:?}");
    }
    let fewer = site.run(&["dead-letters", "replay", "--reason", "rejected", "--limit", "1", "--yes"]).await;
    assert!(fewer.stdout.contains("1 of 1001 dead letters brought back"), "{fewer:?}");
    assert_eq!(site.count("dead_letter").await, 1000);
    let process = site.serve().await;
    site.sql(&letters(1002, 1003)).await;
    let body =
        |confirm: serde_json::Value| json!({"filter": {"reason": "rejected"}, "dry_run": false, "confirm": confirm});
    for guess in [json!(null), json!(1000)] {
        let refused = process.caller.post("/v1/dead-letters/replay", &body(guess)).await.unwrap();
        assert_eq!((refused.status, &refused.body["type"]), (409, &json!("urn:confirmd:problem:replay-unconfirmed")));
        assert!(refused.body["detail"].as_str().unwrap().starts_with("1002 would be replayed"), "{refused:?}");
    }
    assert_eq!(site.count("dead_letter").await, 1002);
    let done = process.caller.post("/v1/dead-letters/replay", &body(json!(1002))).await.unwrap();
    assert_eq!(done.body, json!({"matched": 1002, "replayed": 1002}));
    assert_eq!(
        operations(&site).await,
        [
            recorded("ada", "command_line", "replay", "reason rejected", 1),
            recorded("login", "http", "replay", "namespace default, reason rejected", 500),
            recorded("login", "http", "replay", "namespace default, reason rejected", 500),
            recorded("login", "http", "replay", "namespace default, reason rejected", 2),
        ]
    );
    let told = site.run(&["operations"]).await;
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "a line for what was done at once: {told:?}");
    assert!(
        lines[0].contains("login (over HTTP)  replay namespace default, reason rejected: 1002, due until"),
        "{told:?}"
    );
    assert!(lines[1].contains("ada (at the command line)  replay reason rejected: 1, due until"), "{told:?}");
    site.is_lawful().await;
}

#[tokio::test]
async fn a_replay_that_is_killed_is_on_record_as_far_as_it_came_and_goes_on_when_it_is_run_again() {
    let mut site = Site::new().await;
    site.set_variable("USER", "ada");
    site.sql(&letters(1, 1200)).await;
    // The second batch stands at its commit until the process is gone.
    let mut keeper = PgConnection::connect(&site.database.url).await.unwrap();
    keeper
        .execute(
            "create function wait_for_the_keeper() returns trigger language plpgsql as $$ begin
                 if (select count(*) from operation) > 1 then perform pg_advisory_xact_lock_shared(20003); end if;
                 return null;
             end $$;
             create constraint trigger at_the_gate after insert on operation deferrable initially deferred
                 for each row execute function wait_for_the_keeper();
             select pg_advisory_lock(20003);",
        )
        .await
        .unwrap();
    let replay = ["dead-letters", "replay", "--rate", "10000", "--confirm", "1200"];
    let process = site.begin(&replay);
    let waiting = "pg_stat_activity where datname = current_database() and wait_event = 'advisory'";
    eventually("the second batch waits", || async { (site.count(waiting).await == 1).then_some(()) }).await;
    process.kill().await;
    assert_eq!((site.count("dead_letter").await, site.count("feedback").await), (700, 500));
    keeper.execute("select pg_advisory_unlock(20003); drop trigger at_the_gate on operation;").await.unwrap();
    eventually("the batch of the killed process is undone or done", || async {
        (site.count(waiting).await == 0).then_some(())
    })
    .await;
    // Whether Postgres noticed before its commit that nobody listens any more: either way it is whole.
    let done = site.count("feedback").await;
    assert!([500, 1000].contains(&done), "{done}");
    assert_eq!(operations(&site).await.iter().map(|row| row.4).sum::<i64>(), done, "on record as far as it came");

    let again = site.run(&["dead-letters", "replay", "--rate", "10000", "--yes"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains(&format!("{0} of {0} dead letters brought back", 1200 - done)), "{again:?}");
    let _process = site.serve().await;
    site.everything_is_settled().await;
    assert_eq!(site.count("confirmation where attempts = 2").await, 1200);
    assert_eq!(site.twilio.ledger().len(), 1200, "each once");
    assert_eq!(operations(&site).await.iter().map(|row| row.4).sum::<i64>(), 1200);
    site.is_lawful().await;
}

#[tokio::test]
async fn what_is_brought_back_by_the_same_words_comes_due_after_what_came_before() {
    let mut world = World::new().await;
    world.fault("400;first=6");
    for number in 1..=6 {
        world.owes(&format!("login-{number}"), number).await;
    }
    world.drain().await;
    let operator = &world.store.operator;
    let all = LetterFilter::default();
    assert_eq!(operator.replay(&all, 1, 3).await.unwrap().replayed, 3);
    // As if the first had been cut off.
    assert_eq!(operator.replay(&all, 1, 2).await.unwrap().replayed, 2);
    // Other words do not wait.
    let one = LetterFilter { message_sid: Some(sid(6)), ..LetterFilter::default() };
    assert_eq!(operator.replay(&one, 1, 1).await.unwrap().replayed, 1);
    assert_eq!(world.drain().await, 2, "the first of all, and the one by name");
    for second in 1..=4 {
        world.travel(Duration::from_secs(1));
        assert_eq!(world.drain().await, 1, "{second}");
    }
    world.is_lawful().await;
}

#[tokio::test]
async fn expired_events_are_brought_back_at_the_same_pace_and_behind_what_is_live() {
    let mut world = World::new().await;
    for number in 1..=4 {
        world.complete(&format!("e{number}"), &format!("login-{number}")).await;
    }
    world.travel(7 * DAY);
    assert_eq!(world.store.upkeep.expire_parked().await.unwrap(), 4);
    for number in 1..=3 {
        world.register(&format!("login-{number}"), number).await;
    }
    let expired = LetterFilter { reason: Some(LetterReason::Expired), ..LetterFilter::default() };
    let replay = world.store.operator.replay(&expired, 1, u64::MAX).await.unwrap();
    assert_eq!((replay.matched, replay.replayed), (4, 4));
    // What is put off by a replay is not taken for what a clock that jumped has put off.
    assert_eq!(world.store.upkeep.pull_in(Duration::ZERO).await.unwrap(), 0);
    assert_eq!(world.drain().await, 1, "one a second");
    world.travel(Duration::from_secs(1));
    assert_eq!(world.drain().await, 1);
    world.travel(Duration::from_secs(1));
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.event("e4").await, "parked", "and waits anew");
    let [done] = world.store.ledger.operations(10).await.unwrap().try_into().unwrap();
    assert_eq!((done.subject.as_str(), done.number), ("reason expired", 4));
    world.is_lawful().await;
}

#[tokio::test]
async fn only_what_died_in_the_span_is_brought_back() {
    let mut world = World::new().await;
    world.fault("400;first=3");
    let mut died = Vec::new();
    for number in 1..=3 {
        world.owes(&format!("login-{number}"), number).await;
        world.drain().await;
        died.push(world.store.ledger.dead_letters(&LetterFilter::default(), 1, None).await.unwrap().items[0].died_at);
        world.travel(DAY);
    }
    let second = LetterFilter { since: Some(died[1]), until: Some(died[2]), ..LetterFilter::default() };
    assert_eq!(world.store.operator.count(&second).await.unwrap(), 1);
    assert_eq!(world.store.operator.replay(&second, 50, 10).await.unwrap().replayed, 1);
    world.drain().await;
    let states = [world.feedback(1).await, world.feedback(2).await, world.feedback(3).await];
    assert_eq!(states, ["dead@1 rejected", "confirmed@2", "dead@1 rejected"]);
}

#[tokio::test]
async fn two_who_bring_back_at_once_share_the_letters() {
    let world = World::new().await;
    let mut connection = PgConnection::connect(&world.database.url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(letters(1, 900))).execute(&mut connection).await.unwrap();
    let bring = async || {
        let mut run = Run::new(&LetterFilter::default(), 1000, u64::MAX);
        let mut replayed = 0;
        while let part @ 1.. = world.store.operator.replay_on(&mut run).await.unwrap() {
            replayed += part;
        }
        replayed
    };
    let (one, other) = tokio::join!(bring(), bring());
    assert_eq!(one + other, 900);
    let recorded: i64 =
        sqlx::query_scalar("select sum(number)::bigint from operation").fetch_one(&mut connection).await.unwrap();
    assert_eq!(recorded, 900);
    world.is_lawful().await;
}

#[tokio::test]
async fn who_pauses_and_resumes_a_lane_stands_on_record() {
    let site = Site::new().await;
    let lane = account(1);
    let process = site.serve().await;
    let pause = ["lanes", "pause", lane.as_str(), "--reason", "moving to eu", "--by", "ada"];
    assert_eq!(site.run(&pause).await.code, Some(0));
    let resumed = process.caller.post(&format!("/v1/lanes/{lane}/resume"), &json!({})).await.unwrap();
    assert_eq!(resumed.status, 200, "{resumed:?}");
    // Nothing was paused any more: that is on record, too.
    assert_eq!(site.run(&["lanes", "resume", lane.as_str()]).await.code, Some(0));
    assert_eq!(
        operations(&site).await,
        [
            recorded("ada", "command_line", "pause", lane.as_str(), 1),
            recorded("login", "http", "resume", lane.as_str(), 1),
            recorded("operator", "command_line", "resume", lane.as_str(), 0),
        ]
    );
    let told = site.run(&["operations", "--limit", "3"]).await;
    assert!(told.stdout.contains(&format!("ada (at the command line)  pause {lane}: 1  moving to eu")), "{told:?}");
    let nameless = site.run(&["lanes", "resume", lane.as_str(), "--by", "ada@example.org"]).await;
    assert_eq!(nameless.code, Some(64), "{nameless:?}");
    assert!(nameless.stderr.contains("--by (or USER) must be"), "{nameless:?}");
}

#[tokio::test]
async fn what_operators_did_is_forgotten_with_the_dead_letters() {
    let world = World::new().await;
    world.store.operator.pause(&account(1), "for years").await.unwrap();
    world.travel(400 * DAY - DAY);
    assert_eq!(world.store.upkeep.forget_operations().await.unwrap(), 0);
    world.travel(DAY);
    assert_eq!(world.store.upkeep.forget_operations().await.unwrap(), 1);
}
