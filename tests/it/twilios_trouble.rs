//! Promises 3, 5 and 6: once in practice, late is welcome, and Twilio's trouble stays Twilio's.
//! Each row of the verdict table, over a real socket.

use std::time::Duration;

use confirmd::delivery::TABLE;
use confirmd::domain::{LetterReason, MessageSid};
use confirmd::store::{LetterFilter, Wanted};
use secrecy::SecretString;

use crate::harness::world::{DAY, HOUR, MINUTE, Setting, TOKEN, World, account, sid};

/// Plays a fault for ever on one message and gives where its feedback stands after one attempt.
async fn after_one(rule: &str, age: Duration) -> String {
    let mut world = World::with(impatient()).await;
    world.register("login", 1).await;
    world.travel(age);
    world.fault(rule);
    world.complete("e1", "login").await;
    assert_eq!(world.drain().await, 1, "{rule}: one attempt is one request");
    world.is_lawful().await;
    world.feedback(1).await
}

fn impatient() -> Setting {
    Setting { request_timeout: Duration::from_millis(400), ..Setting::default() }
}

#[tokio::test]
async fn each_row_of_the_verdict_table_holds_over_a_real_socket() {
    let cases: &[(&str, Duration, &str)] = &[
        ("201", MINUTE, "pending@1"), // a 201 without a body proves nothing
        ("200", MINUTE, "pending@1"),
        ("200;body=html", MINUTE, "pending@1"),
        ("other_message", MINUTE, "pending@1"),
        ("unconfirmed", MINUTE, "pending@1"),
        ("cut", MINUTE, "pending@1"),
        ("429", MINUTE, "pending@1"),
        ("401", MINUTE, "pending@1 lane paused: Twilio answered 401, code 20003"),
        ("403", MINUTE, "pending@1 lane paused: Twilio answered 403, code 20008"),
        ("302;location=/elsewhere", MINUTE, "pending@1 lane paused: Twilio answered 302"),
        ("307;location=/elsewhere", MINUTE, "pending@1 lane paused: Twilio answered 307"),
        ("404", MINUTE, "pending@1"),
        ("404", 2 * HOUR, "dead@1 message_not_found"),
        ("408", MINUTE, "pending@1"),
        ("425", MINUTE, "pending@1"),
        ("500", MINUTE, "pending@1"),
        ("503;body=problem", MINUTE, "pending@1"),
        ("504", MINUTE, "pending@1"),
        ("reset", MINUTE, "pending@1"),
        ("reset;applied=yes", MINUTE, "pending@1"),
        ("hang", MINUTE, "pending@1"),
        ("hang;applied=yes", MINUTE, "pending@1"),
        ("drip;pause=100ms", MINUTE, "pending@1"),
        ("400", MINUTE, "dead@1 rejected"),
        ("410", MINUTE, "dead@1 rejected"),
        ("422;code=20422", MINUTE, "dead@1 rejected"),
    ];
    for (rule, age, stands) in cases {
        assert_eq!(after_one(rule, *age).await, *stands, "{rule}");
    }
    assert_eq!(TABLE.len(), 10, "a new row needs its cases here");
}

#[tokio::test]
async fn a_201_with_twilios_body_is_as_good_as_a_200() {
    let mut setting = Setting::default();
    setting.simulator.feedback_status = confirmd::twilio::sim::FeedbackStatus::Created;
    let mut world = World::with(setting).await;
    world.owes("login", 1).await;
    world.drain().await;
    assert_eq!(world.feedback(1).await, "confirmed@1");
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again_and_changes_nothing_at_twilio() {
    let mut world = World::with(impatient()).await;
    world.fault("reset;applied=yes;first=1");
    world.fault("hang;applied=yes;first=1");
    world.owes("login", 1).await;
    world.drain().await;
    world.travel(MINUTE);
    world.drain().await;
    world.travel(MINUTE);
    world.drain().await;
    assert_eq!(world.feedback(1).await, "confirmed@3");
    assert_eq!(world.twilio.confirmed(&sid(1)), Some(3), "each of the three was applied, to the same end");
}

#[tokio::test]
async fn a_2xx_that_proves_nothing_is_repeated_five_times_and_then_dead() {
    let mut world = World::new().await;
    world.fault("200;body=html");
    world.owes("login", 1).await;
    let mut requests = 0;
    for _ in 0..10 {
        requests += world.drain().await;
        world.travel(HOUR);
    }
    assert_eq!(requests, 6);
    assert_eq!(world.feedback(1).await, "dead@6 unverifiable");
    world.is_lawful().await;
}

#[tokio::test]
async fn retry_after_is_waited_for_in_full_and_burns_nothing() {
    let mut world = World::new().await;
    world.fault("429;retry_after=600;first=1");
    world.owes("login", 1).await;
    assert_eq!(world.drain().await, 1);
    world.travel(Duration::from_secs(599));
    assert_eq!(world.drain().await, 0);
    world.travel(Duration::from_secs(61));
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.feedback(1).await, "confirmed@2");
}

