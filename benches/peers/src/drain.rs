//! What a peer is asked to do, and how it is watched from outside while it does it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{bail, ensure};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep, timeout};

use crate::sink::Sink;

/// Without an answer from the sink or a completion for so long, something is wrong and nobody would ever say so.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// Between two looks at whether the last jobs are completed; beside a drain of seconds, nothing.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);
/// Jobs that are enqueued by one statement.
const ENQUEUED_AT_ONCE: usize = 10_000;

/// A backlog in a peer's tables, ready to be drained.
pub(crate) trait Backlog {
    /// Starts the peer's own workers, in the background.
    fn start(&mut self);

    /// Whether a job is left that the peer's tables do not show as completed.
    async fn is_any_left(&self) -> anyhow::Result<bool>;

    /// Whether the peer's tables account for every one of so many jobs, once none is left.
    async fn accounts_for(&self, jobs: u64) -> anyhow::Result<bool>;
}

/// The drain that every job is part of. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Drain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sink: Sink,
    jobs: u64,
    concurrency: usize,
    answered: AtomicU64,
    /// Told at the last answer, and at every failure.
    end: mpsc::UnboundedSender<anyhow::Result<()>>,
    ended: Mutex<Ended>,
}

type Ended = mpsc::UnboundedReceiver<anyhow::Result<()>>;

impl Drain {
    pub(crate) fn new(sink: Sink, jobs: u64, concurrency: usize) -> Self {
        let (end, ended) = mpsc::unbounded_channel();
        Self(Arc::new(Shared { sink, jobs, concurrency, answered: AtomicU64::new(0), end, ended: Mutex::new(ended) }))
    }

    pub(crate) fn concurrency(&self) -> usize {
        self.0.concurrency
    }

    /// The numbers of all jobs, in portions to enqueue at once.
    pub(crate) fn portions(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let jobs = self.0.jobs;
        (0..jobs).step_by(ENQUEUED_AT_ONCE).map(move |first| first..jobs.min(first + ENQUEUED_AT_ONCE as u64))
    }

    /// What a job does.
    ///
    /// # Errors
    /// For the peer to know. It ends the drain as well: a peer that tries again would be measured at something else.
    pub(crate) async fn run_job(&self, message_sid: &str) -> Result<(), String> {
        if let Err(error) = self.0.sink.confirm(message_sid).await {
            let text = format!("{message_sid}: {error:#}");
            self.end(Err(error.context(message_sid.to_owned())));
            return Err(text);
        }
        if self.0.answered.fetch_add(1, Ordering::Relaxed) + 1 == self.0.jobs {
            self.end(Ok(()));
        }
        Ok(())
    }

    /// Ends the drain early, if the peer's own workers ended with an error.
    pub(crate) fn workers_ended<E: Into<anyhow::Error>>(&self, how: Result<(), E>) {
        if let Err(error) = how {
            self.end(Err(error.into()));
        }
    }

    /// Nobody listens once the drain is over; then it no longer matters.
    fn end(&self, how: anyhow::Result<()>) {
        let _ = self.0.end.send(how);
    }

    /// Drains a backlog: from the start of the peer's workers until its tables show every job as completed.
    pub(crate) async fn time(&self, mut backlog: impl Backlog) -> anyhow::Result<Duration> {
        let began = Instant::now();
        backlog.start();
        let mut ended = self.0.ended.lock().await;
        self.until_all_are_answered(&mut ended).await?;
        let answered = Instant::now();
        while backlog.is_any_left().await? {
            if let Ok(how) = ended.try_recv() {
                how?;
            }
            ensure!(answered.elapsed() < STALLED_AFTER, "every job was answered, but not every one is completed");
            sleep(LOOK_AGAIN_AFTER).await;
        }
        let took = began.elapsed();
        let (jobs, times) = (self.0.jobs, self.0.answered.load(Ordering::Relaxed));
        ensure!(times == jobs, "{jobs} jobs were run {times} times");
        ensure!(backlog.accounts_for(jobs).await?, "not all of {jobs} jobs are in the peer's tables as completed");
        Ok(took)
    }

    async fn until_all_are_answered(&self, ended: &mut Ended) -> anyhow::Result<()> {
        let mut before = 0;
        loop {
            if let Ok(Some(how)) = timeout(STALLED_AFTER, ended.recv()).await {
                return how;
            }
            let answered = self.0.answered.load(Ordering::Relaxed);
            if answered == before {
                bail!("{answered} of {} jobs were answered, and none more for {STALLED_AFTER:?}", self.0.jobs);
            }
            before = answered;
        }
    }
}
