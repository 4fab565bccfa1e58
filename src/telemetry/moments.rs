//! The moments that are counted. A room says what happened; which metric that is, is decided here.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::from_zero::{CREDENTIALS, lane_of};
use super::names::*;
use crate::domain::{AccountSid, CallerName, DeadReason, EventState, LaneName};

/// What a caller was answered to an event that made sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventAnswer {
    Taken,
    Replayed,
    Mismatch,
    Conflict,
    NotTaken,
}

impl EventAnswer {
    pub const ALL: [Self; 5] = [Self::Taken, Self::Replayed, Self::Mismatch, Self::Conflict, Self::NotTaken];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Replayed => "replayed",
            Self::Mismatch => "mismatch",
            Self::Conflict => "conflict",
            Self::NotTaken => "not_taken",
        }
    }
}

/// A request was answered. `route` is the template of its path, never the path.
pub fn answered(route: &str, method: &'static str, status: u16, took: Duration) {
    let labels = [
        ("http_route", route.to_owned()),
        ("http_request_method", method.to_owned()),
        ("http_response_status_code", status.to_string()),
    ];
    histogram!(HTTP_SERVER_REQUEST_SECONDS, &labels).record(took);
}

/// One connection too many was closed.
pub fn connection_refused() {
    counter!(HTTP_CONNECTIONS_REFUSED_TOTAL).increment(1);
}

/// One connection too many of a peer was closed.
pub fn peer_refused() {
    counter!(HTTP_PEER_CONNECTIONS_REFUSED_TOTAL).increment(1);
}

/// What a caller was answered to an event.
pub fn told(caller: &CallerName, answer: EventAnswer) {
    counter!(CALLER_EVENTS_TOTAL, "caller" => caller.to_string(), "answer" => answer.as_str()).increment(1);
}

/// Commands were refused: the queue was full, or its caller's share of it, or Postgres did not take them.
pub fn not_taken(commands: usize, because: &'static str) {
    counter!(NOT_TAKEN_TOTAL, "because" => because).increment(commands as u64);
}

/// An event was taken for the first time.
pub fn accepted(state: EventState) {
    counter!(EVENTS_ACCEPTED_TOTAL, "outcome" => state.as_str()).increment(1);
    if state == EventState::Parked {
        counter!(EVENTS_PARKED_TOTAL).increment(1);
    }
}

/// An event was taken before, and got the same answer again.
pub fn replayed() {
    counter!(EVENTS_REPLAYED_TOTAL).increment(1);
}

/// A message was mapped, was mapped before (`known`), or is mapped to something else (`conflict`).
pub fn registered(outcome: &'static str) {
    counter!(MESSAGES_REGISTERED_TOTAL, "outcome" => outcome).increment(1);
}

/// The messages of parked events came.
pub fn unparked(events: u64) {
    counter!(EVENTS_UNPARKED_TOTAL).increment(events);
}

/// Parked events were given up.
pub fn expired(events: u64) {
    counter!(EVENTS_EXPIRED_TOTAL).increment(events);
}

/// So many commands wait for the writers now.
pub fn queue_waiting(commands: usize) {
    gauge!(QUEUE_WAITING).set(commands as f64);
}

/// A group commit ended.
pub fn committed(commands: usize, took: Duration, took_place: bool) {
    counter!(COMMITS_TOTAL, "outcome" => if took_place { "committed" } else { "failed" }).increment(1);
    histogram!(COMMIT_BATCH_SIZE).record(commands as f64);
    histogram!(COMMIT_SECONDS).record(took);
}

/// Messages are owed to Twilio from now on.
pub fn owed(account_sid: &AccountSid, messages: u64) {
    counter!(OWED_TOTAL, "lane" => lane_of(account_sid)).increment(messages);
}

/// Feedback went to its lane in memory.
pub fn handed_off(feedback: usize) {
    counter!(HANDED_OFF_TOTAL).increment(feedback as u64);
}

/// A claim found so much, and gave up what had lost its worker too often.
pub fn claimed(lane: &LaneName, feedback: usize, poisoned: u64) {
    counter!(CLAIMS_TOTAL, "lane" => lane.to_string()).increment(1);
    counter!(CLAIMED_TOTAL, "lane" => lane.to_string()).increment(feedback as u64);
    if 0 < poisoned {
        counter!(GIVEN_UP_TOTAL, "lane" => lane.to_string(), "reason" => DeadReason::Poison.as_str())
            .increment(poisoned);
    }
}

/// Twilio refused the credential with this number, from 0.
pub fn credential_refused(lane: &LaneName, credential: usize) {
    let credential = CREDENTIALS[credential.min(1)];
    counter!(CREDENTIALS_REFUSED_TOTAL, "lane" => lane.to_string(), "credential" => credential).increment(1);
}

