//! One account's deliveries: claims what is due when there is room, and starts it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::LaneConfig;
use super::attempt::Sender;
use super::breaker::Breaker;
use super::governor::Governor;
use super::judge::Policy;
use super::limit::Limit;
use super::settler::Settler;
use crate::domain::AccountSid;
use crate::store::{Door, LaneReport, LaneState, Lease, Outbox, StoreError, Ticket, Wanted};
use crate::telemetry;
use crate::twilio::{Credential, Twilio};

/// What an operator decides about all lanes.
#[derive(Clone, Debug)]
pub struct LaneOptions {
    pub policy: Policy,
    /// Between looks for work that was not handed over: retries, overflow, what lost its worker. ±20 %.
    pub poll_interval: Duration,
    /// Failures in a row that open the breaker.
    pub breaker_threshold: u32,
    /// A lease with less than this left is given back instead of spent.
    pub least_lease: Duration,
    /// The name of this process among the replicas.
    pub replica: String,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Started this many; if `more`, there may be more due than there was room for.
    Worked { started: usize, more: bool },
    /// Nothing is due, or nothing may be sent now.
    Idle,
}

/// One account's deliveries.
pub struct Lane {
    sender: Arc<Sender>,
    received: mpsc::UnboundedReceiver<Lease>,
    attempts: JoinSet<()>,
    freed: Arc<Notify>,
    options: LaneOptions,
    reported: Option<Instant>,
}

/// How often a lane tells the others how it stands.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Kept of the grace at the end, for settling and for giving leases back.
const TO_SETTLE: Duration = Duration::from_secs(2);

impl Lane {
    pub(super) fn new(
        outbox: Outbox,
        twilio: Twilio,
        settler: Settler,
        config: LaneConfig,
        options: LaneOptions,
    ) -> Self {
        let LaneConfig { name, account, max_concurrency, yield_above, shadow } = config;
        let limit = Limit::new(max_concurrency, yield_above);
        telemetry::lane_shadow(&name, shadow);
        let (door, received) = Door::new(limit.now());
        let breaker = Breaker::new(options.breaker_threshold);
        let governor = Governor::new(name.clone(), door.clone(), limit, breaker, account.credentials.clone());
        let sender = Arc::new(Sender {
            name,
            account,
            outbox,
            twilio,
            settler,
            door,
            governor,
            policy: options.policy,
            least_lease: options.least_lease,
            shadow,
            in_flight: Mutex::default(),
        });
        Self { sender, received, attempts: JoinSet::new(), freed: Arc::new(Notify::new()), options, reported: None }
    }

    pub fn account_sid(&self) -> &AccountSid {
        &self.sender.account.account_sid
    }

    pub fn door(&self) -> &Arc<Door> {
        &self.sender.door
    }

    /// What an operator may decide anew while the lane runs.
    pub fn control(&self) -> LaneControl {
        LaneControl(self.sender.clone())
    }

    /// How many requests may be in flight now.
    pub fn limit(&self) -> u32 {
        self.sender.governor.report().0
    }

