//! What replicas agree on about lanes: pauses and probes; and what each of them says of its side.

use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::clock::Clock;
use super::outbox::Outbox;
use super::row::{count, parsed, small};
use super::session::Sessions;
use super::{LaneReport, LaneView, PauseView, StoreError};
use crate::domain::AccountSid;
use chrono::{DateTime, Utc};

/// A lane as the replicas agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneState {
    Running,
    /// Stopped by an operator: nothing is sent until an operator resumes it.
    PausedByOperator,
    /// Stopped by a fault of the account: one request a while tries whether the fault has gone.
    PausedByFault,
}

impl Outbox {
    /// How the lane stands, for all replicas.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn lane(&self, account_sid: &AccountSid) -> Result<LaneState, StoreError> {
        let account = account_sid.as_str().to_owned();
        let paused_by: Option<Option<String>> = self
            .sessions
            .run(move |session| {
                let account = account.clone();
                Box::pin(async move {
                    sqlx::query_scalar("-- Outbox::lane\nselect paused_by from account_lane where account_sid = $1")
                        .bind(account)
                        .fetch_optional(session)
                        .await
                })
            })
            .await?;
        Ok(match paused_by.flatten().as_deref() {
            None => LaneState::Running,
            Some("account_fault") => LaneState::PausedByFault,
            // A word that this binary does not know stops it as an operator would.
            Some(_) => LaneState::PausedByOperator,
        })
    }

    /// Pauses a lane for a fault of its account, until a probe finds the fault gone. Anybody else's pause stands: an
    /// operator's, and one whose word a newer binary wrote.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn pause_for_fault(
        &self,
        account_sid: &AccountSid,
        reason: &str,
        probe_after: Duration,
    ) -> Result<(), StoreError> {
        let (account, reason, now) = (account_sid.as_str().to_owned(), reason.to_owned(), self.clock.now());
        self.sessions
            .run(move |session| {
                let (account, reason) = (account.clone(), reason.clone());
                Box::pin(async move {
                    sqlx::query(
                        "-- Outbox::pause_for_fault
                        with moment as materialized (select coalesce($4, clock_timestamp()) as now)
                        insert into account_lane (account_sid, paused_reason, paused_by, paused_at, probe_at)
                        select $1, $2, 'account_fault', moment.now, moment.now + make_interval(secs => $3) from moment
                        on conflict (account_sid) do update
                        set paused_reason = excluded.paused_reason,
                            paused_by     = excluded.paused_by,
                            paused_at     = coalesce(account_lane.paused_at, excluded.paused_at),
                            probe_at      = excluded.probe_at
                        where coalesce(account_lane.paused_by, 'account_fault') = 'account_fault'",
                    )
                    .bind(account)
                    .bind(reason)
                    .bind(probe_after.as_secs_f64())
                    .bind(now)
                    .execute(session)
                    .await
                    .map(drop)
                })
            })
            .await
    }

    /// Takes the right to send the one probe that is due, for whichever replica asks first.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn take_probe(&self, account_sid: &AccountSid, next_after: Duration) -> Result<bool, StoreError> {
        let (account, now) = (account_sid.as_str().to_owned(), self.clock.now());
        self.sessions
            .run(move |session| {
                let account = account.clone();
                Box::pin(async move {
                    sqlx::query(
                        "-- Outbox::take_probe
                        update account_lane
                        set probe_at = coalesce($3, clock_timestamp()) + make_interval(secs => $2)
                        where account_sid = $1 and paused_by = 'account_fault' and probe_at <= coalesce($3, clock_timestamp())",
                    )
                    .bind(account)
                    .bind(next_after.as_secs_f64())
                    .bind(now)
                    .execute(session)
                    .await
                    .map(|taken| taken.rows_affected() == 1)
                })
            })
            .await
    }

    /// Makes the probe of a lane that is paused for a fault of its account due now, and what it would be sent with.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn probe_soon(&self, account_sid: &AccountSid) -> Result<(), StoreError> {
        let (account, now) = (account_sid.as_str().to_owned(), self.clock.now());
        self.sessions
            .run(move |session| {
                let account = account.clone();
                Box::pin(async move {
                    sqlx::query(
                        "-- Outbox::probe_soon
                        with moment as materialized (select coalesce($2, clock_timestamp()) as now),
                        paused as (
                            update account_lane set probe_at = moment.now
                            from moment
                            where account_sid = $1 and paused_by = 'account_fault'
                            returning account_sid
                        ),
                        -- What was refused is put off; without anything that is due the probe would come to nothing.
                        first as materialized (
                            select message_sid from feedback
                            where account_sid = (select account_sid from paused) and lease_token is null
                            order by due_at
                            limit 1
                            for update skip locked
                        )
                        update feedback set due_at = least(due_at, moment.now) from moment, first
                        where feedback.message_sid = first.message_sid",
                    )
                    .bind(account)
                    .bind(now)
                    .execute(session)
                    .await
                    .map(drop)
                })
            })
            .await
    }

    /// Ends a pause for a fault of the account. An operator's pause stands.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn resume_after_fault(&self, account_sid: &AccountSid) -> Result<(), StoreError> {
        let account = account_sid.clone();
        self.sessions
            .run(move |session| {
                let account = account.clone();
                Box::pin(async move { resume(session, &account, Some("account_fault")).await.map(drop) })
            })
            .await
    }

    /// Says how this replica's side of a lane stands, for `GET /v1/lanes`.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn report(&self, account_sid: &AccountSid, report: &LaneReport) -> Result<(), StoreError> {
        let (account, report, now) = (account_sid.as_str().to_owned(), report.clone(), self.clock.now());
        self.sessions
            .run(move |session| {
                let (account, report) = (account.clone(), report.clone());
                Box::pin(async move {
                    sqlx::query(
                        "-- Outbox::report
                        insert into lane_report (account_sid, replica, in_flight, lane_limit, breaker, shadow, reported_at)
                        values ($1, $2, $3, $4, $5, $7, coalesce($6, clock_timestamp()))
                        on conflict (account_sid, replica) do update
                        set in_flight = excluded.in_flight, lane_limit = excluded.lane_limit,
                            breaker = excluded.breaker, shadow = excluded.shadow, reported_at = excluded.reported_at",
                    )
                    .bind(account)
                    .bind(report.replica)
                    .bind(i32::try_from(report.in_flight).unwrap_or(i32::MAX))
                    .bind(i32::try_from(report.limit).unwrap_or(i32::MAX))
                    .bind(report.breaker)
                    .bind(now)
                    .bind(report.shadow)
                    .execute(session)
                    .await
                    .map(drop)
                })
            })
            .await
    }
}

