//! A login service, as far as confirmd sees it: one connection a request, so that what became of each is certain.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::world::{account, sid};

/// Longest that any answer may take. Reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn is_taken(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why there was no answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Unanswered {
    /// Nobody listens: nothing was sent.
    Refused,
    /// The connection ended before the answer did.
    Cut(String),
}

impl Caller {
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Unanswered> {
        self.ask("GET", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer, Unanswered> {
        self.ask("POST", path, &body.to_string()).await
    }

    /// Tells that an action's message is the one with this number.
    pub(crate) async fn register(&self, action: &str, number: u32) -> Result<Answer, Unanswered> {
        let mapping = json!({"action_id": action, "message_sid": sid(number), "account_sid": account(1)});
        self.post("/v1/messages", &mapping).await
    }

    /// Tells that the user completed an action.
    pub(crate) async fn complete(&self, event_id: &str, action: &str) -> Result<Answer, Unanswered> {
        self.post("/v1/events", &completed(event_id, action)).await
    }

    /// Tells both of message and event `number`, each again and again until it is taken.
    pub(crate) async fn insist(&self, number: u32) {
        let (action, event_id) = (action_of(number), event_of(number));
        while !self.register(&action, number).await.is_ok_and(|answer| answer.is_taken()) {}
        while !self.complete(&event_id, &action).await.is_ok_and(|answer| answer.is_taken()) {}
    }

    /// Asks, and hangs up after this long, answered or not.
    pub(crate) async fn hang_up(&self, after: Duration, path: &str, body: &Value) {
        let _hung_up = timeout(after, self.post(path, body)).await;
    }

    /// Sends this, and leaves the connection open.
    pub(crate) async fn says(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Does what a line for curl says.
    pub(crate) async fn as_shown(curl: &str) -> Answer {
        // Arguments in quotes are every second piece.
        let pieces: Vec<&str> = curl.split('\'').collect();
        let quoted = || pieces.iter().skip(1).step_by(2);
        let bare = || pieces.iter().step_by(2).flat_map(|piece| piece.split_whitespace());
        let token = quoted().find_map(|header| header.strip_prefix("Authorization: Bearer ")).unwrap();
        let url = bare().find_map(|word| word.strip_prefix("http://")).unwrap();
        let (address, path) = url.split_at(url.find('/').unwrap());
        let caller = Self { address: address.parse().unwrap(), token: token.to_owned() };
        let answer = match quoted().find(|piece| piece.starts_with('{')) {
            Some(body) => caller.ask("POST", path, body).await,
            None => caller.get(path).await,
        };
        answer.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Result<Answer, Unanswered> {
        let Ok(mut stream) = TcpStream::connect(self.address).await else { return Err(Unanswered::Refused) };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        let mut heard = Vec::new();
        let talk = async {
            stream.write_all(request.as_bytes()).await?;
            stream.read_to_end(&mut heard).await
        };
        let talked = timeout(PATIENCE, talk).await.unwrap_or_else(|_| panic!("no answer to {method} {path}"));
        let heard = String::from_utf8_lossy(&heard);
        talked.ok().and_then(|_| read(&heard)).ok_or_else(|| Unanswered::Cut(heard.into_owned()))
    }
}

/// `None` where it is not whole.
fn read(heard: &str) -> Option<Answer> {
    let (head, body) = heard.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    if length.is_some_and(|length: usize| body.len() < length) {
        return None;
    }
    Some(Answer { status, body: serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())) })
}

pub(crate) fn completed(event_id: &str, action: &str) -> Value {
    json!({"event_id": event_id, "type": "otp.completed", "action_id": action})
}

pub(crate) fn action_of(number: u32) -> String {
    format!("login-{number}")
}

pub(crate) fn event_of(number: u32) -> String {
    format!("event-{number}")
}
