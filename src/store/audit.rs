//! Proves the conservation law: what came in is all accounted for, and each thing once.
//!
//! events accepted = parked + resolved + expired; every resolved event names a message that is owed; and every owed
//! message stands in exactly one of feedback (pending), confirmation and dead_letter. Counted in one snapshot.

use std::time::Duration;

use super::StoreError;
use super::row::count;
use super::upkeep::Upkeep;

/// What one snapshot holds, and what in it contradicts the law.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub accepted: u64,
    pub parked: u64,
    pub resolved: u64,
    pub expired: u64,
    pub owed: u64,
    pub pending: u64,
    pub confirmed: u64,
    pub dead: u64,
    /// Of the dead, those whose account was in shadow: nothing was sent.
    pub shadowed: u64,
    pub drift: Drift,
}

/// Things that stand nowhere, or twice. All zero, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Events that are not exactly one of parked, resolved and expired.
    pub events: u64,
    /// Resolved events that name a message that is not owed.
    pub unowed: u64,
    /// Owed messages that are not exactly one of pending, confirmed and dead.
    pub messages: u64,
    /// Pending, confirmed or dead messages that nobody is known to owe; parked or expired events that nobody accepted.
    pub strays: u64,
}

impl Drift {
    pub const fn total(self) -> u64 {
        self.events + self.unowed + self.messages + self.strays
    }
}

impl Upkeep {
    /// Audits everything, however much history there is.
    ///
    /// # Errors
    /// Where Postgres does not answer in time.
    pub async fn audit(&self) -> Result<Audit, StoreError> {
        self.audited(ALL, None).await
    }

    /// Audits what came lately, up to 5,000 of each kind of row: cheap enough for a metric, however much came and however
    /// much waits.
    ///
    /// # Errors
    /// Where Postgres does not answer in time.
    pub async fn audit_lately(&self, within: Duration) -> Result<Drift, StoreError> {
        Ok(self.audited(LATELY, Some(within)).await?.drift)
    }

    async fn audited(&self, statement: &'static str, within: Option<Duration>) -> Result<Audit, StoreError> {
        let (now, within) = (self.clock.now(), within.map(|within| within.as_secs_f64()));
        type Row = (i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64);
        let row: Row = self
            .sessions
            .run(move |session| {
                Box::pin(async move { sqlx::query_as(statement).bind(now).bind(within).fetch_one(session).await })
            })
            .await?;
        Ok(Audit {
            accepted: count(row.0),
            parked: count(row.1),
            resolved: count(row.2),
            expired: count(row.3),
            owed: count(row.4),
            pending: count(row.5),
            confirmed: count(row.6),
            dead: count(row.7),
            shadowed: count(row.12),
            drift: Drift { events: count(row.8), unowed: count(row.9), messages: count(row.10), strays: count(row.11) },
        })
    }
}

/// One statement, so one snapshot. `$2`: how far back to look, in seconds; null for all.
macro_rules! audit {
    ($event:literal, $message:literal, $most:literal) => {
        concat!("-- Upkeep::audit
    with since as materialized (
        select coalesce($1, clock_timestamp()) - make_interval(secs => $2) as moment
    ),
    told as (
        select event.namespace, event.event_id,
               event.message_sids || array(select r.message_sid from resolution r
                                           where (r.namespace, r.event_id) = (event.namespace, event.event_id)) as sids,
               (parked.event_id is not null)::int as parked,
               (event.state = 'parked') = (cardinality(event.message_sids) = 0) as shaped,
               (expired.event_id is not null)::int as expired
        from ", $event, "
        left join parked using (namespace, event_id)
        left join expired using (namespace, event_id)
    ),
    judged as (
        select parked, expired, shaped, (cardinality(sids) > 0)::int as resolved,
               exists (select from unnest(sids) as sid
                       where not exists (select from message m where m.message_sid = sid and m.owed_at is not null)) as unowed
        from told
    ),
    events as (
        select count(*) as accepted, coalesce(sum(parked), 0) as parked, coalesce(sum(resolved), 0) as resolved,
               coalesce(sum(expired), 0) as expired,
               count(*) filter (where parked + resolved + expired <> 1 or not shaped) as astray,
               count(*) filter (where unowed) as unowed
        from judged
    ),
    placed as (
        select (f.message_sid is not null)::int as pending, (c.message_sid is not null)::int as confirmed,
               (d.message_sid is not null)::int as dead, d.reason = 'shadowed' as shadowed,
               m.last_event_at is not null as shaped
        from ", $message, "
        left join feedback f using (message_sid)
        left join confirmation c using (message_sid)
        left join dead_letter d using (message_sid)
        where m.owed_at is not null
    ),
    messages as (
        select count(*) as owed, coalesce(sum(pending), 0) as pending, coalesce(sum(confirmed), 0) as confirmed,
               coalesce(sum(dead), 0) as dead, count(*) filter (where shadowed) as shadowed, 
               count(*) filter (where pending + confirmed + dead <> 1 or not shaped) as astray
        from placed
    ),
    strays as (
        select (select count(*) from (select * from feedback ", $most, ") as f
                where not exists (select from message m where m.message_sid = f.message_sid and m.owed_at is not null)
                   or (f.lease_token is null) <> (f.lease_until is null)
                   or least(f.attempts, f.failures, f.ambiguous, f.lost) < 0)
             + (select count(*)
                from (select * from dead_letter where $2 is null or died_at >= (select moment from since) ", $most, ") as d
                where not exists (select from message m where m.message_sid = d.message_sid and m.owed_at is not null))
             + (select count(*) from confirmation c
                where $2 is null
                  and not exists (select from message m where m.message_sid = c.message_sid and m.owed_at is not null))
             + (select count(*) from (select * from parked ", $most, ") as p
                where not exists (select from event e where (e.namespace, e.event_id) = (p.namespace, p.event_id)))
             + (select count(*)
                from (select * from expired where $2 is null or expired_at >= (select moment from since) ", $most, ") as x
                where not exists (select from event e where (e.namespace, e.event_id) = (x.namespace, x.event_id)))
               as astray
    )
    select events.accepted, events.parked::bigint, events.resolved::bigint, events.expired::bigint,
           messages.owed, messages.pending::bigint, messages.confirmed::bigint, messages.dead::bigint,
           events.astray, events.unowed, messages.astray, strays.astray, messages.shadowed
    from events, messages, strays")
    };
}

const ALL: &str = audit!("event", "message m", "");

/// A peak must not make the audit of it another one.
const LATELY: &str = audit!(
    "(
            select * from event where accepted_at >= (select moment from since) order by accepted_at desc limit 5000
        ) as event",
    "(
            select * from message where registered_at >= (select moment from since) order by registered_at desc limit 5000
        ) as m",
    "limit 5000"
);
