//! Bringing dead letters back: the oldest first, paced, on record, and each in one transaction with what is said of it.
//!
//! A letter that is brought back is gone from the dead letters in the same transaction. So whoever is cut off, by a kill
//! or by Postgres, does the same again: nothing is brought back twice, and the rest is still there.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::letters::{Terms, matched};
use super::operation::{Deed, record};
use super::operator::Operator;
use super::row::count;
use super::{LetterFilter, Replay, StoreError};

/// Dead letters that are brought back in one transaction.
const BATCH: u64 = 500;

/// More dead letters than this are brought back only by who says how many they are.
pub const BULK: u64 = 1000;

/// Whether so many may be brought back by who has said this number, or none.
pub const fn is_confirmed(number: u64, said: Option<u64>) -> bool {
    match said {
        Some(said) => said == number,
        None => number <= BULK,
    }
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
    /// # Errors
    /// Where Postgres does not answer; the batches before that stand.
    pub async fn replay(&self, filter: &LetterFilter, rate: u32, limit: u64) -> Result<Replay, StoreError> {
        let mut run = Run::new(filter, rate, limit);
        let mut whole = Replay { matched: self.count(filter).await?, replayed: 0 };
        loop {
            match self.replay_on(&mut run).await? {
                0 => return Ok(whole),
                replayed => whole.replayed += replayed,
            }
        }
    }

    /// Brings the next batch of a run back. Gives how many; none when there are no more, or the run has its fill.
    ///
    /// They come due after what this run, or an earlier one by the same filter, has brought back and is not due yet.
    ///
    /// # Errors
    /// Where Postgres does not answer; nothing of the batch is brought back then.
    pub async fn replay_on(&self, run: &mut Run) -> Result<u64, StoreError> {
        let batch = BATCH.min(run.left);
        if batch == 0 {
            return Ok(0);
        }
        let deed = Deed { run_id: run.id, ..self.deed("replay", &run.subject, None) };
        let (terms, rate, now) = (run.terms.clone(), run.rate, self.clock.now());
        let replayed = self
            .sessions
            .transaction(move |session| {
                let (terms, deed) = (terms.clone(), deed.clone());
                Box::pin(async move {
                    let mut pace = Pace::begin(session, &deed.subject, rate, now).await?;
                    let letters = replay_feedback(session, &terms, &mut pace, batch).await?;
                    let events = replay_expired(session, &terms, &mut pace, batch - letters).await?;
                    if 0 < letters + events {
                        record(session, &deed, letters + events, Some(pace.next()), now).await?;
                    }
                    Ok(letters + events)
                })
            })
            .await?;
        run.left -= replayed;
        Ok(replayed)
    }
}

/// A replay on its way.
#[derive(Clone, Debug)]
pub struct Run {
    id: Uuid,
    terms: Terms,
    subject: String,
    rate: u32,
    left: u64,
}

impl Run {
    /// Of what the filter matches, at most `limit`, `rate` a second.
    pub fn new(filter: &LetterFilter, rate: u32, limit: u64) -> Self {
        let terms = Terms::from(filter);
        let subject = terms.in_words();
        Self { id: Uuid::now_v7(), terms, subject, rate: rate.max(1), left: limit }
    }
}

/// When what is brought back comes due: one after the other.
struct Pace {
    now: DateTime<Utc>,
    first: DateTime<Utc>,
    rate: u32,
    placed: u64,
}

impl Pace {
    /// After what was brought back by the same filter and is still to come due.
    async fn begin(
        session: &mut PgConnection,
        subject: &str,
        rate: u32,
        now: Option<DateTime<Utc>>,
    ) -> Result<Self, sqlx::Error> {
        let (now, first): (DateTime<Utc>, DateTime<Utc>) = sqlx::query_as(
            "-- Operator::replay, its pace
            with moment as materialized (select coalesce($2, clock_timestamp()) as now)
            select moment.now, greatest(moment.now, (
                select max(due_until) from operation where subject = $1 and due_until > moment.now
            ))
            from moment",
        )
        .bind(subject)
        .bind(now)
        .fetch_one(session)
        .await?;
        Ok(Self { now, first, rate, placed: 0 })
    }