#[tokio::test]
async fn a_throttle_halves_the_lanes_concurrency() {
    let mut world = World::new().await;
    assert_eq!(world.delivery.lanes[0].limit(), 8);
    world.fault("429;first=1");
    world.owes("login", 1).await;
    world.drain().await;
    assert_eq!(world.delivery.lanes[0].limit(), 4);
}

#[tokio::test]
async fn refused_credentials_pause_the_lane_until_a_probe_is_let_in_and_burn_nothing() {
    let mut world = World::new().await;
    world.twilio.rotate_token(&account(1), SecretString::from("another"));
    world.owes("login", 1).await;
    assert_eq!(world.drain().await, 1);
    for number in 2..20 {
        world.owes(&format!("login-{number}"), number).await;
    }
    assert_eq!(world.drain().await, 0, "a paused lane sends nothing");
    for _ in 0..60 {
        world.travel(MINUTE);
        assert_eq!(world.drain().await, 1, "one probe a minute");
    }
    world.twilio.rotate_token(&account(1), SecretString::from(TOKEN));
    world.travel(MINUTE);
    assert_eq!(world.drain().await, 19);
    world.travel(MINUTE);
    world.drain().await;
    for number in 1..20 {
        assert!(world.feedback(number).await.starts_with("confirmed"), "{number}");
    }
    world.is_lawful().await;
}

#[tokio::test]
async fn the_second_credential_is_tried_when_the_first_is_refused() {
    let mut world = World::with(Setting { passwords: vec!["the-old-token", TOKEN], ..Setting::default() }).await;
    world.owes("login", 1).await;
    assert_eq!(world.drain().await, 2);
    assert_eq!(world.feedback(1).await, "confirmed@2");
    world.owes("signup", 2).await;
    assert_eq!(world.drain().await, 1, "it is used from then on");
}

#[tokio::test]
async fn one_broken_account_leaves_the_other_untouched() {
    let mut world = World::with(Setting { accounts: vec![account(1), account(2)], ..Setting::default() }).await;
    world.twilio.rotate_token(&account(1), SecretString::from("another"));
    world.owes("login", 1).await;
    let mut other = crate::harness::world::registration("signup", 2, None);
    other.account_sid = account(2);
    world.store.inbox.register(other).await.unwrap();
    world.complete("e2", "signup").await;
    world.drain().await;
    assert!(world.feedback(1).await.starts_with("pending@1 lane paused"));
    assert_eq!(world.feedback(2).await, "confirmed@1");
}

#[tokio::test]
async fn an_operators_pause_holds_until_an_operator_resumes_it() {
    let mut world = World::new().await;
    world.store.operator.pause(&account(1), "maintenance").await.unwrap();
    world.drain().await;
    world.owes("login", 1).await;
    world.travel(DAY);
    assert_eq!(world.drain().await, 0);
    assert_eq!(world.feedback(1).await, "pending@0 lane paused: maintenance");
    world.store.operator.resume(&account(1)).await.unwrap();
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.feedback(1).await, "confirmed@1");
}

#[tokio::test]
async fn transient_faults_are_given_up_after_a_week_of_nothing_else() {
    let mut world = World::new().await;
    world.fault("503");
    world.owes("login", 1).await;
    world.drain().await;
    world.travel(7 * DAY - HOUR);
    world.drain().await;
    assert_eq!(world.feedback(1).await, "pending@2", "an outage shorter than the give-up age loses nothing");
    world.travel(HOUR);
    world.drain().await;
    assert_eq!(world.feedback(1).await, "dead@3 gave_up");
    world.is_lawful().await;
}

#[tokio::test]
async fn a_dead_letter_is_listed_replayed_and_confirmed() {
    let mut world = World::new().await;
    world.fault("400;first=3");
    for number in 1..=3 {
        world.owes(&format!("login-{number}"), number).await;
    }
    world.drain().await;
    let filter = LetterFilter {
        reason: Some(LetterReason::try_from("rejected".to_owned()).unwrap()),
        ..LetterFilter::default()
    };
    let first = world.store.ledger.dead_letters(&filter, 2, None).await.unwrap();
    assert_eq!(first.items.len(), 2);
    let rest = world.store.ledger.dead_letters(&filter, 2, first.next).await.unwrap();
    assert_eq!((rest.items.len(), rest.next), (1, None));
    assert_eq!(world.store.operator.count(&filter).await.unwrap(), 3);

    let replay = world.store.operator.replay(&filter, 1, u64::MAX).await.unwrap();
    assert_eq!((replay.matched, replay.replayed), (3, 3));
    assert_eq!(world.drain().await, 1, "one a second");
    world.travel(Duration::from_secs(2));
    assert_eq!(world.drain().await, 2);
    assert_eq!(world.feedback(2).await, "confirmed@2");
    assert_eq!(world.store.operator.replay(&filter, 1, u64::MAX).await.unwrap().matched, 0);
    world.is_lawful().await;
}

