//! Faults that answer: wrong statuses, wrong bodies, late and slow ones.

use confirmd::twilio::sim::{Fault, FaultRule, StatusFault, Turns};

use super::staging::{Staging, message};

#[tokio::test]
async fn a_throttle_says_when_to_come_back_if_it_is_told_to() {
    for (rule, retry_after) in [
        ("429;first=1", ""),
        ("429;first=1;retry_after=3", "3"),
        ("429;first=1;retry_after=Fri, 31 Dec 2027 23:59:59 GMT", "Fri, 31 Dec 2027 23:59:59 GMT"),
        ("429;first=1;retry_after=soon", "soon"),
    ] {
        let staging = Staging::failing(&[rule]).await;
        let refused = staging.confirm(&message(1)).await;
        assert_eq!(refused.error(), (429, 20429));
        assert_eq!(refused.header("retry-after"), retry_after);
        assert_eq!(staging.sim.confirmed(&message(1)), Some(0), "a 429 was never processed");
        assert_eq!(staging.confirm(&message(1)).await.status, 200, "and then it was");
    }
}

#[tokio::test]
async fn errors_come_in_each_of_twilios_shapes() {
    let staging = Staging::failing(&["500;nth=1", "403;nth=1", "503;body=problem;nth=1", "504;nth=1", "401"]).await;
    let error = staging.confirm(&message(1)).await;
    assert_eq!(error.error(), (500, 20500));
    assert_eq!(staging.confirm(&message(1)).await.error(), (403, 20008));

    let problem = staging.confirm(&message(1)).await;
    assert_eq!((problem.error(), problem.header("content-type")), ((503, 20503), "application/problem+json"));
    assert_eq!(problem.json()["title"], "Service unavailable");

    let gateway = staging.confirm(&message(1)).await;
    assert_eq!((gateway.status, gateway.header("content-type")), (504, "text/html"));
    assert_eq!(gateway.header("twilio-request-id"), "", "the gateway is not Twilio");

    let unauthorized = staging.confirm(&message(1)).await;
    assert_eq!(unauthorized.error(), (401, 20003));
    assert_ne!(unauthorized.header("www-authenticate"), "");
}

#[tokio::test]
async fn a_success_may_prove_nothing() {
    let rules = ["200;nth=1", "200;body=html;nth=1", "other_message;nth=1", "unconfirmed;nth=1"];
    let staging = Staging::failing(&rules).await;
    let empty = staging.confirm(&message(1)).await;
    assert_eq!((empty.status, empty.text.as_str()), (200, ""));
    let page = staging.confirm(&message(1)).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    let other = staging.confirm(&message(1)).await.json();
    assert_ne!(other["message_sid"], message(1).as_str());
    let unconfirmed = staging.confirm(&message(1)).await.json();
    assert_eq!(unconfirmed["outcome"], "unconfirmed");
    assert_eq!(staging.sim.confirmed(&message(1)), Some(0));
}

#[tokio::test]
async fn a_redirect_leads_where_it_is_told_to() {
    let staging = Staging::failing(&["307;location=http://127.0.0.1:1/login;nth=1", "302"]).await;
    let elsewhere = staging.confirm(&message(1)).await;
    assert_eq!((elsewhere.status, elsewhere.header("location")), (307, "http://127.0.0.1:1/login"));
    let nowhere = staging.confirm(&message(1)).await;
    assert_eq!((nowhere.status, nowhere.header("location")), (302, ""));
}

#[tokio::test]
async fn an_error_may_hide_that_the_feedback_was_taken() {
    let staging = Staging::failing(&["500;applied=yes"]).await;
    assert_eq!(staging.confirm(&message(1)).await.status, 500);
    assert_eq!(staging.sim.confirmed(&message(1)), Some(1));
    let ledger = staging.sim.ledger();
    assert_eq!((ledger[0].applied, ledger[0].fault.as_deref()), (true, Some("500;applied=yes")));
}

#[tokio::test]
async fn a_young_message_is_missing_until_it_is_old_enough() {
    let staging = Staging::failing(&["young;age=50ms"]).await;
    assert_eq!(staging.confirm(&message(1)).await.error(), (404, 20404));
    staging.confirm_until(&message(1), 200).await;
}

#[tokio::test]
async fn each_message_may_be_missing_for_its_first_requests() {
    let staging = Staging::failing(&["404;first=2;per=message"]).await;
    for number in [1, 2] {
        let answers = [staging.confirm(&message(number)).await, staging.confirm(&message(number)).await];
        assert!(answers.iter().all(|answer| answer.error() == (404, 20404)));
        assert_eq!(staging.confirm(&message(number)).await.status, 200);
    }
}

#[tokio::test]
async fn a_fault_for_one_message_leaves_the_others_alone() {
    let staging = Staging::new().await;
    let unavailable = FaultRule::always(Fault::Status(StatusFault::usual(503)));
    staging.sim.play(FaultRule { message: Some(message(1)), turns: Turns::First(1), ..unavailable });
    assert_eq!(staging.confirm(&message(2)).await.status, 200);
    assert_eq!(staging.confirm(&message(1)).await.error(), (503, 20503));
    assert_eq!(staging.confirm(&message(1)).await.status, 200);
}

#[tokio::test]
async fn cleared_faults_are_over() {
    let staging = Staging::failing(&["503"]).await;
    assert_eq!(staging.confirm(&message(1)).await.status, 503);
    staging.sim.clear_faults();
    assert_eq!(staging.confirm(&message(1)).await.status, 200);
}

#[tokio::test]
async fn a_late_answer_is_whole() {
    let staging = Staging::failing(&["delay;time=20ms;nth=1"]).await;
    let late = staging.confirm(&message(1)).await;
    assert_eq!(late.status, 200);
    let took: f64 = late.header("twilio-request-duration").parse().unwrap();
    assert!(0.020 <= took, "{took}");
}

#[tokio::test]
async fn a_slow_answer_is_whole_too() {
    let staging = Staging::failing(&["drip;pause=1ms"]).await;
    let slow = staging.confirm(&message(1)).await;
    assert_eq!(slow.json()["outcome"], "confirmed");
    assert_eq!(slow.header("content-length"), slow.text.len().to_string());
}
