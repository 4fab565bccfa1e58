//! apalis-postgres: several workers, each fetching a batch and acknowledging the last one in between.
//!
//! Settings: <https://docs.rs/apalis-postgres/1.0.0/apalis_postgres/struct.Config.html>

use std::pin::Pin;
use std::time::Duration;

use apalis::prelude::{
    BackendExt as _, BoxDynError, Data, Strategy, TaskSink as _, WorkerBuilder, WorkerBuilderExt as _, WorkerError,
};
use apalis_postgres::{Config, PostgresStorage};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::CONNECTIONS;
use crate::drain::{Backlog, Drain};
use crate::sink::message_sid;

/// A worker does not fetch while it acknowledges, nor the other way round; several take turns.
const WORKERS: usize = 4;
/// Jobs in one fetch of a worker, and so about as many in one acknowledgement.
const BATCH: usize = 1_000;
/// Between two looks at an empty queue.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Confirm {
    message_sid: String,
}

async fn confirm(job: Confirm, drain: Data<Drain>) -> Result<(), BoxDynError> {
    Ok(drain.run_job(&job.message_sid).await?)
}

/// Jobs in apalis' table.
pub(crate) struct Apalis {
    pool: PgPool,
    drain: Drain,
}

impl Apalis {
    pub(crate) async fn enqueue(database_url: &str, drain: Drain) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(database_url).await?;
        PostgresStorage::setup(&pool).await?;
        let mut storage = storage(&pool);
        for numbers in drain.portions() {
            let jobs = numbers.map(|number| Confirm { message_sid: message_sid(number) }).collect();
            storage.push_bulk(jobs).await?;
        }
        Ok(Self { pool, drain })
    }
}

/// Fetching a job already makes it this worker's own; marking it once more as running is left out.
fn storage(pool: &PgPool) -> PostgresStorage<Confirm> {
    PostgresStorage::new(pool).with_config(Config::default().queue("confirm").batch_size(BATCH).lock_tasks(false))
}

impl Backlog for Apalis {
    fn start(&mut self) {
        let workers = self.drain.concurrency().min(WORKERS);
        for index in 0..workers {
            // The first ones take what cannot be shared evenly.
            let concurrency = (self.drain.concurrency() + workers - 1 - index) / workers;
            let worker = WorkerBuilder::new(format!("confirm-{index}"))
                .backend(storage(&self.pool).poll_with_strategy(Strategy::new().interval(POLL_INTERVAL)))
                .data(self.drain.clone())
                .concurrency(concurrency)
                .build(confirm);
            let drain = self.drain.clone();
            let running: Pin<Box<dyn Future<Output = Result<(), WorkerError>> + Send>> = Box::pin(worker.run());
            tokio::spawn(async move { drain.workers_ended(running.await) });
        }
    }

    async fn is_any_left(&self) -> anyhow::Result<bool> {
        let any_left = "select exists (select from apalis.jobs where status <> 'Done')";
        Ok(sqlx::query_scalar(any_left).fetch_one(&self.pool).await?)
    }

    async fn accounts_for(&self, jobs: u64) -> anyhow::Result<bool> {
        let done = "select count(*) from apalis.jobs where status = 'Done'";
        let done: i64 = sqlx::query_scalar(done).fetch_one(&self.pool).await?;
        Ok(u64::try_from(done)? == jobs)
    }
}
