//! Accepts connections and speaks HTTP/1.1 on them, with a bound on everything a peer may take its time for.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Version, header},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tower::ServiceExt;

use super::{impatient::Impatient, peers::Peers, problem::Problem, request_id::RequestId};
use crate::telemetry;

/// The most bytes of a request's line and headers.
const MOST_HEAD_BYTES: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// What hyper may buffer of one connection; it needs room for a head, and then some.
const MOST_BUFFERED: usize = 64 << 10;
/// Connections that the kernel keeps until we accept them, if its own limit (`net.core.somaxconn`, 4096 by default) lets it. A
/// peer that opens thousands at once would fill less for a moment, and whoever comes then is heard a second later, when his
/// kernel tries again.
const BACKLOG: u32 = 4096;
/// Out of file descriptors or memory: trying at once would only spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How much, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct ListenerOptions {
    /// Open at once. One more is told 503 and closed at once, for a caller that is refused can try elsewhere.
    pub most_connections: usize,
    /// Of one peer, and not more; for the others there must be room.
    pub most_per_peer: usize,
    /// For a request's head to arrive; so also the longest that a connection may idle between requests.
    pub head_deadline: Duration,
    /// For a peer that reads nothing of its answer.
    pub write_deadline: Duration,
    /// For what is in flight when the listener stops. Then it is cut.
    pub drain_deadline: Duration,
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            most_connections: 4096,
            most_per_peer: 2048,
            head_deadline: Duration::from_secs(10),
            write_deadline: Duration::from_secs(10),
            drain_deadline: Duration::from_secs(20),
        }
    }
}

/// Held by a request's work, which may outlive its connection: the listener is done when none is left.
#[derive(Clone)]
pub(super) struct InFlight(#[expect(dead_code, reason = "held for being dropped")] TaskTrackerToken);

/// Binds an address.
///
/// # Errors
/// Where it is taken, or not ours to take.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Or a restart would have to wait until the last connections of the process before are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until told to stop; then finishes what is in flight, and returns when all of it is gone, or at the deadline.
pub async fn serve(listener: TcpListener, router: Router, options: ListenerOptions, shutdown: CancellationToken) {
    let (seats, peers) = (Arc::new(Semaphore::new(options.most_connections)), Peers::default());
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    while let Some((stream, peer)) = shutdown.run_until_cancelled(accept(&listener)).await {
        let Ok(seat) = seats.clone().try_acquire_owned() else {
            telemetry::connection_refused();
            refuse(&stream);
            continue;
        };
        let Some(place) = peers.seat(peer, options.most_per_peer) else {
            telemetry::peer_refused();
            refuse(&stream);
            continue;
        };
        let connection = Connection {
            router: router.clone(),
            options,
            shutdown: shutdown.clone(),
            in_flight: InFlight(connections.token()),
        };
        let cut = cut.clone();
        connections.spawn(async move {
            cut.run_until_cancelled(connection.converse(stream)).await;
            drop((seat, place));
        });
    }
    // Whoever connects from now on is refused by the kernel.
    drop(listener);
    connections.close();
    if timeout(options.drain_deadline, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "Stopped listening before every request was answered");
        cut.cancel();
    }
}

/// The next connection; an error ends none but the one that it belongs to.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "Could not accept a connection; trying again after a pause");
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Says 503 in one packet, if the socket takes it, and closes.
fn refuse(stream: &TcpStream) {
    let body = serde_json::to_string(&Problem::Busy.body(None)).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        Problem::Busy.status(),
        body.len(),
    );
    if let Err(error) = stream.try_write(answer.as_bytes()) {
        tracing::debug!(%error, "Refused a connection without a word");
    }
}

struct Connection {
    router: Router,
    options: ListenerOptions,
    shutdown: CancellationToken,
    in_flight: InFlight,
}

impl Connection {
    async fn converse(self, stream: TcpStream) {
        let Self { router, options, shutdown, in_flight } = self;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "Could not set TCP_NODELAY");
        }
        let io = TokioIo::new(Impatient::new(stream, options.write_deadline));
        let service = service_fn(move |request| answer(router.clone(), in_flight.clone(), request));
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(options.head_deadline)
                .max_headers(MOST_HEADERS)
                .max_header_size(MOST_HEAD_BYTES)
                .max_buf_size(MOST_BUFFERED)
                .serve_connection(io, service)
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "A connection ended early");
        }
    }
}

type Request = hyper::Request<Incoming>;

async fn answer(router: Router, in_flight: InFlight, mut request: Request) -> Result<Response, Infallible> {
    if let Some(problem) = ill_mannered(&request) {
        let mut response = problem.answer(&RequestId::of(request.headers()));
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        return Ok(response);
    }
    request.extensions_mut().insert(in_flight);
    router.oneshot(request.map(Body::new)).await
}

/// What is legal only for proxies, or not at all: RFC 9112, section 3.2. Taking it helps whoever wants two servers to
/// read one request in two ways.
fn ill_mannered(request: &Request) -> Option<Problem> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if request.uri().authority().is_some() {
        Some(Problem::Malformed("must name its path only"))
    } else if 1 < hosts || (hosts == 0 && request.version() == Version::HTTP_11) {
        Some(Problem::Malformed("must have one Host header"))
    } else {
        None
    }
}