    /// The moment of the next one that is placed.
    fn next(&self) -> DateTime<Utc> {
        self.first + std::time::Duration::from_secs_f64(self.placed as f64 / f64::from(self.rate))
    }
}

async fn replay_feedback(
    session: &mut PgConnection,
    terms: &Terms,
    pace: &mut Pace,
    batch: u64,
) -> Result<u64, sqlx::Error> {
    let replayed = sqlx::query(
        "-- Operator::replay, feedback
        with chosen as materialized (
            select message_sid
            from dead_letter
            where ($1::text is null or namespace = $1) and ($2::text is null or reason = $2)
              and ($3::text is null or account_sid = $3) and ($4::text is null or message_sid = $4)
              and $5::text is null and ($2::text is not null or $4::text is not null or reason <> 'shadowed')
              and ($9::timestamptz is null or died_at >= $9) and ($10::timestamptz is null or died_at < $10)
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
               $7 + make_interval(secs => (row_number() over (order by died_at, message_sid) - 1) / $8::float8),
               true, attempts
        from risen",
    )
    .bind(terms.namespace.as_deref())
    .bind(terms.reason)
    .bind(terms.account_sid.as_deref())
    .bind(terms.message_sid.as_deref())
    .bind(terms.event_id.as_deref())
    .bind(i64::try_from(batch).unwrap_or(i64::MAX))
    .bind(pace.next())
    .bind(i64::from(pace.rate))
    .bind(terms.since)
    .bind(terms.until)
    .execute(session)
    .await?
    .rows_affected();
    pace.placed += replayed;
    Ok(replayed)
}

/// Parks expired events anew, and resolves those whose message has become known, as a registration would.
async fn replay_expired(
    session: &mut PgConnection,
    terms: &Terms,
    pace: &mut Pace,
    batch: u64,
) -> Result<u64, sqlx::Error> {
    // The same row that event and mapping queue for: no message can be registered in between.
    let chosen: Vec<(String, String)> = sqlx::query_as(
        "-- Operator::replay, the expired
        with chosen as materialized (
            select namespace, event_id, action_id
            from expired
            where ($1::text is null or namespace = $1) and ($2::text is null or $2 = 'expired')
              and $3::text is null and $4::text is null and ($5::text is null or event_id = $5)
              and ($8::timestamptz is null or expired_at >= $8) and ($9::timestamptz is null or expired_at < $9)
            order by expired_at, event_id
            limit $6
            for update skip locked
        ),
        locked as (
            insert into action (namespace, action_id, first_seen_at)
            select distinct namespace, action_id, $7::timestamptz from chosen
            order by namespace, action_id
            on conflict (namespace, action_id) do update set first_seen_at = action.first_seen_at where false
        )
        select namespace, event_id from chosen",
    )
    .bind(terms.namespace.as_deref())
    .bind(terms.reason)
    .bind(terms.account_sid.as_deref())
    .bind(terms.message_sid.as_deref())
    .bind(terms.event_id.as_deref())
    .bind(i64::try_from(batch).unwrap_or(i64::MAX))
    .bind(pace.now)
    .bind(terms.since)
    .bind(terms.until)
    .fetch_all(&mut *session)
    .await?;
    if chosen.is_empty() {
        return Ok(0);
    }
    let (namespaces, event_ids): (Vec<String>, Vec<String>) = chosen.into_iter().unzip();
    let (risen, owed): (i64, i64) = sqlx::query_as(REVIVE)
        .bind(namespaces)
        .bind(event_ids)
        .bind(pace.now)
        .bind(pace.next())
        .bind(i64::from(pace.rate))
        .fetch_one(session)
        .await?;
    pace.placed += count(owed);
    Ok(count(risen))
}

const REVIVE: &str = "-- Operator::replay, revive
    with moment as materialized (select $3::timestamptz as now),
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
    -- As if it had been tried: what is live goes before it.
    due as (
        insert into feedback (message_sid, account_sid, known_at, owed_at, due_at, tried)
        select message_sid, account_sid, known_at, moment.now,
               $4 + make_interval(secs => (row_number() over (order by message_sid) - 1) / $5::float8), true
        from moment, owed
    )
    select (select count(*) from risen), (select count(*) from owed)";
