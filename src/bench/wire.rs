//! As much of HTTP/1.1 as a load generator and a sink need. Both share the machine with what they measure, so they do
//! nothing that is not needed: no header is kept, and every message has a `Content-Length`.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Where one message ends in what was read.
struct Message {
    head: usize,
    body: usize,
}

/// Reads one message after the other.
pub(super) struct Messages<R> {
    from: R,
    read: Vec<u8>,
    /// How much of `read` has been given out.
    given: usize,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, read: Vec::with_capacity(16 << 10), given: 0 }
    }

    /// The next head and body; none when the peer has closed between two messages.
    pub(super) async fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
        self.read.drain(..self.given);
        self.given = 0;
        loop {
            if let Some(Message { head, body }) = whole(&self.read)? {
                self.given = head + body;
                let (head, body) = self.read[..self.given].split_at(head);
                return Ok(Some((head, body)));
            }
            if self.from.read_buf(&mut self.read).await? == 0 {
                return if self.read.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }
}

fn whole(read: &[u8]) -> io::Result<Option<Message>> {
    let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = end + 4;
    let body = content_length(&read[..head]).ok_or(io::ErrorKind::InvalidData)?;
    Ok((head + body <= read.len()).then_some(Message { head, body }))
}

fn content_length(head: &[u8]) -> Option<usize> {
    let Some(line) = head.split(|byte| *byte == b'\n').find(|line| is_content_length(line)) else { return Some(0) };
    str::from_utf8(&line["content-length:".len()..]).ok()?.trim().parse().ok()
}

fn is_content_length(line: &[u8]) -> bool {
    line.get(.."content-length:".len()).is_some_and(|name| name.eq_ignore_ascii_case(b"content-length:"))
}

/// The status of an answer.
pub(super) fn status(head: &[u8]) -> u16 {
    head.get(9..12).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0)
}

/// Microseconds of a clock that all processes of this machine share.
#[expect(clippy::disallowed_methods, reason = "two processes compare what they saw; nothing is decided by it")]
pub(super) fn micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
