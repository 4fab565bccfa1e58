//! One attempt: one request, its verdict, its settlement.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::governor::{AccountFault, Governor, lets_us_in};
use super::judge::{Policy, classify, judge};
use super::queue::{OWNED_FOR_EACH_PLACE, Queue};
use super::settler::Settler;
use crate::domain::{Attempt, Class, DeadReason, LaneName, MessageSid, Retry, Verdict};
use crate::store::{Door, Lease, Outbox, Settlement, Ticket};
use crate::telemetry::{self, RequestMeter};
use crate::twilio::{Account, Agreement, Answer, Reply, Twilio};

/// What the attempts of a lane share.
pub(super) struct Sender {
    pub(super) name: LaneName,
    pub(super) meter: RequestMeter,
    pub(super) account: Account,
    pub(super) outbox: Outbox,
    pub(super) twilio: Twilio,
    pub(super) settler: Settler,
    pub(super) door: Arc<Door>,
    pub(super) governor: Governor,
    /// Leases that wait for a place in flight.
    pub(super) queue: Queue,
    /// Where the next claim of a backlog goes on.
    pub(super) reached: Mutex<Option<DateTime<Utc>>>,
    /// There is more to claim as soon as there is room.
    pub(super) hungry: AtomicBool,
    /// Wakes the lane.
    pub(super) freed: Notify,
    pub(super) policy: Policy,
    /// A lease with less than this left is given back instead of spent: the answer could come after its end.
    pub(super) least_lease: Duration,
    /// Everything is done but the request.
    pub(super) shadow: bool,
    /// Leases whose attempts have begun and are not with the settler yet.
    pub(super) in_flight: Mutex<HashMap<MessageSid, Ticket>>,
}

impl Sender {
    /// Spends a lease, and then whatever waits, until nothing does or the lane may not send.
    pub(super) async fn run(self: Arc<Self>, lease: Lease) {
        let _runner = Runner(&self);
        let mut next = Some(lease);
        while let Some(lease) = next {
            self.spend(lease).await;
            self.tell_if_hungry();
            next = if self.door.is_open() { self.queue.next(self.governor.limit()) } else { None };
        }
    }

    /// Whether the lane has room enough to be worth a claim: one for each place would cost more than the requests.
    pub(super) fn has_room_to_claim(&self) -> bool {
        self.governor.limit() * OWNED_FOR_EACH_PLACE / 2 <= self.door.room()
    }

    fn tell_if_hungry(&self) {
        if (self.hungry.load(SeqCst) || self.door.has_overflowed()) && self.has_room_to_claim() {
            self.hungry.store(false, SeqCst);
            self.freed.notify_one();
        }
    }

    /// Spends a lease. The lane's room that was taken for it comes back at the end, however it ends.
    async fn spend(&self, lease: Lease) {
        let _room = Room(&self.door);
        if lease.expires.saturating_duration_since(Instant::now()) < self.least_lease {
            tracing::debug!(message_sid = %lease.message_sid, "Gave a lease back that had too little time left");
            self.governor.breaker_probe_not_sent();
            self.give_back(lease).await;
            return;
        }
        let _flight = Flight::begin(self, &lease);
        if self.shadow {
            if self.governor.is_paused() {
                // Nobody is asked here who could refuse.
                self.resume().await;
            }
            self.settler.settle(shadowed(lease)).await;
            return;
        }
        let start = self.governor.start();
        let span = telemetry::attempt_span(&self.name, &lease.message_sid, lease.attempt, lease.trace.as_ref());
        let asked = self.twilio.send_feedback(&self.account, start.credential(), &lease.message_sid);
        let reply = asked.instrument(span.clone()).await;
        let (class, dice) = (classify(&reply.answer), rand::random());
        self.governor.learn(&start, class, &reply.answer, dice);
        let mut verdict = judge(&reply.answer, &lease.past, &self.policy, dice);
        if class == Class::AccountFault {
            match self.governor.refused(&start) {
                AccountFault::TryTheOther => verdict = Verdict::Retry(Retry::Unburnt { after: Duration::ZERO }),
                AccountFault::Pause => self.pause(&reply.answer).await,
            }
        } else if lets_us_in(class) && self.governor.is_paused() {
            self.resume().await;
        }
        self.meter.attempted(class, reply.took);
        let settlement = settlement(lease, class, reply, verdict);
        telemetry::attempt_ended(&span, class, settlement.attempt.status);
        self.settler.settle(settlement).await;
    }

