//! All that delivery can do to the store: claim feedback that is due, and settle it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use tokio::time::Instant;
use uuid::Uuid;

use super::clock::Clock;
use super::row::{column, parsed, small};
use super::session::Sessions;
use super::{Lease, Past, StoreError, Ticket};
use crate::domain::AccountSid;

/// Bounds of claiming.
#[derive(Clone, Debug)]
pub struct OutboxOptions {
    pub lease: Duration,
    /// A feedback whose lease was lost this often in a row is poison.
    pub max_lost_leases: u32,
}

/// How much may be claimed, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// No more than can start at once.
    pub limit: u32,
    /// Of these, kept for retries even when there is fresh work enough.
    pub for_retries: u32,
}

impl Wanted {
    /// Fresh work goes first, and a quarter is kept for retries, so that neither waits for ever on the other.
    pub fn up_to(limit: u32) -> Self {
        Self { limit, for_retries: limit.div_ceil(4).min(limit.saturating_sub(1)) }
    }
}

/// What a claim found.
#[derive(Debug, Default)]
pub struct Claimed {
    pub leases: Vec<Lease>,
    /// Feedback that was given up as poison instead.
    pub poisoned: u64,
    /// Up to which due time fresh work was claimed: where the next claim of a backlog may go on.
    pub reached: Option<DateTime<Utc>>,
}

/// The way out. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    pub(super) sessions: Sessions,
    pub(super) clock: Clock,
    pub(super) options: OutboxOptions,
}

impl Outbox {
    /// Leases feedback of one lane that is due: never what another worker holds, nothing while the lane is paused.
    ///
    /// One statement and its commit; no row stays locked while Twilio is asked. A lease whose end is further away than
    /// any lease can be was given by a clock that has jumped back since, and counts as ended.
    ///
    /// # Errors
    /// Where Postgres does not answer; nothing is leased then, or only until the leases expire.
    pub async fn claim(&self, account_sid: &AccountSid, wanted: Wanted) -> Result<Claimed, StoreError> {
        self.claim_for(account_sid, wanted, false).await
    }

    /// Leases one feedback of a lane that is paused, to try whether the fault has gone.
    ///
    /// # Errors
    /// As [`Outbox::claim`].
    pub async fn claim_probe(&self, account_sid: &AccountSid) -> Result<Claimed, StoreError> {
        self.claim_for(account_sid, Wanted { limit: 1, for_retries: 0 }, true).await
    }

    /// Leases more of a backlog: what was never leased, from where the last claim ended. What lost its worker, and what
    /// was committed behind that place, is for the next [`Outbox::claim`].
    ///
    /// The rows that a backlog leaves behind stay in the index until they are vacuumed, and a claim from its start reads
    /// all of them again: behind a snapshot that is held open, each would take longer than the one before.
    ///
    /// # Errors
    /// As [`Outbox::claim`].
    pub async fn claim_onward(
        &self,
        account_sid: &AccountSid,
        wanted: Wanted,
        from: Option<DateTime<Utc>>,
    ) -> Result<Claimed, StoreError> {
        let asked = Instant::now();
        let lease = self.options.lease;
        let account = account_sid.as_str().to_owned();
        let (limit, for_retries) = (i64::from(wanted.limit), i64::from(wanted.for_retries));
        let now = self.clock.now();
        let rows: Vec<Row> = self
            .sessions
            .run(move |session| {
                let account = account.clone();
                Box::pin(async move {
                    sqlx::query_as(CLAIM_ONWARD)
                        .bind(account)
                        .bind(limit)
                        .bind(for_retries)
                        .bind(lease.as_secs_f64())
                        .bind(from)
                        .bind(now)
                        .fetch_all(session)
                        .await
                })
            })
            .await?;
        claimed(account_sid, rows, asked + lease)
    }

    async fn claim_for(&self, account_sid: &AccountSid, wanted: Wanted, probe: bool) -> Result<Claimed, StoreError> {
        let asked = Instant::now();
        let lease = self.options.lease;
        let account = account_sid.as_str().to_owned();
        let max_lost = i32::try_from(self.options.max_lost_leases).unwrap_or(i32::MAX);
        let (limit, for_retries) = (i64::from(wanted.limit), i64::from(wanted.for_retries));
        let now = self.clock.now();
        let rows: Vec<Row> = self
            .sessions
            .run(move |session| {
                let account = account.clone();
                Box::pin(async move {
                    sqlx::query_as(CLAIM)
                        .bind(account)
                        .bind(limit)
                        .bind(for_retries)
                        .bind(lease.as_secs_f64())
                        .bind(max_lost)
                        .bind(probe)
                        .bind(now)
                        .fetch_all(session)
                        .await
                })
            })
            .await?;
        claimed(account_sid, rows, asked + lease)
    }

