//! What must be done now and then: expire what waited too long, forget what is old, measure what is there.
//!
//! Each step is bounded and safe to run twice, on any replica, at any time.

use std::time::Duration;

use super::StoreError;
use super::clock::Clock;
use super::row::{column, count, parsed};
use super::session::Sessions;
use crate::domain::AccountSid;

/// How long things are kept.
#[derive(Clone, Debug)]
pub struct UpkeepOptions {
    /// A parked event expires after this.
    pub park_limit: Duration,
    /// Confirmed feedback, events and attempts are forgotten after this.
    pub history: Duration,
    /// Dead letters and expired events are forgotten after this.
    pub dead_letters: Duration,
    /// Most rows that one step touches.
    pub batch: u32,
}

/// What stands in the store at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    pub lanes: Vec<Backlog>,
    pub parked: u64,
    pub oldest_parked: Option<Duration>,
    /// Dead letters by reason, expired events among them.
    pub dead: Vec<(String, u64)>,
    /// Replicas that have told lately how their lanes stand.
    pub replicas: u64,
}

/// The oldest transaction that keeps Postgres from tidying up, whosever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldestSnapshot {
    pub age: Duration,
    /// Transactions that began since; here replication slots and standbys count, too.
    pub transactions: u64,
}

/// A replica that has not told for longer is away. They tell every few seconds.
const REPORTS_WITHIN: Duration = Duration::from_secs(30);

/// What a replica said of its lanes is forgotten when it has been silent for so long. A platform that names each replica
/// anew would otherwise leave a row for each that ever was.
pub const REPORTS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What one lane owes.
#[derive(Clone, Debug, PartialEq)]
pub struct Backlog {
    pub account_sid: AccountSid,
    pub pending: u64,
    /// How long ago its oldest due feedback came due; none if nothing is due.
    pub oldest_due: Option<Duration>,
}

/// The housekeeper. Cheap to clone.
#[derive(Clone)]
pub struct Upkeep {
    pub(super) sessions: Sessions,
    pub(super) clock: Clock,
    pub(super) options: UpkeepOptions,
}

