//! Ending leases with their verdicts, many at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::outbox::Outbox;
use super::row::{column, parsed};
use super::{Settled, Settlement, StoreError};
use crate::domain::{MessageSid, Retry, Verdict};

/// Settlements as columns, sorted by key so that two batches that overlap take their locks in one order.
#[derive(Default)]
struct Columns {
    sids: Vec<MessageSid>,
    tokens: Vec<Uuid>,
    numbers: Vec<i32>,
    verdicts: Vec<&'static str>,
    after: Vec<Option<f64>>,
    counts_as: Vec<Option<&'static str>>,
    reasons: Vec<Option<&'static str>>,
    classes: Vec<&'static str>,
    statuses: Vec<Option<i32>>,
    codes: Vec<Option<i32>>,
    errors: Vec<Option<&'static str>>,
    request_ids: Vec<Option<String>>,
    took_ms: Vec<i32>,
    updated: Vec<Option<DateTime<Utc>>>,
}

impl Columns {
    fn of(settlements: &[&Settlement]) -> Self {
        let mut sorted = settlements.to_vec();
        sorted.sort_by(|a, b| a.lease.message_sid.cmp(&b.lease.message_sid));
        let mut columns = Self::default();
        for Settlement { lease, attempt, verdict, date_updated } in sorted {
            let (after, counts_as, reason) = match verdict {
                Verdict::Confirmed => (None, None, None),
                Verdict::Retry(retry) => (Some(retry.after().as_secs_f64()), Some(counts_as(*retry)), None),
                Verdict::Dead(reason) => (None, None, Some(reason.as_str())),
            };
            columns.sids.push(lease.message_sid.clone());
            columns.tokens.push(lease.token);
            columns.numbers.push(i32::try_from(lease.attempt).unwrap_or(i32::MAX));
            columns.verdicts.push(verdict.as_str());
            columns.after.push(after);
            columns.counts_as.push(counts_as);
            columns.reasons.push(reason);
            columns.classes.push(attempt.class.as_str());
            columns.statuses.push(attempt.status.map(i32::from));
            columns.codes.push(attempt.code.and_then(|code| i32::try_from(code).ok()));
            columns.errors.push(attempt.error);
            columns.request_ids.push(attempt.request_id.clone());
            columns.took_ms.push(i32::try_from(attempt.took.as_millis()).unwrap_or(i32::MAX));
            columns.updated.push(*date_updated);
        }
        columns
    }
}

const fn counts_as(retry: Retry) -> &'static str {
    match retry {
        Retry::Burnt { .. } => "burnt",
        Retry::Ambiguous { .. } => "ambiguous",
        Retry::Young { .. } => "young",
        Retry::Unburnt { .. } => "nothing",
    }
}

impl Outbox {
    /// Settles leases: each attempt is put on record, and each verdict stands if its lease still holds.
    ///
    /// A success is the truth, whoever brings it: it stands also when the lease was lost, even when the feedback was
    /// given up meanwhile. A failure of a lost lease changes nothing. One statement, and bears being repeated.
    ///
    /// # Errors
    /// Where Postgres does not answer. The settlements come back, to be tried again: what Twilio said is not lost.
    pub async fn settle(&self, settlements: &[Settlement]) -> Result<HashMap<MessageSid, Settled>, StoreError> {
        // Of two successes of one message, one is its confirmation, and the other an attempt on record.
        let mut paid = HashSet::new();
        let (confirmed, others): (Vec<&Settlement>, Vec<&Settlement>) = settlements.iter().partition(|settlement| {
            settlement.verdict == Verdict::Confirmed && paid.insert(&settlement.lease.message_sid)
        });
        let mut settled = match self.pay(&confirmed).await {
            Ok(settled) => settled,
            // One of them stands in the history already, which should not be; the long way looks before it writes.
            Err(error) if error.is_about_the_data() => {
                tracing::error!(%error, "Could not settle a batch the short way; settling it the long way");
                HashMap::new()
            }
            Err(error) => return Err(error),
        };
        let left: Vec<&Settlement> =
            confirmed.into_iter().filter(|told| !settled.contains_key(&told.lease.message_sid)).chain(others).collect();
        if !left.is_empty() {
            for (message_sid, how) in self.settle_each(&left).await? {
                settled.entry(message_sid).or_insert(how);
            }
        }
        Ok(settled)
    }

