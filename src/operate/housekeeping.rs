//! What a running process does now and then: upkeep of the store, and what the metrics show of it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::{AccountSid, LaneName, LetterReason};
use crate::store::{Backlog, Durability, Store, StoreError};
use crate::telemetry;

/// How often and how far.
#[derive(Clone, Debug)]
pub struct HousekeepingOptions {
    /// Between two measurements.
    pub measure_every: Duration,
    /// Between two rounds of expiring and forgetting, and of the audit of what came lately.
    pub tidy_every: Duration,
    /// How far back the audit looks.
    pub audit_within: Duration,
    /// A feedback that is put off further was put off by a clock that has jumped back since.
    pub longest_backoff: Duration,
}

impl HousekeepingOptions {
    pub fn new(longest_backoff: Duration) -> Self {
        Self {
            measure_every: Duration::from_secs(5),
            tidy_every: Duration::from_secs(60),
            audit_within: Duration::from_secs(15 * 60),
            longest_backoff,
        }
    }
}

/// The housekeeper of one process. Any number of them may run over one database.
pub struct Housekeeper {
    store: Store,
    lanes: HashMap<AccountSid, LaneName>,
    options: HousekeepingOptions,
}

/// Of the time, one part in so many goes into measuring.
const MEASURES_AT_MOST: u32 = 20;

/// Steps of one kind that follow each other before the next kind gets its turn.
const MOST_STEPS: u32 = 20;

impl Housekeeper {
    pub fn new(store: Store, lanes: HashMap<AccountSid, LaneName>, options: HousekeepingOptions) -> Self {
        Self { store, lanes, options }
    }

    /// Measures and tidies until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut next_tidy = Instant::now();
        while !stop.is_cancelled() {
            let began = Instant::now();
            let measured = self.measure().await;
            // What is owed is counted one by one; a backlog of millions must not be counted all the time.
            let pause = self.options.measure_every.max(began.elapsed() * MEASURES_AT_MOST);
            telemetry::db_up(measured.is_ok());
            let mut done = measured;
            if done.is_ok() && next_tidy <= Instant::now() {
                next_tidy = Instant::now() + self.options.tidy_every.mul_f64(0.8 + 0.4 * rand::random::<f64>());
                done = self.tidy().await;
            }
            match done {
                Ok(()) => telemetry::loop_stepped("housekeeping"),
                Err(error) => {
                    telemetry::loop_failed("housekeeping");
                    tracing::warn!(%error, "Could not keep house; trying again after a pause");
                }
            }
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Sets the gauges to what stands in the store.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn measure(&self) -> Result<(), StoreError> {
        for (pool, open, idle) in self.store.pools() {
            let idle = u32::try_from(idle).unwrap_or(u32::MAX);
            telemetry::pool(pool, open.saturating_sub(idle), idle);
        }
        let kept = self.store.upkeep.measure().await?;
        for (lane, (pending, oldest_due)) in self.by_lane(&kept.lanes) {
            telemetry::backlog(&lane, pending, oldest_due);
        }
        telemetry::parked(kept.parked, kept.oldest_parked);
        telemetry::replicas(kept.replicas);
        let mut dead: BTreeMap<String, u64> =
            LetterReason::ALL.into_iter().map(|reason| (reason.as_str().to_owned(), 0)).collect();
        dead.extend(kept.dead);
        dead.into_iter().for_each(|(reason, letters)| telemetry::dead_letters(reason, letters));
        if let Some(oldest) = self.store.upkeep.oldest_snapshot().await? {
            telemetry::db_oldest_xmin(oldest.age, oldest.transactions);
        }
        telemetry::db_durability(match self.store.durability().await? {
            Durability::None => "none",
            Durability::Local => "local",
            Durability::Standby => "standby",
        });
        Ok(())
    }

    /// By the names of lanes: an account's SID must not stand in a label. Accounts without a lane here count as one.
    fn by_lane(&self, backlogs: &[Backlog]) -> BTreeMap<LaneName, (u64, Option<Duration>)> {
        let mut lanes: BTreeMap<LaneName, (u64, Option<Duration>)> =
            self.lanes.values().map(|lane| (lane.clone(), (0, None))).collect();
        let unconfigured = LaneName::unconfigured();
        for backlog in backlogs {
            let lane = self.lanes.get(&backlog.account_sid).unwrap_or(&unconfigured);
            let (pending, oldest) = lanes.entry(lane.clone()).or_default();
            *pending += backlog.pending;
            *oldest = (*oldest).max(backlog.oldest_due);
        }
        lanes
    }

    /// Expires what was parked too long, forgets what is old, and audits what came lately. Each in bounded steps.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn tidy(&self) -> Result<(), StoreError> {
        let upkeep = &self.store.upkeep;
        for _ in 0..MOST_STEPS {
            let expired = upkeep.expire_parked().await?;
            telemetry::expired(expired);
            if expired == 0 {
                break;
            }
            tracing::warn!(expired, "Events expired: their messages never came; they are among the dead letters");
        }
        upkeep.pull_in(self.options.longest_backoff).await?;
        for _ in 0..MOST_STEPS {
            // Events before their messages, messages before their actions.
            let forgotten = upkeep.forget_events().await? + upkeep.forget_messages().await?;
            if forgotten == 0 {
                // So nothing has lost what referred to it either, and no action need be looked for among all of them.
                break;
            }
            upkeep.forget_actions().await?;
            tracing::debug!(forgotten, "Forgot what is older than the retention");
        }
        upkeep.forget_operations().await?;
        upkeep.forget_replicas().await?;
        upkeep.add_tally_up().await?;
        let drift = upkeep.audit_lately(self.options.audit_within).await?.total();
        telemetry::drift(drift);
        if 0 < drift {
            tracing::error!(drift, "The conservation law does not hold; run `confirmd audit`");
        }
        Ok(())
    }
}
