//! A gate in a database: writers stand before it when they have done everything but commit.

use sqlx::{Connection as _, Executor as _, PgConnection};

use super::outside::eventually;

/// Any number that nobody else locks.
const GATE: i64 = 20_003;

/// Closed until it is [opened](Gate::open).
pub(crate) struct Gate {
    keeper: PgConnection,
}

impl Gate {
    /// Transactions that have inserted a message or an event wait at their commit from now on.
    pub(crate) async fn before_each_commit(url: &str) -> Self {
        let mut keeper = PgConnection::connect(url).await.unwrap();
        keeper
            .execute(
                "create function stand_at_the_gate() returns trigger language plpgsql
                     as $$ begin perform pg_advisory_xact_lock_shared(20003); return null; end $$;
                 create constraint trigger at_the_gate after insert on message deferrable initially deferred
                     for each row execute function stand_at_the_gate();
                 create constraint trigger at_the_gate after insert on event deferrable initially deferred
                     for each row execute function stand_at_the_gate();",
            )
            .await
            .unwrap();
        sqlx::query("select pg_advisory_lock($1)").bind(GATE).execute(&mut keeper).await.unwrap();
        Self { keeper }
    }

    /// Waits until so many transactions wait: at the gate, or for one that does.
    pub(crate) async fn holds(&mut self, transactions: i64) {
        let keeper = tokio::sync::Mutex::new(&mut self.keeper);
        eventually("transactions at the gate", || async {
            let waiting: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(&mut **keeper.lock().await)
            .await
            .unwrap();
            (waiting == transactions).then_some(())
        })
        .await;
    }

    pub(crate) async fn open(&mut self) {
        sqlx::query("select pg_advisory_unlock($1)").bind(GATE).execute(&mut self.keeper).await.unwrap();
    }
}