impl Upkeep {
    /// Ends the wait of parked events whose message did not come within the park limit. Gives how many.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn expire_parked(&self) -> Result<u64, StoreError> {
        self.step(
            "-- Upkeep::expire_parked
            with moment as materialized (select coalesce($1, clock_timestamp()) as now),
            late as materialized (
                select namespace, event_id
                from parked
                where parked_at <= (select now from moment) - make_interval(secs => $2)
                order by parked_at
                limit $3
                for update skip locked
            ),
            ended as (
                delete from parked using late
                where parked.namespace = late.namespace and parked.event_id = late.event_id
                returning parked.namespace, parked.event_id, parked.action_id, parked.parked_at
            )
            insert into expired (namespace, event_id, action_id, parked_at, expired_at)
            select namespace, event_id, action_id, parked_at, moment.now from moment, ended",
            self.options.park_limit,
        )
        .await
    }

    /// Brings back feedback that was put off further than any backoff goes, by a clock that has jumped back since.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn pull_in(&self, longest_backoff: Duration) -> Result<u64, StoreError> {
        self.step(
            "-- Upkeep::pull_in
            with recursive moment as materialized (select coalesce($1, clock_timestamp()) as now),
            -- Lane by lane, through the index of what is due: however much is owed, what is put off is at its end.
            lane (account_sid) as (
                (select account_sid from feedback order by account_sid limit 1)
                union all
                select (select f.account_sid from feedback f
                        where f.account_sid > lane.account_sid order by f.account_sid limit 1)
                from lane where lane.account_sid is not null
            ),
            far as materialized (
                select put_off.message_sid
                from lane cross join (values (false), (true)) as which (tried) cross join lateral (
                    select message_sid from feedback
                    where feedback.account_sid = lane.account_sid and feedback.tried = which.tried
                      and due_at > (select now from moment) + make_interval(secs => $2)
                      -- What an operator replays is spread over as long as it takes: it was tried, and not put off by that.
                      and (not tried or lost + failures + ambiguous > 0
                           or exists (select from attempt a
                                      where (a.message_sid, a.number, a.verdict)
                                            = (feedback.message_sid, feedback.attempts, 'retry')))
                    limit $3 for update skip locked
                ) as put_off
            )
            update feedback set due_at = moment.now from moment, far where feedback.message_sid = far.message_sid",
            longest_backoff,
        )
        .await
    }

    /// Forgets events that are older than the history, unless something is still owed, dead or parked for them.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn forget_events(&self) -> Result<u64, StoreError> {
        self.forget(FORGET_EVENTS).await
    }

    /// Forgets messages, with their feedback and attempts, that no event has named for as long as the history is kept.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn forget_messages(&self) -> Result<u64, StoreError> {
        self.forget(FORGET_MESSAGES).await
    }

    /// Forgets actions that nothing refers to any more. The row is only what others queue for, and is made anew at need.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn forget_actions(&self) -> Result<u64, StoreError> {
        self.step(
            "-- Upkeep::forget_actions
            with moment as materialized (select coalesce($1, clock_timestamp()) as now),
            old as materialized (
                select namespace, action_id
                from action
                where first_seen_at <= (select now from moment) - make_interval(secs => $2)
                  and not exists (select from message m
                                  where (m.namespace, m.action_id) = (action.namespace, action.action_id) offset 0)
                  -- Those that stand at their messages are gone before these are, which were asked for above.
                  and not exists (select from event e where (e.namespace, e.action_id) = (action.namespace, action.action_id)
                                  and not e.at_message offset 0)
                order by first_seen_at
                limit $3
                for update skip locked
            )
            delete from action using old where action.namespace = old.namespace and action.action_id = old.action_id",
            self.options.history,
        )
        .await
    }

    /// Forgets what operators did as long ago as the dead letters that are forgotten.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn forget_operations(&self) -> Result<u64, StoreError> {
        self.step(
            "-- Upkeep::forget_operations
            with old as materialized (
                select operation_id
                from operation
                where done_at <= coalesce($1, clock_timestamp()) - make_interval(secs => $2)
                order by done_at
                limit $3
                for update skip locked
            )
            delete from operation using old where operation.operation_id = old.operation_id",
            self.options.dead_letters,
        )
        .await
    }

    /// Forgets what replicas said of their lanes that have been silent for [`REPORTS_KEPT`].
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn forget_replicas(&self) -> Result<u64, StoreError> {
        self.step(
            "-- Upkeep::forget_replicas
            with old as materialized (
                select account_sid, replica
                from lane_report
                where reported_at <= coalesce($1, clock_timestamp()) - make_interval(secs => $2)
                order by account_sid, replica
                limit $3
                for update skip locked
            )
            delete from lane_report using old
            where lane_report.account_sid = old.account_sid and lane_report.replica = old.replica",
            REPORTS_KEPT,
        )
        .await
    }

    /// Adds the tally of dead letters up, so that reading it stays cheap.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn add_tally_up(&self) -> Result<u64, StoreError> {
        let batch = i64::from(self.options.batch);
        self.sessions
            .run(move |session| {
                Box::pin(async move {
                    let statement = sqlx::query(
                        "-- Upkeep::add_tally_up
                        with oldest as materialized (
                            select tally_id from dead_letter_tally order by tally_id limit $1 for update skip locked
                        ),
                        gone as (
                            delete from dead_letter_tally
                            using oldest
                            where dead_letter_tally.tally_id = oldest.tally_id and 1 < (select count(*) from oldest)
                            returning namespace, account_sid, reason, letters
                        )
                        insert into dead_letter_tally (namespace, account_sid, reason, letters)
                        select namespace, account_sid, reason, sum(letters) from gone group by 1, 2, 3 having sum(letters) <> 0",
                    );
                    Ok(statement.bind(batch).execute(session).await?.rows_affected())
                })
            })
            .await
    }

    async fn forget(&self, statement: &'static str) -> Result<u64, StoreError> {
        let dead_letters = self.options.dead_letters.as_secs_f64();
        let (now, history, batch) =
            (self.clock.now(), self.options.history.as_secs_f64(), i64::from(self.options.batch));
        self.sessions
            .run(move |session| {
                Box::pin(async move {
                    sqlx::query(statement)
                        .bind(now)
                        .bind(history)
                        .bind(batch)
                        .bind(dead_letters)
                        .execute(session)
                        .await
                        .map(|done| done.rows_affected())
                })
            })
            .await
    }

    async fn step(&self, statement: &'static str, age: Duration) -> Result<u64, StoreError> {
        let (now, age, batch) = (self.clock.now(), age.as_secs_f64(), i64::from(self.options.batch));
        self.sessions
            .run(move |session| {
                Box::pin(async move {
                    let done = sqlx::query(statement).bind(now).bind(age).bind(batch).execute(session).await?;
                    Ok(done.rows_affected())
                })
            })
            .await
    }

    /// Counts what stands in the store, for the metrics.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn measure(&self) -> Result<Kept, StoreError> {
        let now = self.clock.now();
        type Lane = (String, i64, Option<f64>);
        type Parked = (i64, Option<f64>, i64);
        let (lanes, parked, dead): (Vec<Lane>, Parked, Vec<(String, i64)>) = self
            .sessions
            .run(move |session| {
                Box::pin(async move {
                    let lanes = sqlx::query_as(
                        "-- Upkeep::measure, what is owed
                        select account_sid, count(*),
                               extract(epoch from coalesce($1, clock_timestamp()) - min(due_at)
                                   filter (where due_at <= coalesce($1, clock_timestamp())))::float8
                        from feedback group by account_sid",
                    )
                    .bind(now)
                    .fetch_all(&mut *session)
                    .await?;
                    let parked = sqlx::query_as(
                        "-- Upkeep::measure, what waits
                        select (select count(*) from parked),
                               (select extract(epoch from coalesce($1, clock_timestamp()) - min(parked_at))::float8 from parked),
                               (select count(distinct replica) from lane_report
                                where reported_at > coalesce($1, clock_timestamp()) - make_interval(secs => $2))",
                    )
                    .bind(now)
                    .bind(REPORTS_WITHIN.as_secs_f64())
                    .fetch_one(&mut *session)
                    .await?;
                    let dead = sqlx::query_as(
                        "-- Upkeep::measure, what was given up
                        select reason, sum(letters)::bigint from dead_letter_tally group by reason",
                    )
                    .fetch_all(session)
                    .await?;
                    Ok((lanes, parked, dead))
                })
            })
            .await?;
        let secs = |secs: Option<f64>| secs.map(|secs| Duration::try_from_secs_f64(secs).unwrap_or_default());
        let lanes = lanes.into_iter().map(|(account, pending, oldest_due)| {
            Ok(Backlog { account_sid: parsed(account)?, pending: count(pending), oldest_due: secs(oldest_due) })
        });
        Ok(Kept {
            lanes: lanes.collect::<Result<_, sqlx::Error>>()?,
            parked: count(parked.0),
            oldest_parked: secs(parked.1),
            dead: column(dead, |(reason, number)| (reason, count(number))),
            replicas: count(parked.2),
        })
    }

    /// Looks for what keeps Postgres from tidying up; none where the server does not tell.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn oldest_snapshot(&self) -> Result<Option<OldestSnapshot>, StoreError> {
        let asked = self
            .sessions
            .run(|session| {
                Box::pin(async move {
                    sqlx::query_as(
                        "-- Upkeep::oldest_snapshot
                        select age_seconds, age_transactions from oldest_snapshot()",
                    )
                    .fetch_one(session)
                    .await
                })
            })
            .await;
        let (age, transactions): (f64, i64) = match asked {
            // Not every system that speaks Postgres's protocol has the views that it looks into.
            Err(StoreError::Postgres(sqlx::Error::Database(refused))) => {
                tracing::debug!(error = %refused, "Could not see the oldest transaction");
                return Ok(None);
            }
            asked => asked?,
        };
        let age = Duration::try_from_secs_f64(age).unwrap_or_default();
        Ok(Some(OldestSnapshot { age, transactions: count(transactions) }))
    }
}

