//! What operators did: written in the transaction that did it, and read back.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::row::count;
use super::{Ledger, StoreError};
use crate::domain::Actor;

/// Something that is about to be done, by whom.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    pub(super) operation_id: Uuid,
    /// What is done by one command or request, in however many transactions.
    pub(super) run_id: Uuid,
    pub(super) actor: Actor,
    pub(super) what: &'static str,
    pub(super) subject: String,
    pub(super) reason: Option<String>,
}

/// Puts on record what was done to so many, in the transaction that did it.
pub(super) async fn record(
    session: &mut PgConnection,
    deed: &Deed,
    number: u64,
    due_until: Option<DateTime<Utc>>,
    now: Option<DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "-- Operator::record
        insert into operation (operation_id, run_id, done_at, done_by, done_via, what, subject, reason, number, due_until)
        values ($1, $2, coalesce($3, clock_timestamp()), $4, $5, $6, $7, $8, $9, $10)
        on conflict do nothing",
    )
    .bind(deed.operation_id)
    .bind(deed.run_id)
    .bind(now)
    .bind(deed.actor.name.as_str())
    .bind(deed.actor.via.as_str())
    .bind(deed.what)
    .bind(deed.subject.as_str())
    .bind(deed.reason.as_deref())
    .bind(i64::try_from(number).unwrap_or(i64::MAX))
    .bind(due_until)
    .execute(session)
    .await
    .map(drop)
}

/// What one command or request did, all its batches together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub began_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    /// As they are stored: a newer binary may know more words.
    pub done_by: String,
    pub done_via: String,
    pub what: String,
    pub subject: String,
    pub reason: Option<String>,
    pub number: u64,
    /// When all that a replay brought back will have come due.
    pub due_until: Option<DateTime<Utc>>,
}

impl Ledger {
    /// What operators did lately, the newest first.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn operations(&self, limit: u32) -> Result<Vec<Operation>, StoreError> {
        type Row =
            (DateTime<Utc>, DateTime<Utc>, String, String, String, String, Option<String>, i64, Option<DateTime<Utc>>);
        let rows: Vec<Row> = self
            .sessions
            .run(move |session| {
                Box::pin(async move {
                    sqlx::query_as(
                        "-- Ledger::operations
                        select min(done_at), max(done_at), min(done_by), min(done_via), min(what), min(subject), min(reason),
                               sum(number)::bigint, max(due_until)
                        from operation
                        group by run_id
                        order by 2 desc, 1 desc, run_id
                        limit $1",
                    )
                    .bind(i64::from(limit))
                    .fetch_all(session)
                    .await
                })
            })
            .await?;
        let operation = |(began_at, ended_at, done_by, done_via, what, subject, reason, number, due_until): Row| {
            let number = count(number);
            Operation { began_at, ended_at, done_by, done_via, what, subject, reason, number, due_until }
        };
        Ok(rows.into_iter().map(operation).collect())
    }
}
