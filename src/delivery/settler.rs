//! Gathers verdicts and commits them in batches. What Twilio said is kept until Postgres has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backoff::Backoff;
use crate::domain::{AccountSid, DeadReason, MessageSid, TraceContext, Verdict};
use crate::store::{Outbox, Settled, Settlement};
use crate::telemetry::{self, ConfirmedMeter};

/// Most verdicts in one commit.
const BATCH: usize = 500;
/// How long verdicts gather after a commit, unless there are enough for the next. A commit for every few cost more than
/// the rest of the delivery; nobody waits for it, and who is killed meanwhile repeats what Twilio takes as the same.
const GATHERING: Duration = Duration::from_millis(5);
/// Most verdicts that wait for a commit; past it, lanes wait before they start more.
const WAITING: usize = 4096;
/// Between tries while Postgres is away.
const AWAY: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

/// Where lanes put their settlements. Cheap to clone.
#[derive(Clone)]
pub struct Settler {
    queue: mpsc::Sender<Settlement>,
    unsettled: watch::Sender<usize>,
    worker: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Settler {
    pub fn start(outbox: Outbox) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let unsettled = watch::Sender::new(0);
        let worker = tokio::spawn(work(outbox, waiting, unsettled.clone()));
        Self { queue, unsettled, worker: Arc::new(Mutex::new(Some(worker))) }
    }

    pub(super) async fn settle(&self, settlement: Settlement) {
        self.unsettled.send_modify(|count| *count += 1);
        if self.queue.send(settlement).await.is_err() {
            self.unsettled.send_modify(|count| *count -= 1);
            tracing::error!(
                "Could not settle: the settler has ended; the lease will expire and the feedback be sent again"
            );
        }
    }

    /// Waits until everything that was handed in is settled.
    pub async fn quiet(&self) {
        let mut unsettled = self.unsettled.subscribe();
        if unsettled.wait_for(|count| *count == 0).await.is_err() {
            tracing::debug!("The settler has ended");
        }
    }

    /// Waits until nobody settles any more, which nobody asked for.
    pub(super) async fn ended(&self) {
        self.queue.closed().await;
    }

    /// Settles what is left, and ends.
    pub async fn finish(self) {
        self.quiet().await;
        let worker = self.worker.lock().await.take();
        drop(self.queue);
        if let Some(worker) = worker {
            worker.abort();
        }
    }
}

async fn work(outbox: Outbox, mut waiting: mpsc::Receiver<Settlement>, unsettled: watch::Sender<usize>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut failures = 0;
    let mut meters = HashMap::new();
    while 0 < waiting.recv_many(&mut batch, BATCH).await {
        loop {
            let began = Instant::now();
            match outbox.settle(&batch).await {
                Ok(settled) => {
                    telemetry::settled(batch.len(), began.elapsed());
                    batch.iter().for_each(|settlement| tell(settlement, &settled, &mut meters));
                    failures = 0;
                    break;
                }
                Err(error) => {
                    telemetry::loop_failed("settler");
                    tracing::error!(%error, waiting = batch.len(), "Could not settle; what Twilio said is kept and settled again");
                    tokio::time::sleep(AWAY.after(failures, rand::random())).await;
                    failures += 1;
                }
            }
        }
        unsettled.send_modify(|count| *count -= batch.len());
        batch.clear();
        if waiting.len() < BATCH / 2 {
            tokio::time::sleep(GATHERING).await;
        }
    }
}

/// One line and one count for each outcome, here where it is certain.
fn tell(
    settlement: &Settlement,
    settled: &HashMap<MessageSid, Settled>,
    meters: &mut HashMap<AccountSid, ConfirmedMeter>,
) {
    let Settlement { lease, attempt, verdict, .. } = settlement;
    let (message_sid, number, class) = (&lease.message_sid, lease.attempt, attempt.class.as_str());
    let (status, code, request_id) = (attempt.status, attempt.code, attempt.request_id.as_deref());
    let trace_id = lease.trace.as_ref().map(TraceContext::trace_id);
    let _followed = telemetry::settling_span(message_sid).entered();
    match (settled.get(message_sid), verdict) {
        (Some(Settled::Stands { owed_for }), Verdict::Confirmed) => {
            let account_sid = &lease.account_sid;
            let meter = meters.entry(account_sid.clone()).or_insert_with(|| ConfirmedMeter::new(account_sid));
            meter.confirmed(*owed_for);
            tracing::debug!(%message_sid, number, trace_id, request_id, took = ?attempt.took, "Confirmed at Twilio");
        }
        (Some(Settled::Stands { .. }), Verdict::Retry(retry)) => {
            tracing::info!(%message_sid, number, trace_id, class, status, code, error = attempt.error, request_id, after = ?retry.after(), "Could not confirm yet; trying again");
        }
        (Some(Settled::Stands { .. }), Verdict::Dead(DeadReason::Shadowed)) => {
            telemetry::shadowed(&lease.account_sid);
            tracing::debug!(%message_sid, number, trace_id, "Shadowed: everything was done but the request");
        }
        (Some(Settled::Stands { .. }), Verdict::Dead(reason)) => {
            telemetry::gave_up(&lease.account_sid, *reason);
            tracing::warn!(%message_sid, number, trace_id, class, status, code, error = attempt.error, request_id, reason = reason.as_str(), "Gave a feedback up; it is among the dead letters");
        }
        (Some(Settled::ConfirmedLate), _) => {
            telemetry::confirmed_late(&lease.account_sid);
            tracing::info!(%message_sid, number, trace_id, request_id, "Confirmed at Twilio, by a lease that had been lost");
        }
        (Some(Settled::Fenced) | None, _) => {
            telemetry::fenced();
            tracing::warn!(%message_sid, number, trace_id, class, "Settled too late; the newer claim decides");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_settler_that_has_died_is_noticed() {
        let (queue, waiting) = mpsc::channel(1);
        let worker = tokio::spawn(async move {
            let _held = waiting;
            panic!("as if settling had a bug");
        });
        let settler = Settler { queue, unsettled: watch::Sender::new(0), worker: Arc::new(Mutex::new(Some(worker))) };
        tokio::time::timeout(Duration::from_secs(10), settler.ended()).await.expect("it is noticed at once");
    }
}