    /// Looks how the lane stands, claims no more than can start at once, and starts it. What was handed over starts
    /// first.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn step(&mut self) -> Result<Step, StoreError> {
        while let Some(ended) = self.attempts.try_join_next() {
            log_panic(ended);
        }
        let mut started = 0;
        while let Ok(lease) = self.received.try_recv() {
            self.start(lease);
            started += 1;
        }
        let (leases, more) = self.claim().await?;
        started += leases.len();
        leases.into_iter().for_each(|lease| self.start(lease));
        Ok(if started == 0 { Step::Idle } else { Step::Worked { started, more } })
    }

    /// Waits until everything that was started is settled.
    pub async fn quiet(&mut self) {
        while let Some(ended) = self.attempts.join_next().await {
            log_panic(ended);
        }
        self.sender.settler.quiet().await;
    }

    async fn claim(&self) -> Result<(Vec<Lease>, bool), StoreError> {
        let Sender { outbox, governor, door, policy, .. } = &*self.sender;
        let account = self.account_sid();
        match outbox.lane(account).await? {
            LaneState::Running => governor.set_paused(false),
            LaneState::PausedByOperator => {
                governor.set_paused(true);
                return Ok((Vec::new(), false));
            }
            LaneState::PausedByFault => {
                governor.set_paused(true);
                if !outbox.take_probe(account, policy.probe_every).await? {
                    return Ok((Vec::new(), false));
                }
                let room = door.take_even_if_closed(1);
                return self.claimed(room, true).await;
            }
        }
        if governor.breaker_is_closed() {
            let room = door.take(u32::MAX);
            return self.claimed(room, false).await;
        }
        if !governor.take_breaker_probe() {
            return Ok((Vec::new(), false));
        }
        let room = door.take_even_if_closed(1);
        let claimed = self.claimed(room, false).await;
        if !matches!(&claimed, Ok((leases, _)) if !leases.is_empty()) {
            governor.breaker_probe_not_sent();
        }
        claimed
    }

    /// Claims for room that was taken, and gives back what stays empty.
    async fn claimed(&self, room: u32, probe: bool) -> Result<(Vec<Lease>, bool), StoreError> {
        let Sender { outbox, door, name, .. } = &*self.sender;
        if room == 0 {
            return Ok((Vec::new(), true));
        }
        let account = self.account_sid();
        let claim =
            if probe { outbox.claim_probe(account).await } else { outbox.claim(account, Wanted::up_to(room)).await };
        let found = claim.as_ref().map_or(0, |claimed| u32::try_from(claimed.leases.len()).unwrap_or(u32::MAX));
        door.give_back(room.saturating_sub(found));
        let claimed = claim?;
        telemetry::claimed(name, claimed.leases.len(), claimed.poisoned);
        if 0 < claimed.poisoned {
            tracing::error!(lane = %name, poisoned = claimed.poisoned, "Gave feedback up whose worker was lost again and again");
        }
        Ok((claimed.leases, found == room))
    }

    fn start(&mut self, lease: Lease) {
        let (sender, freed) = (self.sender.clone(), self.freed.clone());
        self.attempts.spawn(async move {
            sender.spend(lease).await;
            freed.notify_one();
        });
    }

    /// Steps until told to stop; then finishes what is in flight within `grace`, or ends its leases.
    pub(super) async fn run(mut self, stop: CancellationToken, grace: Duration) {
        let mut more = true;
        let mut failures = 0;
        let mut next_poll = Instant::now();
        while !stop.is_cancelled() {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(lease) = self.received.recv() => {
                    self.start(lease);
                    continue;
                }
                () = self.freed.notified(), if more && failures == 0 => {
                    // A claim for each place that becomes free would cost more than the requests.
                    if self.door().room() < self.limit().div_ceil(4) {
                        continue;
                    }
                }
                () = tokio::time::sleep_until(next_poll) => {}
            }
            match self.step().await {
                Ok(step) => {
                    telemetry::loop_stepped("lane");
                    failures = 0;
                    more = matches!(step, Step::Worked { more: true, .. });
                    next_poll = Instant::now() + jittered(self.options.poll_interval);
                }
                Err(error) => {
                    telemetry::loop_failed("lane");
                    tracing::error!(%error, lane = %self.sender.name, "Could not claim; trying again after a pause");
                    next_poll =
                        Instant::now() + self.options.policy.backoff.after(failures, rand::random()).min(LONGEST_AWAY);
                    failures += 1;
                }
            }
            self.report().await;
        }
        self.stop(grace).await;
    }

    async fn report(&mut self) {
        if self.reported.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
            return;
        }
        self.reported = Some(Instant::now());
        let (limit, breaker) = self.sender.governor.report();
        let in_flight = self.sender.in_flight.lock().expect("no holder panics").len();
        let report = LaneReport {
            replica: self.options.replica.clone(),
            limit,
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            breaker: breaker.to_owned(),
            shadow: self.sender.shadow,
            reported_at: Default::default(),
        };
        if let Err(error) = self.sender.outbox.report(self.account_sid(), &report).await {
            tracing::debug!(%error, lane = %self.sender.name, "Could not report how the lane stands");
        }
    }

    async fn stop(mut self, grace: Duration) {
        self.sender.door.set_open(false);
        self.received.close();
        let mut unsent = Vec::new();
        while let Some(lease) = self.received.recv().await {
            unsent.push(lease);
        }
        if !unsent.is_empty() {
            log_unended(self.sender.outbox.give_back(unsent).await);
        }
        let deadline = Instant::now() + grace.saturating_sub(TO_SETTLE);
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.attempts.join_next()).await {
            log_panic(ended);
        }
        let tickets: Vec<Ticket> = self.sender.in_flight.lock().expect("no holder panics").values().cloned().collect();
        self.attempts.shutdown().await;
        if !tickets.is_empty() {
            tracing::warn!(lane = %self.sender.name, unanswered = tickets.len(), "Stopped before Twilio answered; these will be sent again");
            log_unended(self.sender.outbox.interrupt(tickets).await);
        }
    }
}

/// One lane, for who decides anew about it. Cheap to clone.
#[derive(Clone)]
pub struct LaneControl(Arc<Sender>);

impl LaneControl {
    pub fn account_sid(&self) -> &AccountSid {
        &self.0.account.account_sid
    }

    /// From now on requests are sent with these. What has begun goes on as it began. Gives whether the credentials are
    /// others.
    pub fn set(&self, credentials: Vec<Credential>, max_concurrency: u32, yield_above: u32) -> bool {
        self.0.governor.set(credentials, max_concurrency, yield_above)
    }

    /// If the lane is paused for a fault of its account, the next request that probes it goes at once.
    ///
    /// # Errors
    /// Where Postgres does not answer; the probe goes when it would have gone.
    pub async fn probe_soon(&self) -> Result<(), StoreError> {
        self.0.outbox.probe_soon(self.account_sid()).await
    }
}

/// Longest pause between tries while Postgres is away.
const LONGEST_AWAY: Duration = Duration::from_secs(5);

fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.8 + 0.4 * rand::random::<f64>())
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panic) = ended {
        tracing::error!(%panic, "An attempt has ended by itself; its lease will expire");
    }
}

fn log_unended(ended: Result<(), StoreError>) {
    if let Err(error) = ended {
        tracing::warn!(%error, "Could not end leases; they will expire");
    }
}
