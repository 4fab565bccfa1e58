//! The listener, over real sockets: slow peers, too many of them, those that hang up, and the end of it all.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    routing::{get, post},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::intake::{
    listener::{ListenerOptions, serve},
    within_edge,
};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(30);

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

fn patient() -> ListenerOptions {
    ListenerOptions {
        most_connections: 100,
        most_per_peer: 100,
        head_deadline: LONG,
        write_deadline: LONG,
        drain_deadline: LONG,
    }
}

async fn serving(router: Router, options: ListenerOptions) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, within_edge(router, LONG), options, stop.clone()));
    Server { address, stop, serving }
}

impl Server {
    async fn says(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// All that is answered until the server closes.
    async fn told(&self, text: &str) -> String {
        heard(&mut self.says(text).await).await
    }
}

async fn heard(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut heard).await;
    String::from_utf8(heard).unwrap()
}

/// Reads one answer with this body, on a connection that stays open.
async fn answered(stream: &mut TcpStream, body: &str) {
    let mut heard = Vec::new();
    while !heard.ends_with(body.as_bytes()) {
        assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "{}", String::from_utf8_lossy(&heard));
    }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

const HELLO: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = serving(hello(), patient()).await;
    let mut stream = server.says(HELLO).await;
    answered(&mut stream, "hello").await;
    stream.write_all(HELLO.as_bytes()).await.unwrap();
    answered(&mut stream, "hello").await;
}

#[tokio::test]
async fn a_thousand_panics_are_a_thousand_problems_and_the_next_is_served() {
    async fn panics() -> &'static str {
        panic!("on purpose")
    }
    let detached = axum::middleware::from_fn(crate::intake::edge::detached);
    let router =
        hello().route("/panics", get(panics)).merge(Router::new().route("/apart", get(panics)).layer(detached));
    let server = serving(router, patient()).await;
    for number in 0..1000 {
        let path = if number % 2 == 0 { "/panics" } else { "/apart" };
        let answer = server.told(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("urn:confirmd:problem:internal"), "{answer}");
    }
    answered(&mut server.says(HELLO).await, "hello").await;
}

#[tokio::test]
async fn a_peer_that_is_slow_with_its_head_is_closed() {
    let server = serving(hello(), ListenerOptions { head_deadline: SHORT, ..patient() }).await;
    for slow in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: a\r\nx: "] {
        server.told(slow).await;
    }
    let mut idle = server.says(HELLO).await;
    answered(&mut idle, "hello").await;
    assert_eq!(heard(&mut idle).await, "", "a connection that idles is closed too");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_closed() {
    let (sent, was_sent) = tokio::sync::oneshot::channel::<()>();
    let sent = Arc::new(std::sync::Mutex::new(Some(sent)));
    let endless = get(move || {
        let sent = sent.lock().unwrap().take();
        async move {
            let body = futures_util::stream::repeat_with(move || {
                // Dropped with the stream, when the connection is.
                let _held = &sent;
                Ok::<_, std::io::Error>(Bytes::from_static(&[0; 65536]))
            });
            axum::body::Body::from_stream(body)
        }
    });
    let options = ListenerOptions { write_deadline: SHORT, ..patient() };
    let server = serving(Router::new().route("/", endless), options).await;
    let _unread = server.says(HELLO).await;
    assert!(was_sent.await.is_err());
}

#[tokio::test]
async fn one_connection_too_many_is_refused_at_once() {
    let server = serving(hello(), ListenerOptions { most_connections: 1, ..patient() }).await;
    let mut first = server.says(HELLO).await;
    answered(&mut first, "hello").await;
    let mut second = TcpStream::connect(server.address).await.unwrap();
    let refusal = heard(&mut second).await;
    assert!(refusal.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refusal}");
    assert!(refusal.contains("retry-after: 1\r\n") && refusal.contains("urn:confirmd:problem:busy"), "{refusal}");
    first.write_all(HELLO.as_bytes()).await.unwrap();
    answered(&mut first, "hello").await;
}

