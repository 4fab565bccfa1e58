//! Sockets: an accept loop and HTTP/1.1 connections that a fault can cut or reset.

use std::error::Error;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::control;
use super::exchange::{self, Body, Severed};
use super::reply::{Measured, Reply};
use super::request::Heard;
use super::shared::Shared;

/// Connections open at once; one more waits to be accepted.
const MOST_CONNECTIONS: usize = 1024;
/// Largest request body, in bytes. Every form of a Message or a Feedback is far smaller.
const LARGEST_BODY: usize = 64 * 1024;
/// Pause after a failed accept, which is out of file descriptors more often than not.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until told to stop; connections then end at once, whatever they wait for.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    while let Some(Ok(place)) = stop.run_until_cancelled(Arc::clone(&room).acquire_owned()).await {
        match stop.run_until_cancelled(listener.accept()).await {
            Some(Ok((stream, peer))) => {
                let connection = connect(stream, peer, Arc::clone(&shared));
                let stop = stop.clone();
                connections.spawn(async move {
                    let _place = place;
                    let _ = stop.run_until_cancelled(connection).await;
                });
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "Could not accept a connection; trying again after a pause");
                let _ = stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
            }
            None => break,
        }
    }
    connections.close();
    connections.wait().await;
}

async fn connect(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    // answers are small and whole; waiting for more to send would only slow them
    let _ = stream.set_nodelay(true);
    let goodbye = Arc::new(Notify::new());
    let told = Arc::clone(&goodbye);
    let service = service_fn(move |request| -> Pin<Box<dyn Future<Output = _> + Send>> {
        Box::pin(respond(request, peer, Arc::clone(&shared), Arc::clone(&told)))
    });
    let mut connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let ended = loop {
        tokio::select! {
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
            () = goodbye.notified() => Pin::new(&mut connection).graceful_shutdown(),
        }
    };
    let stream = connection.into_parts().io.into_inner();
    if ended.is_err_and(|error| is_reset(&error)) {
        // without a linger the close becomes a reset
        let _ = stream.set_zero_linger();
    }
}

fn is_reset(error: &hyper::Error) -> bool {
    matches!(error.source().and_then(|cause| cause.downcast_ref()), Some(Severed::Reset))
}

async fn respond(
    request: Request<Incoming>,
    peer: SocketAddr,
    shared: Arc<Shared>,
    goodbye: Arc<Notify>,
) -> Result<Response<Body>, Severed> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
        return Ok(unmeasured(Reply::too_large()));
    };
    let heard = Heard::new(parts, body.to_bytes());
    match control::asked(&heard.path) {
        true => Ok(unmeasured(control::serve(&shared, peer, &heard))),
        false => exchange::answer(shared, heard, goodbye).await,
    }
}

fn unmeasured(reply: Reply) -> Response<Body> {
    let measured = Measured { took: Duration::ZERO, concurrent_requests: 1 };
    let body = Full::new(reply.body.clone()).map_err(|never| match never {}).boxed_unsync();
    reply.respond(body, &measured)
}