    /// The short way, for what Twilio has taken and we still owe: out of the queue, into the history.
    async fn pay(&self, confirmed: &[&Settlement]) -> Result<HashMap<MessageSid, Settled>, StoreError> {
        if confirmed.is_empty() {
            return Ok(HashMap::new());
        }
        let (columns, now) = (Arc::new(Columns::of(confirmed)), self.clock.now());
        let rows: Vec<(String, bool, f64)> = self
            .sessions
            .run(move |session| {
                let told = columns.clone();
                Box::pin(async move {
                    sqlx::query_as(PAY)
                        .bind(column(&told.sids, MessageSid::as_str))
                        .bind(&told.tokens)
                        .bind(&told.numbers)
                        .bind(&told.statuses)
                        .bind(&told.request_ids)
                        .bind(&told.took_ms)
                        .bind(&told.updated)
                        .bind(now)
                        .fetch_all(session)
                        .await
                })
            })
            .await?;
        let settled = |(sid, held, owed_for): (String, bool, f64)| {
            let owed_for = Duration::try_from_secs_f64(owed_for).ok();
            Ok((parsed(sid)?, if held { Settled::Stands { owed_for } } else { Settled::ConfirmedLate }))
        };
        rows.into_iter().map(settled).collect::<Result<_, sqlx::Error>>().map_err(StoreError::from)
    }

    async fn settle_each(&self, settlements: &[&Settlement]) -> Result<HashMap<MessageSid, Settled>, StoreError> {
        let columns = Arc::new(Columns::of(settlements));
        let now = self.clock.now();
        let rows: Vec<(String, bool, bool, Option<f64>)> = self
            .sessions
            .run(move |session| {
                let told = columns.clone();
                Box::pin(async move {
                    sqlx::query_as(SETTLE)
                        .bind(column(&told.sids, MessageSid::as_str))
                        .bind(&told.tokens)
                        .bind(&told.numbers)
                        .bind(&told.verdicts)
                        .bind(&told.after)
                        .bind(&told.counts_as)
                        .bind(&told.reasons)
                        .bind(&told.classes)
                        .bind(&told.statuses)
                        .bind(&told.codes)
                        .bind(&told.errors)
                        .bind(&told.request_ids)
                        .bind(&told.took_ms)
                        .bind(&told.updated)
                        .bind(now)
                        .fetch_all(session)
                        .await
                })
            })
            .await?;
        rows.into_iter()
            .map(|(message_sid, held, confirmed, owed_for)| {
                let owed_for = owed_for.and_then(|secs| Duration::try_from_secs_f64(secs).ok());
                let settled = match (held, confirmed) {
                    (true, _) => Settled::Stands { owed_for },
                    (false, true) => Settled::ConfirmedLate,
                    (false, false) => Settled::Fenced,
                };
                Ok((parsed(message_sid)?, settled))
            })
            .collect::<Result<_, sqlx::Error>>()
            .map_err(StoreError::from)
    }
}

/// The attempt that succeeded stands in its confirmation: one row and one index less for each message.
const PAY: &str = "-- Outbox::settle, what Twilio has taken
    with paid as (
        delete from feedback
        using unnest($1::text[], $2::uuid[], $3::integer[], $4::integer[], $5::text[], $6::integer[], $7::timestamptz[])
            as told (message_sid, token, number, status, request_id, took_ms, date_updated)
        where feedback.message_sid = any (array[told.message_sid])
        returning told.*, feedback.account_sid, feedback.attempts,
                  extract(epoch from coalesce($8, clock_timestamp()) - feedback.owed_at)::float8 as owed_for,
                  feedback.lease_token is not distinct from told.token as held
    ),
    confirmed as (
        insert into confirmation (message_sid, account_sid, attempts, confirmed_at, date_updated, request_id,
                                  number, status, took_ms)
        select message_sid, account_sid, attempts, coalesce($8, clock_timestamp()), date_updated, request_id,
               number, status, took_ms
        from paid
    )
    select message_sid, held, owed_for from paid";