// `offset 0` keeps Postgres from making a join of a question: it could read whole tables before it looks at the first that is
// old. So each question is asked of its index, in the order of age, until there are enough.

const FORGET_EVENTS: &str = "-- Upkeep::forget_events
    with moment as materialized (select coalesce($1, clock_timestamp()) as now),
    old as materialized (
        select event.namespace, event.event_id
        from event
        left join expired using (namespace, event_id)
        where event.accepted_at <= (select now from moment) - make_interval(secs => $2)
          and not exists (select from parked p where (p.namespace, p.event_id) = (event.namespace, event.event_id) offset 0)
          and (expired.expired_at is null or expired.expired_at <= (select now from moment) - make_interval(secs => $4))
          and not exists (
              select
              from (select unnest(event.message_sids) as message_sid
                    union all
                    select r.message_sid from resolution r where (r.namespace, r.event_id) = (event.namespace, event.event_id)
                   ) as named
              where exists (select from feedback f where f.message_sid = named.message_sid offset 0)
                 or exists (select from dead_letter d where d.message_sid = named.message_sid
                            and d.died_at > (select now from moment) - make_interval(secs => $4) offset 0)
          )
        order by event.accepted_at
        limit $3
        for update of event skip locked
    ),
    resolutions as (
        delete from resolution using old where resolution.namespace = old.namespace and resolution.event_id = old.event_id
    ),
    expiries as (
        delete from expired using old where expired.namespace = old.namespace and expired.event_id = old.event_id
    )
    delete from event using old where event.namespace = old.namespace and event.event_id = old.event_id";