#[tokio::test]
async fn an_event_whose_message_never_comes_expires_and_can_be_replayed() {
    let mut world = World::new().await;
    world.complete("e1", "login").await;
    world.complete("e2", "signup").await;
    world.travel(7 * DAY - HOUR);
    assert_eq!(world.store.upkeep.expire_parked().await.unwrap(), 0);
    world.travel(HOUR);
    assert_eq!(world.store.upkeep.expire_parked().await.unwrap(), 2);
    assert_eq!(world.event("e1").await, "expired");
    world.is_lawful().await;

    // The message of one of them comes after all.
    world.register("login", 1).await;
    assert_eq!(world.drain().await, 0, "what has expired waits for an operator");
    let expired = LetterFilter { reason: Some(LetterReason::Expired), ..LetterFilter::default() };
    assert_eq!(world.store.ledger.dead_letters(&expired, 10, None).await.unwrap().items.len(), 2);
    let replay = world.store.operator.replay(&expired, 50, u64::MAX).await.unwrap();
    assert_eq!((replay.matched, replay.replayed), (2, 2));
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.event("e1").await, "confirmed");
    assert_eq!(world.event("e2").await, "parked", "and waits anew");
    world.is_lawful().await;
}

#[tokio::test]
async fn a_message_that_is_found_late_is_confirmed_late() {
    let mut world = World::new().await;
    world.fault("young;age=1h");
    world.owes("login", 1).await;
    for _ in 0..5 {
        world.drain().await;
        world.travel(5 * MINUTE);
    }
    assert!(world.feedback(1).await.starts_with("pending"));
    world.twilio.clear_faults();
    world.drain().await;
    assert!(world.feedback(1).await.starts_with("confirmed"));
}

#[tokio::test]
async fn a_year_late_is_not_too_late() {
    let mut world = World::new().await;
    world.register("login", 1).await;
    world.travel(365 * DAY);
    world.complete("e1", "login").await;
    world.drain().await;
    assert_eq!(world.feedback(1).await, "confirmed@1");
}

#[tokio::test]
async fn a_worker_that_dies_leaves_its_feedback_to_the_next_and_is_fenced() {
    let mut world = World::new().await;
    world.owes_in_the_queue("login", 1).await;

    let claimed = world.store.outbox.claim(&account(1), Wanted::up_to(10)).await.unwrap();
    let [lost] = <[_; 1]>::try_from(claimed.leases).unwrap();
    assert_eq!(world.drain().await, 0, "a leased feedback is nobody else's");
    world.travel(MINUTE);
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.feedback(1).await, "confirmed@2");
    let attempts = world.store.ledger.message(None, &sid(1)).await.unwrap().unwrap().attempts;
    let verdicts: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.verdict.as_str())).collect();
    assert_eq!(verdicts, [(1, "interrupted"), (2, "confirmed")]);

    // The dead worker comes back with a refusal: too late.
    let settled = world.store.outbox.settle(&[rejected(lost)]).await.unwrap();
    assert_eq!(settled[&sid(1)], confirmd::store::Settled::Fenced);
    assert_eq!(world.feedback(1).await, "confirmed@2");
    world.is_lawful().await;
}

#[tokio::test]
async fn the_failure_of_a_lost_lease_changes_nothing_while_the_next_one_holds() {
    let mut world = World::new().await;
    world.owes_in_the_queue("login", 1).await;
    let [lost] = claim_one(&world).await;
    world.travel(MINUTE);
    let [held] = claim_one(&world).await;
    let settled = world.store.outbox.settle(&[rejected(lost)]).await.unwrap();
    assert_eq!(settled[&sid(1)], confirmd::store::Settled::Fenced);
    assert_eq!(world.feedback(1).await, "pending@2");
    let settled = world.store.outbox.settle(&[confirmed(held)]).await.unwrap();
    assert!(matches!(settled[&sid(1)], confirmd::store::Settled::Stands { .. }));
    assert_eq!(world.feedback(1).await, "confirmed@2");
    world.is_lawful().await;
}

async fn claim_one(world: &World) -> [confirmd::store::Lease; 1] {
    world.store.outbox.claim(&account(1), Wanted::up_to(10)).await.unwrap().leases.try_into().unwrap()
}

