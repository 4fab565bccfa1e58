//! One request from its arrival to the last byte of its answer, or to whatever a fault makes of that.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::CONTENT_LENGTH;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep};

use super::accounts::Place;
use super::clock;
use super::ledger::{Answer, Outcome};
use super::reply::{Measured, Reply};
use super::request::{Heard, Route};
use super::served::{Delivery, Served};
use super::shared::Shared;

/// An answer's body. Its error cuts the connection.
pub(super) type Body = UnsyncBoxBody<Bytes, Severed>;

/// The connection ends here, on purpose.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Severed {
    #[error("the answer is cut off, as a fault asks")]
    Cut,
    #[error("the connection is reset, as a fault asks")]
    Reset,
}

/// Answers a request. `goodbye` is told when the connection is to close after its answer.
pub(super) async fn answer(shared: Arc<Shared>, heard: Heard, goodbye: Arc<Notify>) -> Result<Response<Body>, Severed> {
    let arrived = Instant::now();
    let (mut exchange, served) = Exchange::begin(shared, &heard);
    let late = match served.delivery {
        Delivery::Late(time) => time,
        _ => Duration::ZERO,
    };
    let pause = exchange.shared.options.latency + late;
    if !pause.is_zero() {
        sleep(pause).await;
    }
    let reply = served.reply;
    let measured = Measured { took: arrived.elapsed(), concurrent_requests: exchange.in_flight() };
    let body = match served.delivery {
        Delivery::Never => {
            exchange.answered(Answer::Hung);
            return std::future::pending().await;
        }
        Delivery::Reset => {
            exchange.answered(Answer::Reset);
            return Err(Severed::Reset);
        }
        Delivery::Whole | Delivery::Late(_) => {
            exchange.answered(Answer::Status(reply.status));
            whole(reply.body.clone())
        }
        Delivery::ThenClose => {
            exchange.answered(Answer::Status(reply.status));
            then_close(reply.body.clone(), goodbye)
        }
        Delivery::Drip(pause) => {
            exchange.answered(Answer::Status(reply.status));
            return Ok(with_length(&reply, &measured, drip(reply.body.clone(), pause, exchange)));
        }
        Delivery::Cut => {
            exchange.answered(Answer::Cut(reply.status));
            return Ok(with_length(&reply, &measured, cut(&reply.body)));
        }
    };
    Ok(reply.respond(body, &measured))
}

/// A request under way. Dropped unanswered, its client has left.
struct Exchange {
    shared: Arc<Shared>,
    place: Option<Place>,
    sequence: u64,
    route: Route,
    is_answered: bool,
}

impl Exchange {
    /// Decides what the request gets, applies it, and enters it in the ledger: all at once, before anything waits.
    fn begin(shared: Arc<Shared>, heard: &Heard) -> (Self, Served) {
        let route = Route::of(&heard.path);
        let now = clock::now();
        let mut state = shared.state();
        let (place, served) = state.decide(&shared.options, heard, &route, now);
        let outcome = Outcome {
            since_start: shared.started.elapsed(),
            at: now,
            authenticated: place.is_some(),
            in_flight: place.as_ref().map_or(0, |place| place.present),
            fault: served.fault.clone(),
            applied: served.applied,
        };
        let sequence = state.ledger.enter(heard, &route, outcome);
        drop(state);
        shared.feedback_seen(&route, |seen| seen.heard += 1);
        (Self { shared, place, sequence, route, is_answered: false }, served)
    }

    fn in_flight(&self) -> u32 {
        self.place.as_ref().map_or(1, |place| place.present)
    }

    fn answered(&mut self, answer: Answer) {
        self.is_answered = true;
        if let Some(entry) = self.shared.state().ledger.answered(self.sequence, answer) {
            tracing::debug!(sequence = entry.sequence, method = %entry.method, ?answer, "Answered a request");
            // nobody needs to listen
            let _ = self.shared.answers.send(entry.clone());
        }
        self.shared.feedback_seen(&self.route, |seen| seen.answered += 1);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_answered {
            self.answered(Answer::Abandoned);
        }
        if let Some(place) = &self.place {
            self.shared.state().accounts.leave(place);
        }
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Tells `goodbye` when the body was handed over, and not before: the answer must not announce the close.
fn then_close(bytes: Bytes, goodbye: Arc<Notify>) -> Body {
    let parts = stream::unfold(Some(bytes), move |rest| {
        let goodbye = Arc::clone(&goodbye);
        async move {
            match rest {
                Some(bytes) => Some((Ok(Frame::data(bytes)), None)),
                None => {
                    goodbye.notify_one();
                    None
                }
            }
        }
    });
    StreamBody::new(parts).boxed_unsync()
}

/// The request counts as under way until its last byte is out.
fn drip(bytes: Bytes, pause: Duration, exchange: Exchange) -> Body {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let parts = stream::unfold((bytes, ticks, exchange), |(mut bytes, mut ticks, exchange)| async move {
        ticks.tick().await;
        let byte = (!bytes.is_empty()).then(|| bytes.split_to(1))?;
        Some((Ok(Frame::data(byte)), (bytes, ticks, exchange)))
    });
    StreamBody::new(parts).boxed_unsync()
}

fn cut(bytes: &Bytes) -> Body {
    let half = bytes.slice(..bytes.len() / 2);
    let parts = stream::unfold(Some(half), |half| async move {
        match half {
            Some(half) => Some((Ok(Frame::data(half)), None)),
            None => {
                // the half must be on its way before the connection ends
                tokio::task::yield_now().await;
                Some((Err(Severed::Cut), None))
            }
        }
    });
    StreamBody::new(parts).boxed_unsync()
}

/// A body that is streamed still tells its length, as Twilio's do.
fn with_length(reply: &Reply, measured: &Measured, body: Body) -> Response<Body> {
    let mut response = reply.respond(body, measured);
    response.headers_mut().insert(CONTENT_LENGTH, reply.body.len().into());
    response
}
