//! Twilio, down to the single byte: it takes feedback for every message of its account, unless a rule says otherwise.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::orders::{Happening, How, Phase, Rule, Say};
use super::request::Request;
use super::{Outside, happened};

pub(super) async fn open(outside: Arc<Outside>, by: String) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _small_answers = stream.set_nodelay(true);
            let (outside, by) = (outside.clone(), by.clone());
            tokio::spawn(async move { Line { outside, by, stream }.hold().await });
        }
    });
    Ok(address)
}

/// A connection of one replica.
struct Line {
    outside: Arc<Outside>,
    by: String,
    stream: TcpStream,
}

/// Whether the connection goes on.
#[derive(PartialEq)]
enum Next {
    Goes,
    Ends,
}

impl Line {
    async fn hold(mut self) {
        if let Some(Rule { say: Say::Stop { how, .. }, .. }) = self.rule_for_connections() {
            return self.stop(how).await;
        }
        let mut heard = Vec::new();
        while let Some(request) = Request::read(&mut self.stream, &mut heard).await {
            if self.answer(&request).await == Next::Ends {
                return;
            }
        }
    }

    async fn answer(&mut self, request: &Request) -> Next {
        let authorized =
            request.header("authorization") == *self.outside.authorization.lock().expect("no holder panics");
        let sid = self.message_of(&request.path);
        let rule = sid.as_ref().filter(|_| authorized).and_then(|sid| self.rule_for(sid));
        let takes = authorized && rule.as_ref().is_none_or(|rule| rule.taken || matches!(rule.say, Say::Takes { .. }));
        if let (Some(sid), true) = (&sid, takes) {
            *self.outside.taken.lock().expect("no holder panics").entry(sid.clone()).or_default() += 1;
        }
        let number = self.outside.ledger.heard(&self.by, request, authorized, sid.clone(), takes && sid.is_some());
        if rule.is_some() {
            happened(Happening::Played { by: self.by.clone() });
        }
        let (Some(sid), true) = (sid, authorized) else {
            let (status, code) = if authorized { (404, 20404) } else { (401, 20003) };
            let body = format!("{{\"code\": {code}, \"message\": \"no\", \"status\": {status}}}");
            return self.whole(number, status, false, &response(status, &[], &body)).await;
        };
        let taken = feedback(&self.outside.account_sid, &sid);
        match rule.map_or(Say::Takes { status: 200, late: 0 }, |rule| rule.say) {
            Say::Takes { status, late } => {
                sleep(Duration::from_millis(late)).await;
                self.whole(number, status, true, &response(status, &[], &taken)).await
            }
            Say::Answer { status, headers, body } => {
                let body = body.replace("{sid}", &sid);
                self.whole(number, status, false, &response(status, &headers, &body)).await
            }
            Say::Raw(text) => {
                let _left = self.stream.write_all(text.replace("{sid}", &sid).as_bytes()).await;
                let _left = self.stream.shutdown().await;
                self.outside.ledger.said(number, 0, false, false);
                Next::Ends
            }
            Say::Trickle { pause } => {
                for byte in response(200, &[], &taken) {
                    if self.stream.write_all(&[byte]).await.is_err() {
                        self.outside.ledger.said(number, 200, true, false);
                        return Next::Ends;
                    }
                    sleep(Duration::from_millis(pause)).await;
                }
                self.outside.ledger.said(number, 200, true, true);
                Next::Goes
            }
            Say::Endless => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
                let mut sent = self.stream.write_all(head.as_bytes()).await;
                while sent.is_ok() {
                    sent = self.stream.write_all(format!("1000\r\n{}\r\n", " ".repeat(0x1000)).as_bytes()).await;
                }
                self.outside.ledger.said(number, 200, false, false);
                Next::Ends
            }
            Say::Stop { at, how } => self.answer_up_to(number, at, how, &taken).await,
        }
    }

    async fn whole(&mut self, number: u64, status: u16, agrees: bool, bytes: &[u8]) -> Next {
        let sent = self.stream.write_all(bytes).await;
        self.outside.ledger.said(number, status, agrees, sent.is_ok());
        if sent.is_ok() { Next::Goes } else { Next::Ends }
    }

    async fn answer_up_to(&mut self, number: u64, at: Phase, how: How, taken: &str) -> Next {
        let bytes = response(200, &[], taken);
        let end = match at {
            Phase::Accepted | Phase::Heard => 0,
            Phase::StatusLine => bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1),
            Phase::MidBody => bytes.len() - taken.len() / 2,
            Phase::Answered => bytes.len(),
        };
        let _left = self.stream.write_all(&bytes[..end]).await;
        self.outside.ledger.said(number, 200, true, end == bytes.len());
        self.stop(how).await;
        Next::Ends
    }

    async fn stop(&mut self, how: How) {
        happened(Happening::Stopped { by: self.by.clone() });
        match how {
            // Until the client leaves.
            How::Hang => {
                while matches!(tokio::io::AsyncReadExt::read(&mut self.stream, &mut [0; 1024]).await, Ok(1..)) {}
            }
            How::Reset => drop(self.stream.set_zero_linger()),
            How::Close => {}
        }
    }

    fn rule_for_connections(&self) -> Option<Rule> {
        self.due(|rule| matches!(rule.say, Say::Stop { at: Phase::Accepted, .. }))
    }

    /// What it has taken Twilio does not refuse later, as if it had never heard of it.
    fn rule_for(&self, sid: &str) -> Option<Rule> {
        let taken = self.outside.taken.lock().expect("no holder panics").contains_key(sid);
        self.due(|rule| {
            let connecting = matches!(rule.say, Say::Stop { at: Phase::Accepted, .. });
            let refuses = matches!(rule.say, Say::Answer { status: 400..=499, .. }) && !is_passing(&rule.say);
            !(connecting || taken && refuses)
        })
    }

    fn due(&self, concerns: impl Fn(&Rule) -> bool) -> Option<Rule> {
        let mut rules = self.outside.rules.lock().expect("no holder panics");
        let is_due = |rule: &Rule| {
            let to_this = rule.only_to.as_ref().is_none_or(|replica| *replica == self.by);
            to_this && rule.times != Some(0) && concerns(rule) && self.outside.roll(rule.chance)
        };
        let due = rules.iter_mut().find(|rule| is_due(rule))?;
        due.times = due.times.map(|times| times - 1);
        Some(due.clone())
    }

    fn message_of(&self, path: &str) -> Option<String> {
        let messages = format!("/2010-04-01/Accounts/{}/Messages/", self.outside.account_sid);
        let sid = path.strip_prefix(&messages)?.strip_suffix("/Feedback.json")?;
        (sid.len() == 34).then(|| sid.to_owned())
    }
}

/// 4xx that say nothing of the message.
fn is_passing(say: &Say) -> bool {
    matches!(say, Say::Answer { status: 401 | 403 | 408 | 425 | 429, .. })
}

/// Twilio's resource, as its documentation shows it.
fn feedback(account_sid: &str, sid: &str) -> String {
    format!(
        "{{\"account_sid\": \"{account_sid}\", \"date_created\": \"Thu, 30 Jul 2015 20:00:00 +0000\", \
         \"date_updated\": \"Thu, 30 Jul 2015 20:00:00 +0000\", \"message_sid\": \"{sid}\", \"outcome\": \"confirmed\", \
         \"uri\": \"uri\"}}"
    )
}

fn response(status: u16, headers: &[(String, String)], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         twilio-request-id: RQ0\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}
