//! One account's deliveries: claims what is due when there is room, and starts it.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
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
use super::look::{Look, Reach};
use super::queue::{OWNED_FOR_EACH_PLACE, Queue};
use super::settler::Settler;
use crate::domain::AccountSid;
use crate::store::{Door, LaneReport, Lease, Outbox, StoreError, Ticket};
use crate::telemetry::{self, RequestMeter};
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
        let (door, received) = Door::new(limit.now() * OWNED_FOR_EACH_PLACE);
        let breaker = Breaker::new(options.breaker_threshold);
        let governor = Governor::new(name.clone(), door.clone(), limit, breaker, account.credentials.clone());
        let sender = Arc::new(Sender {
            meter: RequestMeter::new(&name),
            name,
            account,
            outbox,
            twilio,
            settler,
            door,
            governor,
            queue: Queue::default(),
            reached: Mutex::default(),
            hungry: AtomicBool::new(false),
            freed: Notify::new(),
            policy: options.policy,
            least_lease: options.least_lease,
            shadow,
            in_flight: Mutex::default(),
        });
        Self { sender, received, attempts: JoinSet::new(), options, reported: None }
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
        self.sender.governor.limit()
    }

    /// Looks how the lane stands, claims what there is room for, and starts as much as may be in flight. What was handed
    /// over goes first.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn step(&mut self) -> Result<Step, StoreError> {
        let handed = self.receive();
        let look = self.sender.clone().look(Reach::All).await?;
        Ok(self.begin(handed, look))
    }

    /// Waits until everything that was started, or waits to be, is settled.
    pub async fn quiet(&mut self) {
        self.tend().await;
        while let Some(ended) = self.attempts.join_next().await {
            log_panic(ended);
            self.tend().await;
        }
        self.sender.settler.quiet().await;
    }

    /// Takes in what was handed over. Gives how much.
    fn receive(&mut self) -> usize {
        let mut handed = 0;
        while let Ok(lease) = self.received.try_recv() {
            self.sender.queue.push([lease]);
            handed += 1;
        }
        handed
    }

    fn begin(&mut self, handed: usize, look: Look) -> Step {
        let Look { mut leases, probe, more } = look;
        let started = handed + leases.len();
        if probe {
            if let Some(lease) = leases.pop().or_else(|| self.sender.queue.take_one()) {
                self.start_probe(lease);
            }
        } else {
            self.sender.queue.push(leases);
        }
        self.start();
        if started == 0 { Step::Idle } else { Step::Worked { started, more } }
    }

    /// Starts what waits, as much as may be in flight.
    fn start(&mut self) {
        while self.door().is_open()
            && let Some(lease) = self.sender.queue.start(self.limit())
        {
            self.spawn(lease);
        }
    }

    fn start_probe(&mut self, lease: Lease) {
        self.sender.queue.start_probe();
        self.spawn(lease);
    }

    fn spawn(&mut self, lease: Lease) {
        self.attempts.spawn(self.sender.clone().run(lease));
    }

    /// Starts what waits; gives it back instead if the lane may not send.
    async fn tend(&mut self) {
        while let Some(ended) = self.attempts.try_join_next() {
            log_panic(ended);
        }
        self.start();
        if !self.door().is_open() && !self.sender.queue.is_empty() {
            self.sender.give_all_back().await;
        }
    }

    /// Steps until told to stop; then finishes what is in flight within `grace`, or ends its leases.
    ///
    /// Claiming is a task of its own, so that what waits is started while Postgres is asked for more.
    pub(super) async fn run(mut self, stop: CancellationToken, grace: Duration) {
        let mut more = true;
        let mut failures = 0;
        let mut next_poll = Instant::now();
        let mut looking: JoinSet<Result<Look, StoreError>> = JoinSet::new();
        while !stop.is_cancelled() {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(looked) = looking.join_next() => match looked {
                    Ok(Ok(look)) => {
                        telemetry::loop_stepped("lane");
                        failures = 0;
                        more |= look.more;
                        self.begin(0, look);
                    }
                    Ok(Err(error)) => {
                        telemetry::loop_failed("lane");
                        tracing::error!(%error, lane = %self.sender.name, "Could not claim; trying again after a pause");
                        let pause = self.options.policy.backoff.after(failures, rand::random()).min(LONGEST_AWAY);
                        next_poll = Instant::now() + pause;
                        failures += 1;
                    }
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                },
                Some(lease) = self.received.recv() => {
                    self.sender.queue.push([lease]);
                    self.receive();
                }
                () = self.sender.freed.notified() => {}
                () = self.sender.door.overflow() => {}
                () = tokio::time::sleep_until(next_poll), if looking.is_empty() => {
                    next_poll = Instant::now() + jittered(self.options.poll_interval);
                    // Of what becomes due from now on, and finds no room because the claim has all of it, the look says
                    // nothing; whoever tells of it meanwhile is not forgotten when it ends.
                    more = false;
                    looking.spawn(self.sender.clone().look(Reach::All));
                    self.report().await;
                }
            }
            self.tend().await;
            more |= self.door().forget_overflow();
            // A lane that may not send is not woken by each event that it is not handed: its polls find out when it may.
            let may_look = more && failures == 0 && looking.is_empty() && self.door().is_open();
            // First said, then looked at, or the last to make room could miss it.
            self.sender.hungry.store(may_look, SeqCst);
            if may_look && self.sender.has_room_to_claim() {
                // A backlog is claimed onward, one claim after the other; what lost its worker must not wait for its end.
                let reach = if next_poll <= Instant::now() {
                    next_poll = Instant::now() + jittered(self.options.poll_interval);
                    Reach::All
                } else {
                    Reach::Onward
                };
                more = false;
                looking.spawn(self.sender.clone().look(reach));
            }
        }
        // What it claims is ours to give back.
        while let Some(looked) = looking.join_next().await {
            if let Ok(Ok(look)) = looked {
                self.sender.queue.push(look.leases);
            }
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
        while let Some(lease) = self.received.recv().await {
            self.sender.queue.push([lease]);
        }
        self.sender.give_all_back().await;
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
