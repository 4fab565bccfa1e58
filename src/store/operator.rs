//! All that an operator can change: bring dead letters back, pause and resume lanes.

use super::clock::Clock;
use super::letters::{Terms, matched};
use super::row::count;
use super::session::Sessions;
use super::{LaneView, LetterFilter, Replay, StoreError, lanes};
use crate::domain::AccountSid;

/// Dead letters that are brought back in one transaction.
const REPLAY_BATCH: u64 = 500;

/// What operators may do. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    pub(super) sessions: Sessions,
    pub(super) clock: Clock,
    pub(super) accounts: Vec<AccountSid>,
}

impl Operator {
    /// How many a replay of these would match.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn count(&self, filter: &LetterFilter) -> Result<u64, StoreError> {
        matched(&self.sessions, filter).await
    }

    /// Makes dead letters due again, the oldest first, spread so that `rate` of them come due a second: what is live
    /// goes before them. At most `limit`. Events that expired are resolved if their message is known now, and parked
    /// anew if not.
    ///
    /// Each batch is a transaction of its own; who is cut off calls again, and goes on where it ended.
    ///
    /// # Errors
    /// Where Postgres does not answer; the batches before that stand.
    pub async fn replay(&self, filter: &LetterFilter, rate: u32, limit: u64) -> Result<Replay, StoreError> {
        let matched = self.count(filter).await?;
        Ok(Replay { matched, replayed: self.replay_from(filter, rate, 0, limit).await? })
    }

    /// The same, for who has brought back `before` already and wants them to come due after those. Gives how many.
    ///
    /// # Errors
    /// Where Postgres does not answer; the batches before that stand.
    pub async fn replay_from(
        &self,
        filter: &LetterFilter,
        rate: u32,
        before: u64,
        limit: u64,
    ) -> Result<u64, StoreError> {
        let mut replayed = 0;
        while replayed < limit {
            let batch = REPLAY_BATCH.min(limit - replayed);
            let letters = self.replay_feedback(filter, rate, before + replayed, batch).await?;
            let events = self.replay_expired(filter, batch - letters).await?;
            if letters + events == 0 {
                break;
            }
            replayed += letters + events;
        }
        Ok(replayed)
    }

    async fn replay_feedback(
        &self,
        filter: &LetterFilter,
        rate: u32,
        before: u64,
        batch: u64,
    ) -> Result<u64, StoreError> {
        let (terms, now) = (Terms::from(filter), self.clock.now());
        let number = self
            .sessions
            .run(move |session| {
                let terms = terms.clone();
                Box::pin(async move {
                    sqlx::query(
                        "-- Operator::replay, feedback
                        with moment as materialized (select coalesce($9, clock_timestamp()) as now),
                        chosen as materialized (
                            select message_sid
                            from dead_letter
                            where ($1::text is null or namespace = $1) and ($2::text is null or reason = $2)
                              and ($3::text is null or account_sid = $3) and ($4::text is null or message_sid = $4)
                              and $5::text is null
                            order by died_at, message_sid
                            limit $6
                            for update skip locked
                        ),
                        risen as (
                            delete from dead_letter using chosen where dead_letter.message_sid = chosen.message_sid
                            returning dead_letter.*
                        )
                        insert into feedback (message_sid, account_sid, known_at, owed_at, due_at, tried, attempts)
                        select message_sid, account_sid, known_at, owed_at,
                               moment.now + make_interval(secs => ($7 + row_number() over (order by died_at, message_sid)) / $8::float8),
                               true, attempts
                        from moment, risen",
                    )
                    .bind(terms.namespace)
                    .bind(terms.reason)
                    .bind(terms.account_sid)
                    .bind(terms.message_sid)
                    .bind(terms.event_id)
                    .bind(i64::try_from(batch).unwrap_or(i64::MAX))
                    .bind(i64::try_from(before).unwrap_or(i64::MAX) - 1)
                    .bind(i64::from(rate.max(1)))
                    .bind(now)
                    .execute(session)
                    .await
                    .map(|done| done.rows_affected())
                })
            })
            .await?;
        Ok(number)
    }

    /// Parks expired events anew, and resolves those whose message has become known, as a registration would.
    async fn replay_expired(&self, filter: &LetterFilter, batch: u64) -> Result<u64, StoreError> {
        let (terms, now) = (Terms::from(filter), self.clock.now());
        let number: i64 = self
            .sessions
            .transaction(move |session| {
                let terms = terms.clone();
                Box::pin(async move {
                    // The same row that event and mapping queue for: no message can be registered in between.
                    let chosen: Vec<(String, String, String)> = sqlx::query_as(
                        "-- Operator::replay, the expired
                        with chosen as materialized (
                            select namespace, event_id, action_id
                            from expired
                            where ($1::text is null or namespace = $1) and ($2::text is null or $2 = 'expired')
                              and $3::text is null and $4::text is null and ($5::text is null or event_id = $5)
                            order by expired_at, event_id
                            limit $6
                            for update skip locked
                        ),
                        locked as (
                            insert into action (namespace, action_id, first_seen_at)
                            select distinct namespace, action_id, coalesce($7, clock_timestamp()) from chosen
                            order by namespace, action_id
                            on conflict (namespace, action_id) do update set first_seen_at = action.first_seen_at where false
                        )
                        select namespace, event_id, action_id from chosen",
                    )
                    .bind(terms.namespace)
                    .bind(terms.reason)
                    .bind(terms.account_sid)
                    .bind(terms.message_sid)
                    .bind(terms.event_id)
                    .bind(i64::try_from(batch).unwrap_or(i64::MAX))
                    .bind(now)
                    .fetch_all(&mut *session)
                    .await?;
                    let keys: (Vec<String>, Vec<String>) =
                        chosen.into_iter().map(|(namespace, event_id, _)| (namespace, event_id)).unzip();
                    sqlx::query_scalar(REVIVE).bind(keys.0).bind(keys.1).bind(now).fetch_one(session).await
                })
            })
            .await?;
        Ok(count(number))
    }

    /// Stops a lane until somebody resumes it. Its work waits, and no attempt is counted.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn pause(&self, account_sid: &AccountSid, reason: &str) -> Result<LaneView, StoreError> {
        let (account, reason, now) = (account_sid.as_str().to_owned(), reason.to_owned(), self.clock.now());
        self.sessions
            .run(move |session| {
                let (account, reason) = (account.clone(), reason.clone());
                Box::pin(async move {
                    sqlx::query(
                        "-- Operator::pause
                        insert into account_lane (account_sid, paused_reason, paused_by, paused_at)
                        values ($1, $2, 'operator', coalesce($3, clock_timestamp()))
                        on conflict (account_sid) do update
                        set paused_reason = excluded.paused_reason, paused_by = excluded.paused_by,
                            paused_at = coalesce(account_lane.paused_at, excluded.paused_at), probe_at = null",
                    )
                    .bind(account)
                    .bind(reason)
                    .bind(now)
                    .execute(session)
                    .await
                    .map(drop)
                })
            })
            .await?;
        self.lane(account_sid).await
    }

    /// Lets a lane send again, whoever paused it.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn resume(&self, account_sid: &AccountSid) -> Result<LaneView, StoreError> {
        lanes::resume(&self.sessions, account_sid, None).await?;
        self.lane(account_sid).await
    }

    async fn lane(&self, account_sid: &AccountSid) -> Result<LaneView, StoreError> {
        let mut also = self.accounts.clone();
        also.push(account_sid.clone());
        let lanes = lanes::lanes(&self.sessions, &self.clock, &also).await?;
        lanes
            .into_iter()
            .find(|lane| lane.account_sid == *account_sid)
            .ok_or(StoreError::Postgres(sqlx::Error::RowNotFound))
    }
}