const FORGET_MESSAGES: &str = "-- Upkeep::forget_messages
    with moment as materialized (select coalesce($1, clock_timestamp()) as now),
    old as materialized (
        select message.message_sid
        from message
        where message.registered_at <= (select now from moment) - make_interval(secs => $2)
          and coalesce(message.last_event_at, message.registered_at) <= (select now from moment) - make_interval(secs => $2)
          and not exists (select from feedback f where f.message_sid = message.message_sid offset 0)
          and not exists (select from confirmation c where c.message_sid = message.message_sid
                          and c.confirmed_at > (select now from moment) - make_interval(secs => $2) offset 0)
          and not exists (select from dead_letter d where d.message_sid = message.message_sid
                          and d.died_at > (select now from moment) - make_interval(secs => $4) offset 0)
          -- Its events go first, or they would name nothing.
          and not exists (select from event e where (e.namespace, e.action_id) = (message.namespace, message.action_id)
                          and not e.at_message offset 0)
          and not exists (select from event e where e.resolve = 'exact' and e.message_sids[1] = message.message_sid
                          and not e.at_message offset 0)
          and not exists (select from event e where (e.namespace, e.event_id) = (message.namespace, message.first_event_id)
                          and e.at_message and message.message_sid = any(e.message_sids) offset 0)
        order by message.registered_at
        limit $3
        for update skip locked
    ),
    attempts as (delete from attempt using old where attempt.message_sid = old.message_sid),
    confirmations as (delete from confirmation using old where confirmation.message_sid = old.message_sid),
    letters as (delete from dead_letter using old where dead_letter.message_sid = old.message_sid)
    delete from message using old where message.message_sid = old.message_sid";
