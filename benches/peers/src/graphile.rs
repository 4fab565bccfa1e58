//! graphile_worker: fetches into a local queue, and deletes what is completed in batches.
//!
//! Settings: <https://docs.rs/crate/graphile_worker/0.14.1/source/docs/src/configuration/worker-options.md>,
//! "Throughput-oriented worker", and <https://docs.rs/crate/graphile_worker/0.14.1/source/docs/src/guides/local-queue.md>

use std::time::Duration;

use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, TaskHandler, Worker, WorkerContext, WorkerOptions,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::CONNECTIONS;
use crate::drain::{Backlog, Drain};
use crate::sink::message_sid;

/// Jobs in one fetch.
const LOCAL_QUEUE: usize = 1_000;
/// Completions of so long are one DELETE.
const COMPLETED_TOGETHER: Duration = Duration::from_millis(5);

#[derive(Clone, Deserialize, Serialize)]
struct Confirm {
    message_sid: String,
}

impl TaskHandler for Confirm {
    const IDENTIFIER: &'static str = "confirm";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let drain = context.get_ext::<Drain>().ok_or("the drain was not handed over")?;
        drain.run_job(&self.message_sid).await
    }
}

/// Jobs in graphile_worker's tables, and the worker that will run them.
pub(crate) struct Graphile {
    pool: PgPool,
    drain: Drain,
    worker: Option<Worker>,
}

impl Graphile {
    pub(crate) async fn enqueue(database_url: &str, drain: Drain) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(database_url).await?;
        let worker = WorkerOptions::default()
            .pg_pool(pool.clone())
            .concurrency(drain.concurrency())
            .local_queue(LocalQueueConfig::default().with_size(LOCAL_QUEUE))
            .complete_job_batch_delay(COMPLETED_TOGETHER)
            // Nothing is enqueued while a backlog is drained, so that there is nothing to be told of.
            .use_notification_delivery(false)
            .listen_os_shutdown_signals(false)
            .add_extension(drain.clone())
            .define_job::<Confirm>()
            .init()
            .await?;
        let (utils, spec) = (worker.create_utils(), JobSpec::default());
        for numbers in drain.portions() {
            let jobs: Vec<_> = numbers.map(|number| (Confirm { message_sid: message_sid(number) }, &spec)).collect();
            utils.add_jobs::<Confirm>(&jobs).await?;
        }
        Ok(Self { pool, drain, worker: Some(worker) })
    }
}

impl Backlog for Graphile {
    fn start(&mut self) {
        if let Some(worker) = self.worker.take() {
            let drain = self.drain.clone();
            tokio::spawn(async move { drain.workers_ended(worker.run().await) });
        }
    }

    async fn is_any_left(&self) -> anyhow::Result<bool> {
        let any_left = "select exists (select from graphile_worker._private_jobs)";
        Ok(sqlx::query_scalar(any_left).fetch_one(&self.pool).await?)
    }

    /// What is completed is deleted, and the sequence of the ids tells how many there were.
    async fn accounts_for(&self, jobs: u64) -> anyhow::Result<bool> {
        let ever =
            "select pg_sequence_last_value(pg_get_serial_sequence('graphile_worker._private_jobs', 'id')::regclass)";
        let ever: i64 = sqlx::query_scalar(ever).fetch_one(&self.pool).await?;
        Ok(u64::try_from(ever)? == jobs)
    }
}
