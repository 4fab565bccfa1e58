//! One request on a connection of its own, so that what became of it is certain.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What became of a request, as far as its caller can know.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    /// 2xx, and what it said.
    Ok(Value),
    /// Another status: nothing was taken.
    No(u16),
    /// Nobody listened: nothing was sent.
    Refused,
    /// The connection ended, or the caller's patience did, before the answer was whole.
    Unknown,
}

pub(crate) async fn ask(
    address: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
    patience: Duration,
) -> Told {
    let Ok(Ok(stream)) = timeout(patience, TcpStream::connect(address)).await else { return Told::Refused };
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    match timeout(patience, exchange(stream, &request)).await {
        Ok(Some(heard)) => read(&heard).unwrap_or(Told::Unknown),
        _ => Told::Unknown,
    }
}

/// Says these bytes, in a packet or a few, and gives the status that is answered; none where there is no answer.
pub(crate) async fn say(address: SocketAddr, bytes: &[u8], patience: Duration) -> Option<u16> {
    let exchanging = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        // Who is refused may be told so before he has said all.
        let _answered_early = stream.write_all(bytes).await;
        let mut heard = Vec::new();
        while heard.len() < "HTTP/1.1 200".len() {
            if stream.read_buf(&mut heard).await.ok()? == 0 {
                return None;
            }
        }
        std::str::from_utf8(heard.get(9..12)?).ok()?.parse().ok()
    };
    timeout(patience, exchanging).await.ok().flatten()
}

/// Asks the same again and again on one connection, without waiting for the answers: cheap for both sides.
pub(crate) async fn ask_often(address: SocketAddr, path: &str, times: usize, patience: Duration) {
    let asked = |then| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: {then}\r\n\r\n");
    let request = asked("keep-alive").repeat(times - 1) + &asked("close");
    let exchanging = async { exchange(TcpStream::connect(address).await.ok()?, &request).await };
    let _who_is_busy_may_hang_up = timeout(patience, exchanging).await;
}

async fn exchange(mut stream: TcpStream, request: &str) -> Option<String> {
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut heard = Vec::new();
    // What was whole before a reset still counts; `read` tells.
    let _reset = stream.read_to_end(&mut heard).await;
    String::from_utf8(heard).ok()
}

/// `None` where it is not whole.
fn read(heard: &str) -> Option<Told> {
    let (head, body) = heard.split_once("\r\n\r\n")?;
    let status: u16 = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    if length.is_none_or(|length: usize| body.len() < length) {
        return None;
    }
    Some(match status {
        200..=299 => Told::Ok(serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()))),
        _ => Told::No(status),
    })
}