    /// Gives leases back whose requests were not sent: due at once, and not counted.
    ///
    /// # Errors
    /// Where Postgres does not answer; the leases expire then by themselves, and count as lost.
    pub async fn give_back(&self, leases: Vec<Lease>) -> Result<(), StoreError> {
        let sids = column(&leases, |lease: &Lease| lease.message_sid.as_str().to_owned());
        let tokens = column(&leases, |lease: &Lease| lease.token);
        self.sessions
            .run(move |session| {
                let (sids, tokens) = (sids.clone(), tokens.clone());
                Box::pin(async move {
                    sqlx::query(
                        "-- Outbox::give_back
                        with given as materialized (
                            select feedback.message_sid
                            from unnest($1::text[], $2::uuid[]) as given (message_sid, token)
                            join feedback on feedback.message_sid = any (array[given.message_sid])
                                         and feedback.lease_token = given.token
                            order by feedback.message_sid
                            for update of feedback
                        )
                        update feedback
                        set attempts = attempts - 1, lease_token = null, lease_until = null
                        from given
                        where feedback.message_sid = any (array[given.message_sid])",
                    )
                    .bind(sids)
                    .bind(tokens)
                    .execute(session)
                    .await
                    .map(drop)
                })
            })
            .await
    }

    /// Ends leases whose requests were sent and not answered in time: counted and on record, due at once.
    ///
    /// # Errors
    /// Where Postgres does not answer; the leases expire then by themselves, and count as lost.
    pub async fn interrupt(&self, leases: Vec<Ticket>) -> Result<(), StoreError> {
        let sids = column(&leases, |lease: &Ticket| lease.message_sid.as_str().to_owned());
        let tokens = column(&leases, |lease: &Ticket| lease.token);
        let now = self.clock.now();
        self.sessions
            .run(move |session| {
                let (sids, tokens) = (sids.clone(), tokens.clone());
                Box::pin(async move {
                    sqlx::query(
                        "-- Outbox::interrupt
                        with moment as materialized (select coalesce($3, clock_timestamp()) as now),
                        held as materialized (
                            select feedback.message_sid, feedback.attempts
                            from unnest($1::text[], $2::uuid[]) as held (message_sid, token)
                            join feedback on feedback.message_sid = any (array[held.message_sid])
                                         and feedback.lease_token = held.token
                            order by feedback.message_sid
                            for update of feedback
                        ),
                        recorded as (
                            insert into attempt (message_sid, number, verdict, at)
                            select message_sid, attempts, 'interrupted', moment.now from moment, held
                            on conflict do nothing
                        )
                        update feedback
                        set lease_token = null, lease_until = null
                        from held
                        where feedback.message_sid = any (array[held.message_sid])",
                    )
                    .bind(sids)
                    .bind(tokens)
                    .bind(now)
                    .execute(session)
                    .await
                    .map(drop)
                })
            })
            .await
    }
}

/// A claimed feedback; without a token it was given up instead.
#[derive(FromRow)]
struct Row {
    message_sid: String,
    lease_token: Option<Uuid>,
    attempts: i32,
    age: f64,
    failing_for: Option<f64>,
    failures: i32,
    ambiguous: i32,
    traceparent: Option<String>,
    fresh_due_at: Option<DateTime<Utc>>,
}

fn claimed(account_sid: &AccountSid, rows: Vec<Row>, expires: Instant) -> Result<Claimed, StoreError> {
    let mut claimed = Claimed::default();
    let secs = |secs| Duration::try_from_secs_f64(secs).unwrap_or_default();
    for row in rows {
        let Some(token) = row.lease_token else {
            claimed.poisoned += 1;
            continue;
        };
        claimed.reached = claimed.reached.max(row.fresh_due_at);
        claimed.leases.push(Lease {
            message_sid: parsed(row.message_sid)?,
            account_sid: account_sid.clone(),
            attempt: small(row.attempts),
            past: Past {
                age: secs(row.age),
                failing_for: row.failing_for.map(secs),
                failures: small(row.failures),
                ambiguous: small(row.ambiguous),
            },
            trace: row.traceparent.map(parsed).transpose()?,
            expires,
            token,
        });
    }
    Ok(claimed)
}

