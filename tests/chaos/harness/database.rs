//! The database's ledger, read with SQL of our own, so that what confirmd says of itself is not what is believed.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

#[derive(Default)]
pub(crate) struct Database {
    pub(crate) events: BTreeMap<String, Event>,
    /// Messages, and when each was registered, in milliseconds since 1970.
    pub(crate) messages: BTreeMap<String, u64>,
    pub(crate) parked: BTreeSet<String>,
    pub(crate) pending: BTreeMap<String, u32>,
    pub(crate) confirmed: BTreeMap<String, u32>,
    /// Messages that were given up: why, and after how many attempts.
    pub(crate) dead: BTreeMap<String, (String, u32)>,
    /// By message: number, verdict and class of what is on record.
    pub(crate) attempts: BTreeMap<String, Vec<Attempt>>,
}

pub(crate) struct Event {
    pub(crate) state: String,
    pub(crate) sids: Vec<String>,
}

pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) verdict: String,
    pub(crate) class: Option<String>,
    /// When it began, or when its lease ended; in milliseconds since 1970.
    pub(crate) at: i64,
}

impl Database {
    pub(crate) async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        // One snapshot for all of it.
        sqlx::raw_sql("begin isolation level repeatable read read only").execute(&mut *connection).await?;
        let mut read = Self::default();
        let events: Vec<(String, String, Vec<String>)> = sqlx::query_as(
            "select event_id, state, message_sids || array(select r.message_sid from resolution r
                    where (r.namespace, r.event_id) = (event.namespace, event.event_id))
             from event",
        )
        .fetch_all(&mut *connection)
        .await?;
        read.events = events.into_iter().map(|(id, state, sids)| (id, Event { state, sids })).collect();
        let messages: Vec<(String, f64)> =
            sqlx::query_as("select message_sid, extract(epoch from registered_at)::float8 * 1000 from message")
                .fetch_all(&mut *connection)
                .await?;
        read.messages = messages.into_iter().map(|(sid, at)| (sid, at.max(0.0).floor() as u64)).collect();
        let parked: Vec<String> = sqlx::query_scalar("select event_id from parked").fetch_all(&mut *connection).await?;
        read.parked = parked.into_iter().collect();
        read.pending = counts("select message_sid, attempts from feedback", connection).await?;
        read.confirmed = counts("select message_sid, attempts from confirmation", connection).await?;
        let dead: Vec<(String, String, i32)> =
            sqlx::query_as("select message_sid, reason, attempts from dead_letter").fetch_all(&mut *connection).await?;
        read.dead = dead.into_iter().map(|(sid, reason, attempts)| (sid, (reason, attempts.unsigned_abs()))).collect();
        let attempts: Vec<(String, i32, String, Option<String>, i64)> = sqlx::query_as(
            "select message_sid, number, verdict, class, (extract(epoch from at) * 1000)::bigint
             from attempt_on_record order by message_sid, number",
        )
        .fetch_all(&mut *connection)
        .await?;
        for (sid, number, verdict, class, at) in attempts {
            let attempt = Attempt { number: number.unsigned_abs(), verdict, class, at };
            read.attempts.entry(sid).or_default().push(attempt);
        }
        sqlx::raw_sql("commit").execute(connection).await?;
        Ok(read)
    }

    /// How many requests for this message are on record as begun.
    pub(crate) fn attempts_of(&self, sid: &str) -> u32 {
        let dead = self.dead.get(sid).map(|(_, attempts)| attempts);
        let on_record = [self.pending.get(sid), self.confirmed.get(sid), dead];
        on_record.into_iter().flatten().copied().max().unwrap_or(0)
    }
}

async fn counts(query: &'static str, connection: &mut PgConnection) -> Result<BTreeMap<String, u32>, sqlx::Error> {
    let rows: Vec<(String, i32)> = sqlx::query_as(query).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(sid, count)| (sid, count.unsigned_abs())).collect())
}
