//! Audits while things happen: the conservation law has to hold in every snapshot.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use confirmd::app;
use confirmd::config::{Config, Environment, Role};
use confirmd::store::Clock;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;

use super::checker::{Breaches, sends_are_on_record};
use super::database::Database;
use super::witness;

/// Between two audits; more where an audit takes longer, so that looking does not become the load: a tenth of the time.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub(crate) struct Sampler {
    task: JoinHandle<()>,
    stopping: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) audits: usize,
    pub(crate) breaches: Breaches,
}

impl Sampler {
    /// `environment` is an operator's who reaches Postgres directly.
    pub(crate) fn begin(environment: Environment, url: String, folder: PathBuf) -> Self {
        let config = Config::load(None, &environment, Role::Operator).unwrap_or_else(|error| panic!("{error}"));
        let store = app::store(&config, Clock::default()).unwrap();
        let (stopping, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Seen>>::default());
        let (stop, noting) = (stopping.clone(), seen.clone());
        let task = tokio::spawn(async move {
            let mut rounds = 0_u32;
            while !stop.load(Ordering::SeqCst) {
                let begun = Instant::now();
                // Postgres is away in some rows; then there is nothing to audit.
                if let Ok(audit) = store.upkeep.audit().await {
                    let mut seen = noting.lock().unwrap();
                    seen.audits += 1;
                    if 0 < audit.drift.total() {
                        seen.breaches.add("K10", format!("{:?}", audit.drift));
                    }
                }
                if rounds.is_multiple_of(20) {
                    let twilio = witness::read(&folder);
                    if let Ok(mut connection) = PgConnection::connect(&url).await
                        && let Ok(database) = Database::read(&mut connection).await
                    {
                        sends_are_on_record(&twilio, &database, &mut noting.lock().unwrap().breaches);
                    }
                }
                rounds += 1;
                tokio::time::sleep((begun.elapsed() * 9).clamp(PAUSE, LONGEST_PAUSE)).await;
            }
            store.close().await;
        });
        Self { task, stopping, seen }
    }

    pub(crate) async fn end(self) -> Seen {
        self.stopping.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}
