//! What stands where Twilio would be: answers every Feedback with 201, after a delay if so asked, and remembers when
//! each one came. A process of its own, with one thread.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::ids;
use super::wire::{Messages, micros};

/// Moments of the first arrival by message number; 0 where there was none. And how many requests there were in all.
#[derive(Default)]
struct Heard {
    at: Vec<u64>,
    requests: u64,
}

/// Serves until it is killed.
pub(super) async fn run(delay: Duration, hang_after: Option<u64>) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    let heard = Rc::new(RefCell::new(Heard::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        let heard = heard.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = converse(stream, &heard, delay, hang_after).await {
                eprintln!("sink: {error}");
            }
        });
    }
}

async fn converse(
    mut stream: TcpStream,
    heard: &RefCell<Heard>,
    delay: Duration,
    hang_after: Option<u64>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reads, mut writes) = stream.split();
    let mut requests = Messages::new(reads);
    while let Some((head, _)) = requests.next().await? {
        let path = path(head);
        let answer = match (heard_at(path), asked(path)) {
            (Some(sid), _) => {
                hear(heard, sid);
                if hang_after.is_some_and(|answered| answered < heard.borrow().requests) {
                    return std::future::pending().await;
                }
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                feedback(sid)
            }
            (None, Some((from, to))) => arrivals(&heard.borrow(), from, to),
            (None, None) => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        };
        writes.write_all(&answer).await?;
    }
    Ok(())
}

fn path(head: &[u8]) -> &str {
    str::from_utf8(head).ok().and_then(|head| head.split(' ').nth(1)).unwrap_or_default()
}

/// The message of `/2010-04-01/Accounts/AC…/Messages/SM…/Feedback.json`.
fn heard_at(path: &str) -> Option<&str> {
    path.strip_suffix("/Feedback.json")?.rsplit('/').next()
}

/// `/arrivals/FROM/TO`
fn asked(path: &str) -> Option<(usize, usize)> {
    let (from, to) = path.strip_prefix("/arrivals/")?.split_once('/')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

fn hear(heard: &RefCell<Heard>, sid: &str) {
    let mut heard = heard.borrow_mut();
    heard.requests += 1;
    let Some(n) = ids::number_of(sid).and_then(|n| usize::try_from(n).ok()) else { return };
    if heard.at.len() <= n {
        heard.at.resize(n + 1, 0);
    }
    if heard.at[n] == 0 {
        heard.at[n] = micros();
    }
}

fn feedback(sid: &str) -> Vec<u8> {
    let body = format!("{{\"message_sid\":\"{sid}\",\"outcome\":\"confirmed\"}}");
    let length = body.len();
    format!("HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into()
}

/// All requests so far, then the moments of `from..to`: eight bytes each, little-endian.
fn arrivals(heard: &Heard, from: usize, to: usize) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 8 + 8 * to.saturating_sub(from)).into_bytes();
    answer.extend(heard.requests.to_le_bytes());
    (from..to).for_each(|n| answer.extend(heard.at.get(n).copied().unwrap_or(0).to_le_bytes()));
    answer
}
