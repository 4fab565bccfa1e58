//! Limits that are real: requests of an account at once, and what the simulator keeps.

use confirmd::twilio::sim::UnknownMessages;
use reqwest::Method;

use super::staging::{Staging, message};

#[tokio::test]
async fn an_account_at_its_concurrency_limit_is_throttled_until_a_request_ends() {
    let staging = Staging::with(|options| {
        options.unknown_messages = UnknownMessages::Accept;
        options.concurrency_limit = Some(2);
        options.faults = vec!["hang;first=2".parse().unwrap()];
    })
    .await;
    let (one, two, three) = (message(1), message(2), message(3));
    let watch = async {
        staging.sim.answers(2).await;
        let refused = staging.confirm(&three).await;
        assert_eq!(refused.error(), (429, 20429));
        assert_eq!(refused.header("twilio-concurrent-requests"), "3");
    };
    tokio::select! {
        _ = staging.try_to_confirm(&one) => panic!("the first hangs"),
        _ = staging.try_to_confirm(&two) => panic!("the second hangs"),
        () = watch => {}
    }
    // both clients have left by now
    staging.confirm_until(&three, 200).await;
    assert_eq!(staging.sim.most_in_flight(&staging.account), 3);
    assert_eq!(staging.sim.confirmed(&three), Some(1), "what was throttled was never processed");
}

#[tokio::test]
async fn the_oldest_entries_and_messages_go_first() {
    let staging = Staging::with(|options| {
        options.unknown_messages = UnknownMessages::Accept;
        options.longest_ledger = 2;
        options.most_messages = 2;
    })
    .await;
    for number in 1..=3 {
        staging.confirm(&message(number)).await;
    }
    let kept: Vec<_> = staging.sim.ledger().iter().map(|entry| entry.sequence).collect();
    assert_eq!(kept, [2, 3]);
    assert_eq!(staging.sim.confirmed(&message(1)), None);
    assert_eq!(staging.sim.confirmed(&message(3)), Some(1));
}

#[tokio::test]
async fn a_body_beyond_reason_is_refused() {
    let staging = Staging::new().await;
    let answer = staging.ask(Method::POST, "Messages.json", &[("Body", &"x".repeat(65 * 1024))]).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn latency_applies_to_every_answer() {
    let staging = Staging::with(|options| options.latency = std::time::Duration::from_millis(20)).await;
    let answer = staging.confirm(&message(1)).await;
    let took: f64 = answer.header("twilio-request-duration").parse().unwrap();
    assert!(0.020 <= took, "{took}");
}
