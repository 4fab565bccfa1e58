//! From events to feedback, as a step of a batch's transaction: resolve what was parked, and owe what is named.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::batch::Outcome;
use super::record::Terms;
use super::row::{column, parsed};
use super::{Lease, Past};
use crate::domain::{AccountSid, ActionId, FeedbackState, MessageSid, Namespace};

/// Resolves the events that waited for these messages. Gives the messages that are named by an event now.
pub(super) async fn resolve_parked(
    session: &mut PgConnection,
    gained: &BTreeMap<MessageSid, (Namespace, ActionId)>,
    terms: &Terms,
    outcome: &mut Outcome,
) -> Result<Vec<MessageSid>, sqlx::Error> {
    type Resolved = (Vec<String>, i64, Vec<String>, Vec<String>);
    let (named, unparked, traced, traces): Resolved = sqlx::query_as(
        "-- Inbox::resolve_parked
        with moment as materialized (select coalesce($4, now()) as now),
        gained as (select * from unnest($1::text[], $2::text[], $3::text[]) as gained (message_sid, namespace, action_id)),
        waiting as materialized (
            select parked.*
            from (select distinct namespace, action_id from gained) as gained
            join parked on parked.namespace = any (array[gained.namespace]) and parked.action_id = any (array[gained.action_id])
            order by parked.namespace, parked.event_id
            for update of parked
        ),
        chosen as (
            select waiting.namespace, waiting.event_id, message.message_sid
            from waiting
            cross join lateral resolve(waiting.namespace, waiting.action_id, waiting.resolve, waiting.occurred_at) as message
            union
            -- An event that confirms all of an action's messages confirms those that are registered later, too.
            select event.namespace, event.event_id, message.message_sid
            from gained
            -- None of them stands at its message: those confirm one message. By offset 0 the index, which has only such, is
            -- asked by action and never read whole.
            cross join lateral (
                select namespace, event_id, resolve, occurred_at
                from event
                where event.namespace = gained.namespace and event.action_id = gained.action_id and not event.at_message
                offset 0
            ) as event
            join message on message.message_sid = any (array[gained.message_sid])
            where event.resolve = 'all'
              and (message.sent_at is null or message.sent_at <= event.occurred_at)
              and not exists (select from waiting where (waiting.namespace, waiting.event_id) = (event.namespace, event.event_id))
              and not exists (select from expired
                              where expired.namespace = any (array[event.namespace]) and expired.event_id = any (array[event.event_id]))
        ),
        resolved as (
            insert into resolution (namespace, event_id, message_sid, resolved_at)
            select chosen.namespace, chosen.event_id, chosen.message_sid, moment.now
            from moment, chosen
            order by chosen.namespace, chosen.event_id, chosen.message_sid
            on conflict do nothing
            returning message_sid
        ),
        unparked as (
            delete from parked
            using waiting
            where parked.namespace = any (array[waiting.namespace]) and parked.event_id = any (array[waiting.event_id])
            returning parked.event_id
        ),
        traced as (
            select chosen.message_sid, min(waiting.traceparent) as traceparent
            from waiting join chosen using (namespace, event_id)
            where waiting.traceparent is not null
            group by chosen.message_sid
        )
        select coalesce((select array_agg(distinct message_sid) from resolved), '{}'), (select count(*) from unparked),
               coalesce((select array_agg(message_sid order by message_sid) from traced), '{}'),
               coalesce((select array_agg(traceparent order by message_sid) from traced), '{}')",
    )
    .bind(column(gained, |(sid, _)| sid.as_str()))
    .bind(column(gained, |(_, (namespace, _))| namespace.as_str()))
    .bind(column(gained, |(_, (_, action))| action.as_str()))
    .bind(terms.clock.now())
    .fetch_one(session)
    .await?;
    outcome.unparked += u64::try_from(unparked).unwrap_or_default();
    for (message_sid, trace) in traced.into_iter().zip(traces) {
        outcome.unparked_traces.insert(parsed(message_sid)?, parsed(trace)?);
    }
    named.into_iter().map(parsed).collect()
}

/// Each message that an event names for the first time is owed to Twilio from now on; what a lane has room for is
/// written as leased to this process.
///
/// `owed_at` is set once and never taken back: whoever comes second finds it set, whatever has become of the feedback
/// by then. A look at the feedback instead could miss one that is being settled at that moment, and owe it twice.
pub(super) async fn owe(
    session: &mut PgConnection,
    named: &BTreeSet<MessageSid>,
    terms: &Terms,
    outcome: &mut Outcome,
) -> Result<(), sqlx::Error> {
    let asked = Instant::now();
    let (accounts, room) = &*terms.room;
    let owed: Vec<(String, String, f64, Option<Uuid>)> = sqlx::query_as(
        "-- Inbox::owe
        with moment as materialized (select coalesce($5, now()) as now, gen_random_uuid() as token),
        fresh as materialized (
            select message_sid
            from message
            where message_sid = any($1) and owed_at is null
            order by message_sid
            for no key update
        ),
        again as (
            update message
            set last_event_at = moment.now
            from moment
            where message_sid = any($1) and owed_at is not null
        ),
        owed as (
            update message
            set owed_at = moment.now, last_event_at = moment.now
            from moment, fresh
            where message.message_sid = any (array[fresh.message_sid]) and message.owed_at is null
            returning message.message_sid, message.account_sid,
                      least(coalesce(message.sent_at, message.registered_at), message.registered_at) as known_at
        ),
        placed as (
            select owed.*, row_number() over (partition by owed.account_sid order by owed.message_sid) <= room.slots as handed
            from owed
            left join unnest($2::text[], $3::integer[]) as room (account_sid, slots) on room.account_sid = owed.account_sid
        )
        insert into feedback (message_sid, account_sid, known_at, owed_at, due_at, attempts, lease_token, lease_until)
        select message_sid, account_sid, known_at, moment.now, moment.now,
               case when handed then 1 else 0 end,
               case when handed then moment.token end,
               case when handed then coalesce($5, clock_timestamp()) + make_interval(secs => $4) end
        from moment, placed
        order by message_sid
        returning message_sid, account_sid, extract(epoch from owed_at - known_at)::float8, lease_token",
    )
    .bind(named.iter().map(MessageSid::as_str).collect::<Vec<_>>())
    .bind(accounts)
    .bind(room)
    .bind(terms.lease.as_secs_f64())
    .bind(terms.clock.now())
    .fetch_all(session)
    .await?;
    for (message_sid, account_sid, age, token) in owed {
        note_owed(outcome, asked, terms, parsed(message_sid)?, account_sid, age, token)?;
    }
    Ok(())
}

/// A message is owed since this batch; with a token, it is leased to this process.
pub(super) fn note_owed(
    outcome: &mut Outcome,
    asked: Instant,
    terms: &Terms,
    message_sid: MessageSid,
    account_sid: String,
    age: f64,
    token: Option<Uuid>,
) -> Result<(), sqlx::Error> {
    let account_sid: AccountSid = parsed(account_sid)?;
    *outcome.owed.entry(account_sid.clone()).or_default() += 1;
    if let Some(stored) = outcome.messages.get_mut(&message_sid) {
        stored.feedback = FeedbackState::Pending;
    }
    if let Some(token) = token {
        outcome.leases.push(Lease {
            message_sid,
            account_sid,
            attempt: 1,
            past: Past { age: Duration::try_from_secs_f64(age).unwrap_or_default(), ..Past::default() },
            trace: None,
            expires: asked + terms.lease,
            token,
        });
    }
    Ok(())
}
