//! Feedback is there from a message's creation, and each request updates it.

use confirmd::domain::MessageSid;
use confirmd::twilio::sim::{Answer, FeedbackStatus, WithoutProvideFeedback};
use confirmd::twilio::wire::FeedbackResource;
use reqwest::Method;

use super::staging::{Staging, message};

async fn sent(staging: &Staging, provide_feedback: &str) -> MessageSid {
    let form = [("To", "+15558675310"), ("From", "+15557122661"), ("Body", "1"), ("ProvideFeedback", provide_feedback)];
    let created = staging.ask(Method::POST, "Messages.json", &form).await;
    created.json()["sid"].as_str().unwrap().to_owned().try_into().unwrap()
}

#[tokio::test]
async fn confirming_a_sent_message_answers_its_feedback() {
    let staging = Staging::with(|_| {}).await;
    let sid = sent(&staging, "true").await;
    assert_eq!(staging.sim.confirmed(&sid), Some(0), "unconfirmed until it is reported");

    let answer = staging.confirm(&sid).await;
    let resource: FeedbackResource = serde_json::from_str(&answer.text).unwrap();
    let (created, updated) = (resource.date_created.unwrap(), resource.date_updated.unwrap());
    let account = &staging.account;
    let expected = format!(
        r#"{{"account_sid": "{account}", "date_created": "{created}", "date_updated": "{updated}", "message_sid": "{sid}", "outcome": "confirmed", "uri": "/2010-04-01/Accounts/{account}/Messages/{sid}/Feedback.json"}}"#
    );
    assert_eq!((answer.status, answer.text), (200, expected));
    assert_eq!(staging.sim.confirmed(&sid), Some(1));
}

#[tokio::test]
async fn confirming_twice_updates_once_more() {
    let staging = Staging::new().await;
    let first = staging.confirm(&message(1)).await.json();
    let second = staging.confirm(&message(1)).await.json();
    assert_eq!(first["date_created"], second["date_created"]);
    assert_eq!(staging.sim.confirmed(&message(1)), Some(2));
}

#[tokio::test]
async fn an_outcome_that_is_missing_changes_nothing_and_a_wrong_one_is_refused() {
    let staging = Staging::new().await;
    let path = format!("Messages/{}/Feedback.json", message(1));
    let asked = staging.ask(Method::POST, &path, &[]).await;
    assert_eq!((asked.status, asked.json()["outcome"].as_str()), (200, Some("unconfirmed")));
    assert_eq!(staging.ask(Method::POST, &path, &[("Outcome", "converted")]).await.error(), (400, 20422));
    assert_eq!(staging.sim.confirmed(&message(1)), Some(0));
    assert!(staging.sim.ledger().iter().all(|entry| !entry.applied));
}

#[tokio::test]
async fn feedback_is_created_only() {
    let staging = Staging::new().await;
    let path = format!("Messages/{}/Feedback.json", message(1));
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        assert_eq!(staging.ask(method, &path, &[]).await.error(), (405, 20004));
    }
}

#[tokio::test]
async fn a_message_that_was_never_sent_is_not_found() {
    let staging = Staging::with(|_| {}).await;
    assert_eq!(staging.confirm(&message(1)).await.error(), (404, 20404));
    assert_eq!(staging.sim.confirmed(&message(1)), None);
}

#[tokio::test]
async fn a_message_sent_without_provide_feedback_does_as_was_chosen() {
    for (choice, status) in [
        (WithoutProvideFeedback::AcceptAndIgnore, 200),
        (WithoutProvideFeedback::NotFound, 404),
        (WithoutProvideFeedback::BadRequest, 400),
    ] {
        let staging = Staging::with(|options| options.without_provide_feedback = choice).await;
        let sid = sent(&staging, "false").await;
        assert_eq!(staging.confirm(&sid).await.status, status, "{choice:?}");
        assert_eq!(staging.sim.confirmed(&sid), Some(0), "{choice:?}");
    }
}

#[tokio::test]
async fn success_may_be_201_too() {
    let staging = Staging::with(|options| options.feedback_status = FeedbackStatus::Created).await;
    let sid = sent(&staging, "true").await;
    assert_eq!(staging.confirm(&sid).await.status, 201);
}

#[tokio::test]
async fn the_ledger_holds_what_was_asked_and_answered_but_no_text_of_a_message() {
    let staging = Staging::with(|_| {}).await;
    let mut deliveries = staging.sim.subscribe();
    let sid = sent(&staging, "true").await;
    staging.confirm(&sid).await;
    let ledger = staging.sim.ledger();
    let [creation, feedback] = ledger.as_slice() else { panic!("two requests were made") };
    assert_eq!((creation.sequence, creation.body.as_deref()), (1, None));
    assert_eq!(feedback.body.as_deref(), Some("Outcome=confirmed"));
    assert_eq!((&feedback.account_sid, &feedback.message_sid), (&Some(staging.account.clone()), &Some(sid)));
    assert_eq!(feedback.authorization, Some(format!("Basic {}", staging.account)));
    assert_eq!(feedback.content_type.as_deref(), Some("application/x-www-form-urlencoded"));
    assert!(feedback.authenticated && feedback.applied && feedback.fault.is_none());
    assert_eq!((creation.answer, feedback.answer), (Answer::Status(201), Answer::Status(200)));
    assert!(creation.since_start <= feedback.since_start);
    for entry in &ledger {
        assert_eq!(deliveries.recv().await.unwrap(), *entry, "subscribers see each entry");
    }
}