/// So many may be, from now on.
pub fn lane_limit(lane: &LaneName, requests: u32) {
    gauge!(LANE_LIMIT, "lane" => lane.to_string()).set(requests);
}

pub fn lane_paused(lane: &LaneName, paused: bool) {
    gauge!(LANE_PAUSED, "lane" => lane.to_string()).set(u32::from(paused));
}

/// So many replicas have said lately how their lanes stand.
pub fn replicas(reporting: u64) {
    gauge!(REPLICAS).set(reporting as f64);
}

/// What is owed, and how long the oldest that is due has been due.
pub fn backlog(lane: &LaneName, pending: u64, oldest_due: Option<Duration>) {
    gauge!(BACKLOG, "lane" => lane.to_string()).set(pending as f64);
    gauge!(OLDEST_DUE_SECONDS, "lane" => lane.to_string()).set(oldest_due.unwrap_or_default());
}

/// What waits for its message, and how long the oldest has.
pub fn parked(events: u64, oldest: Option<Duration>) {
    gauge!(PARKED).set(events as f64);
    gauge!(OLDEST_PARKED_SECONDS).set(oldest.unwrap_or_default());
}

/// So many dead letters are kept for this reason.
pub fn dead_letters(reason: String, letters: u64) {
    gauge!(DEAD_LETTERS, "reason" => reason).set(letters as f64);
}

/// A feedback became a dead letter.
pub fn gave_up(account_sid: &AccountSid, reason: DeadReason) {
    counter!(GIVEN_UP_TOTAL, "lane" => lane_of(account_sid), "reason" => reason.as_str()).increment(1);
}

/// Everything was done for a feedback but the request.
pub fn shadowed(account_sid: &AccountSid) {
    counter!(SHADOWED_TOTAL, "lane" => lane_of(account_sid)).increment(1);
}

/// Whether a lane sends nothing.
pub fn lane_shadow(lane: &LaneName, shadow: bool) {
    gauge!(LANE_SHADOW, "lane" => lane.to_string()).set(u32::from(shadow));
}

/// A batch of verdicts was settled.
pub fn settled(verdicts: usize, took: Duration) {
    histogram!(SETTLE_BATCH_SIZE).record(verdicts as f64);
    histogram!(SETTLE_SECONDS).record(took);
}

/// Twilio has a feedback, and who told it so had lost its lease.
pub fn confirmed_late(account_sid: &AccountSid) {
    counter!(CONFIRMED_TOTAL, "lane" => lane_of(account_sid)).increment(1);
    counter!(LATE_SUCCESSES_TOTAL).increment(1);
}

/// A verdict came too late to count.
pub fn fenced() {
    counter!(SETTLES_FENCED_TOTAL).increment(1);
}

pub fn pool(pool: &'static str, in_use: u32, idle: u32) {
    for (state, connections) in [("used", in_use), ("idle", idle)] {
        let labels = [("db_client_connection_pool_name", pool), ("db_client_connection_state", state)];
        gauge!(POOL_CONNECTIONS, &labels).set(connections);
    }
}

pub fn db_up(up: bool) {
    gauge!(DB_UP).set(u32::from(up));
}

/// The oldest transaction that keeps Postgres from tidying up: its age, and how many began since.
pub fn db_oldest_xmin(age: Duration, transactions: u64) {
    gauge!(DB_OLDEST_XMIN_SECONDS).set(age);
    gauge!(DB_OLDEST_XMIN_TRANSACTIONS).set(transactions as f64);
}

/// What a commit survives: nothing for certain (`none`), a crash of this server (`local`), its loss (`standby`).
pub fn db_durability(mode: &'static str) {
    for known in ["none", "local", "standby"] {
        gauge!(DB_DURABILITY, "mode" => known).set(u32::from(known == mode));
    }
}

/// The conservation law misses so many.
pub fn drift(missing: u64) {
    gauge!(CONSERVATION_DRIFT).set(missing as f64);
}

/// A step of a loop ended well.
pub fn loop_stepped(name: &'static str) {
    counter!(LOOP_STEPS_TOTAL, "loop" => name).increment(1);
}

/// A step of a loop failed; the loop goes on.
pub fn loop_failed(name: &'static str) {
    counter!(LOOP_FAILURES_TOTAL, "loop" => name).increment(1);
}

/// What came of a configuration that was read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// All that changed was taken over.
    Applied,
    /// Some of it needs a restart.
    Partly,
    /// It makes no sense: nothing changed.
    Refused,
}

impl Reload {
    pub const ALL: [Self; 3] = [Self::Applied, Self::Partly, Self::Refused];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Partly => "partly",
            Self::Refused => "refused",
        }
    }
}

/// The configuration was read anew.
pub fn reloaded(outcome: Reload) {
    counter!(CONFIG_RELOADS_TOTAL, "outcome" => outcome.as_str()).increment(1);
}