#[tokio::test]
async fn one_connection_too_many_of_a_peer_leaves_room_for_the_others() {
    let server = serving(hello(), ListenerOptions { most_connections: 3, most_per_peer: 2, ..patient() }).await;
    let from = async |host: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{host}:0").parse().unwrap()).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        // Who is refused may be told so before having asked.
        let _asked = stream.write_all(HELLO.as_bytes()).await;
        stream
    };
    let (mut first, mut second) = (from("127.0.0.2").await, from("127.0.0.2").await);
    answered(&mut first, "hello").await;
    answered(&mut second, "hello").await;
    let refusal = heard(&mut from("127.0.0.2").await).await;
    assert!(refusal.is_empty() || refusal.contains("urn:confirmd:problem:busy"), "{refusal}");
    answered(&mut from("127.0.0.3").await, "hello").await;
    // Its seat is free again when one of its connections has ended.
    drop(first);
    second.write_all(HELLO.as_bytes()).await.unwrap();
    answered(&mut second, "hello").await;
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_cancel_what_has_begun() {
    let (begun, go_on, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let notifies = (begun.clone(), go_on.clone(), done.clone());
    let work = post(move |_: Bytes| async move {
        notifies.0.notify_one();
        notifies.1.notified().await;
        notifies.2.notify_one();
    });
    let server = serving(Router::new().route("/", work), patient()).await;
    let stream = server.says("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx").await;
    begun.notified().await;
    drop(stream);
    server.stop.cancel();
    go_on.notify_one();
    done.notified().await;
    server.serving.await.unwrap();
}

#[tokio::test]
async fn stopping_answers_what_is_in_flight_and_closes_what_is_idle() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let notifies = (begun.clone(), go_on.clone());
    let slow = get(move || async move {
        notifies.0.notify_one();
        notifies.1.notified().await;
        "at last"
    });
    let server = serving(hello().route("/slow", slow), patient()).await;
    let mut idle = server.says(HELLO).await;
    answered(&mut idle, "hello").await;
    let mut silent = server.says("").await;
    let mut busy = server.says("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    begun.notified().await;

    server.stop.cancel();
    assert_eq!(heard(&mut idle).await, "");
    assert_eq!(heard(&mut silent).await, "");
    assert!(!server.serving.is_finished());
    go_on.notify_one();
    let answer = heard(&mut busy).await;
    assert!(answer.ends_with("at last") && answer.contains("connection: close"), "{answer}");
    server.serving.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn stopping_has_a_deadline() {
    let begun = Arc::new(Notify::new());
    let notify = begun.clone();
    let never = get(move || async move {
        notify.notify_one();
        std::future::pending::<()>().await;
    });
    let options = ListenerOptions { drain_deadline: SHORT, ..patient() };
    let server = serving(Router::new().route("/", never), options).await;
    let mut stream = server.says(HELLO).await;
    begun.notified().await;
    server.stop.cancel();
    server.serving.await.unwrap();
    assert_eq!(heard(&mut stream).await, "");
}

#[tokio::test]
async fn what_two_servers_may_read_in_two_ways_is_refused_and_closed() {
    let server = serving(hello().route("/p", post(|_: Bytes| async { "read" })), patient()).await;
    let headers = "x: 1\r\n".repeat(200);
    let long = "a".repeat(100_000);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned(), "400"),
        ("GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "400"),
        ("CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\n x: folded\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n".to_owned(), "400"),
        ("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx".to_owned(), "400"),
        ("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\nx".to_owned(), "400"),
        ("POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n".to_owned(), "400"),
        ("POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), "431"),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), "431"),
        ("GET /\r\n".to_owned(), "400"),
    ] {
        let answer = server.told(&request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{:?}: {answer:?}",
            &request[..40.min(request.len())]
        );
    }
}