const SETTLE: &str = "-- Outbox::settle
    with moment as materialized (select coalesce($15, clock_timestamp()) as now),
    told as materialized (
        select *
        from unnest($1::text[], $2::uuid[], $3::integer[], $4::text[], $5::float8[], $6::text[], $7::text[], $8::text[],
                    $9::integer[], $10::integer[], $11::text[], $12::text[], $13::integer[], $14::timestamptz[])
            as told (message_sid, token, number, verdict, after_secs, counts_as, reason, class, status, code, error,
                     request_id, took_ms, date_updated)
    ),
    owed as materialized (
        select feedback.*
        from feedback
        where feedback.message_sid = any($1)
        order by feedback.message_sid
        for update
    ),
    held as materialized (
        select told.*, owed.account_sid, owed.known_at, owed.owed_at
        from told join owed on owed.message_sid = told.message_sid and owed.lease_token = told.token
    ),
    recorded as (
        insert into attempt (message_sid, number, verdict, at, class, status, code, error, request_id, took_ms)
        select message_sid, number, verdict, moment.now - make_interval(secs => took_ms / 1000.0), class, status, code,
               error, request_id, took_ms
        from moment, told
        on conflict do nothing
    ),
    paid as (
        delete from feedback
        using told
        where feedback.message_sid = any (array[told.message_sid]) and told.verdict = 'confirmed'
        returning feedback.message_sid, feedback.account_sid, feedback.attempts
    ),
    risen as (
        delete from dead_letter
        using told
        where dead_letter.message_sid = any (array[told.message_sid]) and told.verdict = 'confirmed'
        returning dead_letter.message_sid, dead_letter.account_sid, dead_letter.attempts
    ),
    confirmed as (
        insert into confirmation (message_sid, account_sid, attempts, confirmed_at, date_updated, request_id)
        select settled.message_sid, settled.account_sid, settled.attempts, moment.now, told.date_updated, told.request_id
        from moment, (select * from paid union all select * from risen) as settled join told using (message_sid)
        on conflict do nothing
        returning message_sid
    ),
    again as (
        update feedback
        set due_at        = moment.now + make_interval(secs => held.after_secs),
            tried         = true,
            failures      = feedback.failures + case when held.counts_as in ('burnt', 'young') then 1 else 0 end,
            ambiguous     = feedback.ambiguous + case when held.counts_as = 'ambiguous' then 1 else 0 end,
            failing_since = case when held.counts_as = 'burnt' then coalesce(feedback.failing_since, moment.now) end,
            lost          = 0,
            lease_token   = null,
            lease_until   = null
        from moment, held
        where feedback.message_sid = any (array[held.message_sid]) and held.verdict = 'retry'
          and held.message_sid not in (select message_sid from told where verdict = 'confirmed')
    ),
    given_up as (
        delete from feedback
        using held
        where feedback.message_sid = any (array[held.message_sid]) and held.verdict = 'dead'
          and held.message_sid not in (select message_sid from told where verdict = 'confirmed')
        returning feedback.*
    ),
    buried as (
        insert into dead_letter (message_sid, account_sid, namespace, reason, attempts, last_status, last_code,
                                 known_at, owed_at, died_at)
        select given_up.message_sid, given_up.account_sid, message.namespace, held.reason, given_up.attempts, held.status,
               held.code, given_up.known_at, given_up.owed_at, moment.now
        from moment, given_up join held using (message_sid)
             join message on message.message_sid = any (array[given_up.message_sid])
    )
    select told.message_sid, held.message_sid is not null, confirmed.message_sid is not null,
           extract(epoch from moment.now - held.owed_at)::float8
    from moment, told
    left join held on held.message_sid = told.message_sid
    left join confirmed on confirmed.message_sid = told.message_sid";
