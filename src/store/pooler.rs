//! A session must stay with its client. Behind a pooler that lends it out from transaction to transaction, the time limits
//! and `synchronous_commit` that were set on it hold for somebody else, and prepared statements answer what others asked:
//! with PgBouncer 1.18, a third of the answers were wrong, and half of those without any error.
//!
//! PgBouncer 1.21 and later keeps prepared statements apart, and still lends the settings out.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use uuid::Uuid;

use super::StoreError;

/// Sessions at once: with two, a pooler could give each its own by chance.
const SESSIONS: usize = 4;

/// Marks several sessions, each in its own way, and looks whether each still bears its own mark.
///
/// # Errors
/// [`StoreError::Pooled`] where one does not; otherwise where Postgres cannot be reached or does not answer in time.
pub async fn sessions_are_our_own(connect: &PgConnectOptions) -> Result<(), StoreError> {
    tokio::time::timeout(super::open::SCHEMA_DEADLINE, mark_and_look(connect))
        .await
        .map_err(|_| StoreError::Deadline)?
}

async fn mark_and_look(connect: &PgConnectOptions) -> Result<(), StoreError> {
    let mut marked: Vec<(PgConnection, String)> = Vec::with_capacity(SESSIONS);
    for _ in 0..SESSIONS {
        marked.push((connect.connect().await?, Uuid::new_v4().to_string()));
    }
    for (session, mark) in &mut marked {
        ask(session, format!("select set_config('confirmd.mark', '{mark}', false)")).await?;
    }
    let mut own = true;
    for (session, mark) in &mut marked {
        own &= ask(session, "select current_setting('confirmd.mark', true)".to_owned()).await?.as_ref() == Some(mark);
    }
    for (session, _) in marked {
        session.close().await?;
    }
    if own { Ok(()) } else { Err(StoreError::Pooled) }
}

/// In Postgres's simple protocol, which is the one that works everywhere.
async fn ask(session: &mut PgConnection, statement: String) -> Result<Option<String>, sqlx::Error> {
    use sqlx::Executor as _;
    session.fetch_one(sqlx::raw_sql(AssertSqlSafe(statement))).await?.try_get(0)
}
