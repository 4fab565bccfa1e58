//! Promises 1 and 3 on the direct path: what is written as leased to its process and handed over in memory.

use std::net::TcpListener;

use confirmd::domain::Resolve;
use confirmd::store::{Accepted, Registered};
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::harness::caller::action_of;
use crate::harness::outside::eventually;
use crate::harness::process::Site;
use crate::harness::world::{World, account, event, exact, registration};

/// Feedback that the very commit which took its event has leased, and nobody has settled.
const LEASED_BY_ITS_EVENT: &str = "feedback join event on event.message_sids[1] = feedback.message_sid
    where feedback.lease_token is not null and feedback.xmin::text = event.xmin::text";

#[tokio::test]
async fn who_is_killed_between_the_commit_and_the_delivery_leaves_it_to_the_next() {
    let mut site = Site::new().await;
    // As short as may be, so that what the dead had comes due soon.
    site.set("delivery.request_timeout", "2s");
    site.set("delivery.connect_timeout", "2s");
    site.set("delivery.lease", "6s");
    site.set("delivery.poll_interval", "100ms");
    let twilio = site.twilio.base_url();
    // Whoever connects here is never spoken to: nothing that is sent is delivered.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    site.set_variable("TWILIO_BASE_URL", &format!("http://{}", nobody.local_addr().unwrap()));
    let process = site.serve().await;
    let mut logins = 0;
    // The lane opens its door a moment after the process is ready.
    while site.count(LEASED_BY_ITS_EVENT).await == 0 {
        logins += 1;
        assert!(logins <= 100, "nothing is handed over");
        process.caller.register(&action_of(logins), logins).await.unwrap();
        let answer = process.caller.complete(&format!("event-{logins}"), &action_of(logins)).await.unwrap();
        assert_eq!((answer.status, &answer.body["state"]), (202, &"pending".into()), "{answer:?}");
    }
    process.kill().await;
    assert!(0 < site.count(LEASED_BY_ITS_EVENT).await, "the dead had not settled it");
    assert_eq!(site.twilio.ledger().len(), 0);

    site.set_variable("TWILIO_BASE_URL", &twilio);
    let _next = site.serve().await;
    site.everything_is_settled().await;
    assert_eq!(site.twilio.ledger().len(), logins as usize, "Twilio hears of each once");
    assert!(0 < site.count("attempt_on_record where verdict = 'interrupted'").await);
    assert_eq!(site.count("attempt_on_record where verdict = 'confirmed'").await, i64::from(logins));
    site.is_lawful().await;
}

#[tokio::test]
async fn what_was_committed_before_the_session_broke_is_answered_as_new_and_delivered_at_once() {
    let mut world = World::new().await;
    world.register("login", 1).await;
    world.register("signup", 2).await;
    // Somebody is about to say the same as the last of three that come at once.
    let mut other = PgConnection::connect(&world.database.url).await.unwrap();
    other
        .execute(
            "begin;
             insert into event (namespace, event_id, fingerprint, resolve, occurred_at, accepted_at, state, message_sids)
             values ('default', 'signed-up', '', 'exact', now(), now(), 'pending', '{}')",
        )
        .await
        .unwrap();
    let inbox = &world.store.inbox;
    let three = async {
        tokio::join!(
            inbox.register(registration("reset", 3, None)),
            inbox.accept(event("logged-in", "login", Resolve::Latest)),
            inbox.accept(exact("signed-up", 2)),
        )
    };
    let broken = async {
        let other = tokio::sync::Mutex::new(&mut other);
        eventually("the last one waits, and its session is ended", || async {
            let ended: bool = sqlx::query_scalar(
                "select coalesce(bool_or(pg_terminate_backend(pid, 10000)), false) from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(&mut **other.lock().await)
            .await
            .unwrap();
            ended.then_some(())
        })
        .await;
        other.lock().await.execute("rollback").await.unwrap();
    };
    let ((registered, logged_in, signed_up), ()) = tokio::join!(three, broken);
    assert!(matches!(registered, Ok(Registered::Created(_))), "{registered:?}");
    assert!(matches!(logged_in, Ok(Accepted::Taken(_))), "{logged_in:?}");
    assert!(matches!(signed_up, Ok(Accepted::Taken(_))), "{signed_up:?}");
    assert_eq!(world.drain().await, 2, "nothing waits for a lease to expire");
    world.is_lawful().await;
}

/// In this database: the server is shared with other stories.
const CLAIMS_THAT_WAIT: &str = "pg_locks join pg_database on pg_database.oid = pg_locks.database
    where datname = current_database() and locktype = 'advisory' and not granted";

#[tokio::test]
async fn what_comes_while_a_claim_has_all_the_room_does_not_wait_for_the_next_look() {
    let mut site = Site::new().await;
    // Nothing that takes long here may be ended, and the next look is far away.
    site.is_patient();
    site.set("database.lock_timeout", "20s");
    site.set("delivery.poll_interval", "59s");
    let intake = site.serve_with(&["--role", "intake"]).await;
    intake.caller.register("login", 1).await.unwrap();
    assert_eq!(intake.caller.complete("logged-in", "login").await.unwrap().status, 202);
    intake.kill().await;
    site.sql(
        "create function claims_wait() returns trigger language plpgsql as
             $$ begin perform pg_advisory_xact_lock_shared(1); return new; end $$;
         create trigger claims_wait before update of lease_token on feedback
             for each row when (old.lease_token is null and new.lease_token is not null) execute function claims_wait()",
    )
    .await;
    let mut barrier = PgConnection::connect(&site.database.url).await.unwrap();
    barrier.execute("select pg_advisory_lock(1)").await.unwrap();

    let process = site.serve().await;
    eventually("the lane's first claim waits for us", || async {
        (site.count(CLAIMS_THAT_WAIT).await == 1).then_some(())
    })
    .await;
    process.caller.register("signup", 2).await.unwrap();
    assert_eq!(process.caller.complete("signed-up", "signup").await.unwrap().status, 202);
    assert_eq!(site.count("feedback where lease_token is null").await, 2, "what the claim has is not committed yet");
    barrier.execute("select pg_advisory_unlock(1)").await.unwrap();

    site.everything_is_settled().await;
    assert_eq!(site.twilio.ledger().len(), 2);
    site.is_lawful().await;
}

#[tokio::test]
async fn a_lane_that_is_paused_does_not_ask_postgres_for_each_event() {
    let mut site = Site::new().await;
    site.set("delivery.poll_interval", "59s");
    let lane = account(1).to_string();
    assert_eq!(site.run(&["lanes", "pause", &lane, "--reason", "moving"]).await.code, Some(0));
    let process = site.serve().await;
    let looks = || async {
        let metrics = process.caller.get("/metrics").await.unwrap().body;
        let line = metrics.as_str().unwrap().lines().find(|line| line.starts_with(LOOKS)).map(str::to_owned);
        line.and_then(|line| line[LOOKS.len()..].trim().parse::<u32>().ok()).filter(|looks| 0 < *looks)
    };
    eventually("the lane has looked, and found that it is paused", looks).await;
    for login in 1..=20 {
        process.caller.register(&action_of(login), login).await.unwrap();
        assert_eq!(process.caller.complete(&format!("event-{login}"), &action_of(login)).await.unwrap().status, 202);
    }
    assert_eq!(looks().await, Some(1));
    assert_eq!(site.count("feedback where lease_token is null").await, 20);
}

const LOOKS: &str = r#"confirmd_loop_steps_total{loop="lane"}"#;
