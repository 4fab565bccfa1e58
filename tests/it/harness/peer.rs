//! Something on a port that says what it is told to say, and keeps every byte that it hears: no server's cleverness
//! stands between a request and the story that looks at it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    heard: mpsc::UnboundedReceiver<Vec<u8>>,
    closed: mpsc::UnboundedReceiver<()>,
    connections: Arc<AtomicUsize>,
}

/// What it says to each request, once it has heard all of it.
#[derive(Clone)]
pub(crate) enum Says {
    This(Vec<u8>),
    /// A 200 whose body has no end.
    Endlessly,
}

impl Peer {
    pub(crate) async fn that(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (hears, heard) = mpsc::unbounded_channel();
        let (closes, closed) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (says, hears, closes) = (says.clone(), hears.clone(), closes.clone());
                tokio::spawn(async move {
                    converse(stream, says, &hears).await;
                    let _story_is_over = closes.send(());
                });
            }
        });
        Self { address, heard, closed, connections }
    }

    /// Says this, as JSON, with 200.
    pub(crate) async fn that_agrees(body: &str) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        Self::that(Says::This(format!("{head}{body}").into_bytes())).await
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request, to its last byte.
    pub(crate) async fn hears(&mut self) -> Vec<u8> {
        self.heard.recv().await.unwrap()
    }

    /// What was heard that no story has asked for yet.
    pub(crate) fn heard_more(&mut self) -> Option<Vec<u8>> {
        self.heard.try_recv().ok()
    }

    /// How many connections there were so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Waits until a connection has ended.
    pub(crate) async fn is_left(&mut self) {
        self.closed.recv().await.unwrap();
    }
}

async fn converse(mut stream: TcpStream, says: Says, hears: &mpsc::UnboundedSender<Vec<u8>>) {
    let mut heard = Vec::new();
    // The other side may leave at any moment; that ends the conversation.
    while let Ok(1..) = stream.read_buf(&mut heard).await {
        let Some(length) = whole(&heard) else { continue };
        let _story_is_over = hears.send(heard.drain(..length).collect());
        match &says {
            Says::This(answer) => drop(stream.write_all(answer).await),
            Says::Endlessly => {
                let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
                let mut said = stream.write_all(head).await;
                while said.is_ok() {
                    said = stream.write_all(format!("1000\r\n{}\r\n", " ".repeat(0x1000)).as_bytes()).await;
                }
            }
        }
    }
}

/// How many bytes the first request has, once all of it is there. What is no HTTP is whole as it stands.
fn whole(heard: &[u8]) -> Option<usize> {
    if !heard.first().is_some_and(u8::is_ascii_uppercase) {
        return Some(heard.len());
    }
    let head = heard.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&heard[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    (head + length <= heard.len()).then_some(head + length)
}
