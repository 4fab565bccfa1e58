//! What a client said, read from the bare socket to its last byte.

use tokio::io::{AsyncRead, AsyncReadExt};

/// More than any request for feedback has.
const LONGEST: usize = 64 * 1024;

pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: String,
    head: String,
}

impl Request {
    /// The next request; `heard` keeps what was read beyond it. `None` where the client ends before.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), heard: &mut Vec<u8>) -> Option<Self> {
        loop {
            if let Some(request) = Self::take(heard) {
                return Some(request);
            }
            if LONGEST < heard.len() || stream.read_buf(heard).await.ok()? == 0 {
                return None;
            }
        }
    }

    fn take(heard: &mut Vec<u8>) -> Option<Self> {
        let head_end = heard.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&heard[..head_end]).into_owned();
        let mut words = head.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut request = Self { method, path, body: String::new(), head };
        let length: usize = request.header("content-length").parse().unwrap_or(0);
        if heard.len() < head_end + length {
            return None;
        }
        request.body = String::from_utf8_lossy(&heard[head_end..head_end + length]).into_owned();
        heard.drain(..head_end + length);
        Some(request)
    }

    /// Nothing where there is no such header; what is wrong where there are two.
    pub(super) fn header(&self, name: &str) -> &str {
        let mut values = self.head.lines().skip(1).filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        match (values.next(), values.next()) {
            (Some(value), None) => value,
            (Some(_), Some(_)) => "twice",
            (None, _) => "",
        }
    }
}