const CLAIM_ONWARD: &str = "-- Outbox::claim, onward
    with moment as materialized (
        select coalesce($6, clock_timestamp()) as now, gen_random_uuid() as token
    ),
    lane as materialized (
        select not exists (select from account_lane where account_sid = $1 and paused_at is not null) as allowed
    ),
    fresh as materialized (
        select message_sid, due_at
        from feedback
        where account_sid = $1 and not tried and lease_token is null and (select allowed from lane)
          and due_at between coalesce($5, '-infinity') and (select now from moment)
        order by due_at
        limit $2
        for update skip locked
    ),
    retries as materialized (
        select message_sid
        from feedback
        where account_sid = $1 and tried and lease_token is null and (select allowed from lane)
          and due_at <= (select now from moment)
        order by due_at
        limit greatest($3, $2 - (select count(*) from fresh))
        for update skip locked
    ),
    due as materialized (
        select message_sid from retries
        union all
        (select message_sid from fresh order by due_at limit $2 - (select count(*) from retries))
    )
    update feedback
    set attempts    = attempts + 1,
        lease_token = moment.token,
        lease_until = moment.now + make_interval(secs => $4)
    from moment, due
    where feedback.message_sid = any (array[due.message_sid])
    returning feedback.message_sid, lease_token, attempts, extract(epoch from moment.now - known_at)::float8 as age,
              extract(epoch from moment.now - failing_since)::float8 as failing_for, failures, ambiguous, traceparent,
              case when not tried then due_at end as fresh_due_at";

const CLAIM: &str = "-- Outbox::claim
    with moment as materialized (
        select coalesce($7, clock_timestamp()) as now, gen_random_uuid() as token
    ),
    lane as materialized (
        select $6 or not exists (select from account_lane where account_sid = $1 and paused_at is not null) as allowed
    ),
    fresh as materialized (
        select *
        from feedback
        where account_sid = $1 and not tried and due_at <= (select now from moment) and (select allowed from lane)
          and (lease_until is null or lease_until <= (select now from moment)
               or lease_until > (select now from moment) + 2 * make_interval(secs => $4))
        order by due_at
        limit $2
        for update skip locked
    ),
    retries as materialized (
        select *
        from feedback
        where account_sid = $1 and tried and due_at <= (select now from moment) and (select allowed from lane)
          and (lease_until is null or lease_until <= (select now from moment)
               or lease_until > (select now from moment) + 2 * make_interval(secs => $4))
        order by due_at
        limit greatest($3, $2 - (select count(*) from fresh))
        for update skip locked
    ),
    due as materialized (
        select * from retries
        union all
        (select * from fresh order by due_at limit $2 - (select count(*) from retries))
    ),
    -- A lease that ended by itself was lost, and its request may have been sent.
    interrupted as (
        insert into attempt (message_sid, number, verdict, at)
        select message_sid, attempts, 'interrupted', least(lease_until, moment.now)
        from moment, due
        where lease_token is not null
        on conflict do nothing
    ),
    poison as (
        delete from feedback
        using due
        where feedback.message_sid = any (array[due.message_sid]) and due.lease_token is not null and due.lost + 1 >= $5
        returning feedback.*
    ),
    buried as (
        insert into dead_letter (message_sid, account_sid, namespace, reason, attempts, known_at, owed_at, died_at)
        select poison.message_sid, poison.account_sid, message.namespace, 'poison', poison.attempts,
               poison.known_at, poison.owed_at, moment.now
        from moment, poison join message on message.message_sid = any (array[poison.message_sid])
    ),
    claimed as (
        update feedback
        set attempts    = feedback.attempts + 1,
            lost        = due.lost + case when due.lease_token is null then 0 else 1 end,
            lease_token = moment.token,
            lease_until = moment.now + make_interval(secs => $4)
        from moment, due
        where feedback.message_sid = any (array[due.message_sid]) and (due.lease_token is null or due.lost + 1 < $5)
        returning feedback.*
    )
    select message_sid, lease_token, attempts, extract(epoch from moment.now - known_at)::float8 as age,
           extract(epoch from moment.now - failing_since)::float8 as failing_for, failures, ambiguous, traceparent,
           case when not tried then due_at end as fresh_due_at
    from moment, claimed
    union all
    select message_sid, null, attempts, 0, null, failures, ambiguous, null, null from poison";