    async fn give_back(&self, lease: Lease) {
        if let Err(error) = self.outbox.give_back(vec![lease]).await {
            tracing::warn!(%error, "Could not give a lease back; it will expire");
        }
    }

    async fn pause(&self, answer: &Answer) {
        let reason = match answer {
            Answer::Http { status, code: Some(code), .. } => format!("Twilio answered {status}, code {code}"),
            Answer::Http { status, .. } => format!("Twilio answered {status}"),
            Answer::None(failure) => failure.as_str().to_owned(),
        };
        telemetry::lane_paused(&self.name, true);
        tracing::error!(lane = %self.name, reason, "Paused a lane: the fault is the account's; its work waits, and one request a while probes it");
        let account = &self.account.account_sid;
        if let Err(error) = self.outbox.pause_for_fault(account, &reason, self.policy.probe_every).await {
            tracing::error!(%error, lane = %self.name, "Could not tell the other replicas that the lane is paused");
        }
    }

    async fn resume(&self) {
        match self.outbox.resume_after_fault(&self.account.account_sid).await {
            Ok(()) => {
                // An operator's pause stands; the next step of the lane sees it.
                self.governor.set_paused(false);
                tracing::info!(lane = %self.name, "Resumed a lane: Twilio let its probe in");
            }
            Err(error) => tracing::error!(%error, lane = %self.name, "Could not resume a lane; the next probe will"),
        }
    }
}

/// What stands on record of an attempt that was everything but a request.
fn shadowed(lease: Lease) -> Settlement {
    let (class, took) = (Class::Shadowed, Duration::ZERO);
    let attempt = Attempt { class, status: None, code: None, request_id: None, error: None, took };
    Settlement { lease, attempt, verdict: Verdict::Dead(DeadReason::Shadowed), date_updated: None }
}

fn settlement(lease: Lease, class: Class, reply: Reply, verdict: Verdict) -> Settlement {
    let mut attempt = Attempt { class, status: None, code: None, request_id: None, error: None, took: reply.took };
    let mut date_updated = None;
    match reply.answer {
        Answer::None(failure) => attempt.error = Some(failure.as_str()),
        Answer::Http { status, agreement, code, request_id, .. } => {
            attempt.status = Some(status);
            attempt.code = code;
            attempt.request_id = request_id;
            if let Agreement::Agrees { date_updated: told } = agreement {
                date_updated = told;
            }
        }
    }
    Settlement { lease, attempt, verdict, date_updated }
}

/// Counted among the runners until it is dropped, however it ends.
struct Runner<'a>(&'a Sender);

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        self.0.queue.end();
        self.0.freed.notify_one();
    }
}

/// One place in the lane's room, given back on drop.
struct Room<'a>(&'a Door);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.give_back(1);
    }
}

/// Keeps the ticket of a lease as long as its request may be on the wire.
struct Flight<'a> {
    sender: &'a Sender,
    message_sid: MessageSid,
}

impl<'a> Flight<'a> {
    fn begin(sender: &'a Sender, lease: &Lease) -> Self {
        let mut in_flight = sender.in_flight.lock().expect("no holder panics");
        in_flight.insert(lease.message_sid.clone(), lease.ticket());
        sender.meter.in_flight(in_flight.len());
        Self { sender, message_sid: lease.message_sid.clone() }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut in_flight = self.sender.in_flight.lock().expect("no holder panics");
        in_flight.remove(&self.message_sid);
        self.sender.meter.in_flight(in_flight.len());
    }
}