const REVIVE: &str = "-- Operator::replay, revive
    with moment as materialized (select coalesce($3, clock_timestamp()) as now),
    chosen as (select * from unnest($1::text[], $2::text[]) as chosen (namespace, event_id)),
    risen as (
        delete from expired using chosen
        where expired.namespace = chosen.namespace and expired.event_id = chosen.event_id
        returning expired.namespace, expired.event_id
    ),
    revived as (
        select event.*, array(select r.message_sid from resolve(event.namespace, event.action_id, event.resolve, event.occurred_at) r) as sids
        from risen join event using (namespace, event_id)
    ),
    parked_anew as (
        insert into parked (namespace, event_id, action_id, resolve, occurred_at, parked_at)
        select namespace, event_id, action_id, resolve, occurred_at, moment.now from moment, revived where cardinality(sids) = 0
    ),
    resolved as (
        insert into resolution (namespace, event_id, message_sid, resolved_at)
        select namespace, event_id, unnest(sids), moment.now from moment, revived
        on conflict do nothing
        returning message_sid
    ),
    again as (
        update message set last_event_at = moment.now
        from moment where message_sid in (select message_sid from resolved) and owed_at is not null
    ),
    owed as (
        update message set owed_at = moment.now, last_event_at = moment.now
        from moment where message_sid in (select message_sid from resolved) and owed_at is null
        returning message_sid, account_sid, least(coalesce(sent_at, registered_at), registered_at) as known_at
    ),
    due as (
        insert into feedback (message_sid, account_sid, known_at, owed_at, due_at)
        select message_sid, account_sid, known_at, moment.now, moment.now from moment, owed
    )
    select count(*) from risen";
