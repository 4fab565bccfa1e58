//! Faults of the connection: cut, reset, hung and closed behind the client's back.

use std::io::ErrorKind;

use confirmd::twilio::sim::Answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::staging::{PATIENCE, Staging, TOKEN, message};

/// One request on a connection of its own, without any client's cleverness.
async fn raw(staging: &Staging) -> TcpStream {
    let mut stream = TcpStream::connect(staging.sim.addr()).await.unwrap();
    confirm_on(&mut stream, staging).await;
    stream
}

async fn confirm_on(stream: &mut TcpStream, staging: &Staging) {
    use base64::Engine;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{}:{TOKEN}", staging.account));
    let request = format!(
        "POST /2010-04-01/Accounts/{}/Messages/{}/Feedback.json HTTP/1.1\r\nHost: api.twilio.com\r\nAuthorization: \
         Basic {credentials}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 17\r\n\r\n\
         Outcome=confirmed",
        staging.account,
        message(1),
    );
    stream.write_all(request.as_bytes()).await.unwrap();
}

async fn rest(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut text = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await;
    read.expect("the simulator ends the connection").map(|_| text)
}

#[tokio::test]
async fn a_reset_loses_the_answer_before_or_after_the_feedback_was_taken() {
    for (rule, confirmed) in [("reset", Some(0)), ("reset;applied=yes", Some(1))] {
        let staging = Staging::failing(&[rule]).await;
        let lost = rest(&mut raw(&staging).await).await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::ConnectionReset, "{rule}");
        assert_eq!(staging.sim.confirmed(&message(1)), confirmed, "{rule}");
        assert_eq!(staging.sim.ledger()[0].answer, Answer::Reset);
    }
}

#[tokio::test]
async fn a_cut_answer_is_shorter_than_it_says() {
    let staging = Staging::failing(&["cut"]).await;
    let text = rest(&mut raw(&staging).await).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(body.len(), length.parse::<usize>().unwrap() / 2);
    assert!(body.starts_with(r#"{"account_sid": "AC"#), "{body}");
    assert_eq!(staging.sim.ledger()[0].answer, Answer::Cut(200));
    assert!(staging.try_to_confirm(&message(1)).await.is_err(), "no client takes it for an answer");
}

#[tokio::test]
async fn a_hung_request_is_never_answered_whether_it_was_taken_or_not() {
    for (rule, confirmed) in [("hang", Some(0)), ("hang;applied=yes", Some(1))] {
        let staging = Staging::failing(&[rule]).await;
        let mut waiting = raw(&staging).await;
        staging.sim.answers(1).await;
        assert_eq!(staging.sim.ledger()[0].answer, Answer::Hung);
        assert_eq!(staging.sim.confirmed(&message(1)), confirmed, "{rule}");
        staging.sim.stop().await;
        assert_eq!(rest(&mut waiting).await.unwrap_or_default(), "", "{rule}: not a byte ever came");
    }
}

#[tokio::test]
async fn an_idle_connection_closes_without_a_word() {
    let staging = Staging::failing(&["close"]).await;
    let text = rest(&mut raw(&staging).await).await.unwrap();
    assert!(text.ends_with('}') && text.contains(r#""outcome": "confirmed""#), "the answer is whole: {text}");
    assert!(!text.to_ascii_lowercase().contains("connection:"), "and does not announce the end: {text}");
}

#[tokio::test]
async fn without_a_fault_a_connection_is_kept() {
    let staging = Staging::new().await;
    let mut stream = raw(&staging).await;
    let mut answers = Vec::new();
    while !answers.ends_with(b"}") {
        stream.read_buf(&mut answers).await.unwrap();
    }
    confirm_on(&mut stream, &staging).await;
    staging.sim.answers(2).await;
    assert_eq!(staging.sim.confirmed(&message(1)), Some(2));
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_and_its_feedback_stays_taken() {
    let staging = Staging::failing(&["delay;time=1h"]).await;
    let waiting = raw(&staging).await;
    staging.sim.requests(1).await;
    assert_eq!(staging.sim.ledger()[0].answer, Answer::Waiting);
    drop(waiting);
    staging.sim.answers(1).await;
    assert_eq!(staging.sim.ledger()[0].answer, Answer::Abandoned);
    assert_eq!(staging.sim.confirmed(&message(1)), Some(1));
}