#[tokio::test]
async fn a_late_success_is_the_truth_whoever_brings_it() {
    let mut world = World::new().await;
    world.owes_in_the_queue("login", 1).await;
    let claimed = world.store.outbox.claim(&account(1), Wanted::up_to(10)).await.unwrap();
    let [slow] = <[_; 1]>::try_from(claimed.leases).unwrap();
    world.travel(MINUTE);
    world.fault("400");
    world.drain().await;
    assert_eq!(world.feedback(1).await, "dead@2 rejected");

    let settled = world.store.outbox.settle(&[confirmed(slow)]).await.unwrap();
    assert_eq!(settled[&sid(1)], confirmd::store::Settled::ConfirmedLate);
    assert!(world.feedback(1).await.starts_with("confirmed"));
    world.is_lawful().await;
}

#[tokio::test]
async fn a_feedback_that_kills_its_worker_again_and_again_is_poison() {
    let mut world = World::new().await;
    world.owes_in_the_queue("login", 1).await;
    for _ in 0..5 {
        let claimed = world.store.outbox.claim(&account(1), Wanted::up_to(10)).await.unwrap();
        assert_eq!(claimed.leases.len(), 1);
        drop(claimed);
        world.travel(MINUTE);
    }
    let claimed = world.store.outbox.claim(&account(1), Wanted::up_to(10)).await.unwrap();
    assert_eq!((claimed.leases.len(), claimed.poisoned), (0, 1));
    assert_eq!(world.feedback(1).await, "dead@5 poison");
    world.is_lawful().await;
}

#[tokio::test]
async fn a_lease_that_is_given_back_costs_nothing() {
    let mut world = World::new().await;
    world.owes_in_the_queue("login", 1).await;
    let claimed = world.store.outbox.claim(&account(1), Wanted::up_to(10)).await.unwrap();
    world.store.outbox.give_back(claimed.leases).await.unwrap();
    assert_eq!(world.feedback(1).await, "pending@0");
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.feedback(1).await, "confirmed@1");
}

#[tokio::test]
async fn fresh_work_goes_first_and_retries_keep_their_share() {
    let mut world = World::new().await;
    world.fault("503;first=8");
    for number in 1..=8 {
        world.owes(&format!("retried-{number}"), number).await;
    }
    world.drain().await;
    world.store.operator.pause(&account(1), "so that nothing is handed over").await.unwrap();
    world.drain().await;
    for number in 101..=120 {
        world.owes(&format!("fresh-{number}"), number).await;
    }
    world.store.operator.resume(&account(1)).await.unwrap();
    world.travel(HOUR);
    let claimed = world.store.outbox.claim(&account(1), Wanted::up_to(8)).await.unwrap();
    let fresh = claimed.leases.iter().filter(|lease| sid(100) < lease.message_sid).count();
    assert_eq!((claimed.leases.len(), fresh), (8, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_never_claim_the_same_feedback() {
    let mut world = World::new().await;
    world.store.operator.pause(&account(1), "so that nothing is handed over").await.unwrap();
    world.drain().await;
    for number in 0..200 {
        world.owes(&format!("login-{number}"), number).await;
    }
    world.store.operator.resume(&account(1)).await.unwrap();
    let claims = (0..8).map(|_| {
        let outbox = world.store.outbox.clone();
        tokio::spawn(async move {
            let mut sids: Vec<MessageSid> = Vec::new();
            loop {
                let claimed = outbox.claim(&account(1), Wanted::up_to(7)).await.unwrap().leases;
                if claimed.is_empty() {
                    return sids;
                }
                sids.extend(claimed.iter().map(|lease| lease.message_sid.clone()));
            }
        })
    });
    let claims: Vec<_> = claims.collect();
    let mut all = Vec::new();
    for claim in claims {
        all.extend(claim.await.unwrap());
    }
    all.sort();
    let claimed = all.len();
    all.dedup();
    assert_eq!((claimed, all.len()), (200, 200));
}

fn attempt(class: confirmd::domain::Class) -> confirmd::domain::Attempt {
    confirmd::domain::Attempt {
        class,
        status: None,
        code: None,
        request_id: None,
        error: None,
        took: Duration::from_millis(5),
    }
}

fn rejected(lease: confirmd::store::Lease) -> confirmd::store::Settlement {
    let verdict = confirmd::domain::Verdict::Dead(confirmd::domain::DeadReason::Rejected);
    let attempt = attempt(confirmd::domain::Class::Rejected);
    confirmd::store::Settlement { lease, attempt, verdict, date_updated: None }
}

fn confirmed(lease: confirmd::store::Lease) -> confirmd::store::Settlement {
    let attempt = attempt(confirmd::domain::Class::Confirmed);
    let verdict = confirmd::domain::Verdict::Confirmed;
    confirmd::store::Settlement { lease, attempt, verdict, date_updated: None }
}