/// Ends a pause; with `only`, just one that this hand made. Gives how many were ended: one or none.
pub(super) async fn resume(
    session: &mut PgConnection,
    account_sid: &AccountSid,
    only: Option<&'static str>,
) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "-- Operator::resume
        update account_lane
        set paused_reason = null, paused_by = null, paused_at = null, probe_at = null
        where account_sid = $1 and paused_at is not null and ($2::text is null or paused_by = $2)",
    )
    .bind(account_sid.as_str())
    .bind(only)
    .execute(session)
    .await
    .map(|done| done.rows_affected())
}

/// Every lane that has work, a pause or a report; `also` are shown even without.
pub(super) async fn lanes(
    sessions: &Sessions,
    clock: &Clock,
    also: &[AccountSid],
) -> Result<Vec<LaneView>, StoreError> {
    let also: Vec<String> = also.iter().map(|account| account.as_str().to_owned()).collect();
    let now = clock.now();
    type Lane = (
        String,
        Option<String>,
        Option<String>,
        Option<DateTime<Utc>>,
        Option<DateTime<Utc>>,
        i64,
        i64,
        Option<DateTime<Utc>>,
        i64,
        i64,
    );
    type Report = (String, String, i32, i32, String, DateTime<Utc>, bool);
    let (rows, reports): (Vec<Lane>, Vec<Report>) = sessions
        .run(move |session| {
            let also = also.clone();
            Box::pin(async move {
                let lanes = sqlx::query_as(
                    "-- Ledger::lanes
                    with backlog as (
                        select account_sid, count(*) as pending,
                               count(*) filter (where lease_until > coalesce($2, clock_timestamp())) as leased,
                               min(due_at) as oldest_due_at
                        from feedback group by account_sid
                    ),
                    dead as (
                        select account_sid, count(*) filter (where reason <> 'shadowed') as dead,
                               count(*) filter (where reason = 'shadowed') as shadowed
                        from dead_letter group by account_sid
                    ),
                    known as (
                        select account_sid from backlog union select account_sid from dead
                        union select account_sid from account_lane union select unnest($1::text[])
                    )
                    select known.account_sid, paused_reason, paused_by, paused_at, probe_at, coalesce(pending, 0),
                           coalesce(leased, 0), oldest_due_at, coalesce(dead, 0), coalesce(shadowed, 0)
                    from known left join backlog using (account_sid) left join dead using (account_sid)
                         left join account_lane using (account_sid)
                    order by known.account_sid",
                )
                .bind(also)
                .bind(now)
                .fetch_all(&mut *session)
                .await?;
                let reports = sqlx::query_as(
                    "-- Ledger::lanes, the replicas
                    select account_sid, replica, in_flight, lane_limit, breaker, reported_at, shadow
                    from lane_report
                    where reported_at > coalesce($1, clock_timestamp()) - interval '1 hour'
                    order by account_sid, replica",
                )
                .bind(now)
                .fetch_all(session)
                .await?;
                Ok((lanes, reports))
            })
        })
        .await?;
    rows.into_iter()
        .map(|(account, reason, by, since, probe_at, pending, leased, oldest_due_at, dead, shadowed)| {
            let paused = reason.zip(since).map(|(reason, since)| PauseView {
                reason: if by.as_deref() == Some("operator") { format!("operator: {reason}") } else { reason },
                since,
                probe_at,
            });
            let replicas = reports.iter().filter(|report| report.0 == account).map(|report| LaneReport {
                replica: report.1.clone(),
                in_flight: small(report.2),
                limit: small(report.3),
                breaker: report.4.clone(),
                shadow: report.6,
                reported_at: report.5,
            });
            Ok(LaneView {
                paused,
                pending: count(pending),
                leased: count(leased),
                oldest_due_at,
                dead: count(dead),
                shadowed: count(shadowed),
                replicas: replicas.collect(),
                account_sid: parsed(account)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(StoreError::from)
}
