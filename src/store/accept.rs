//! Taking events, as a step of a batch's transaction: insert, park, take back, recall.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::postgres::PgConnection;

use super::Acceptance;
use super::batch::{Outcome, Plan, StoredEvent, Told};
use super::record::Terms;
use super::row::{column, parsed};
use crate::domain::{ActionId, EventKey, EventState, Resolve, Target};

/// Events that name their message come before the map: only an event that is taken may add to it.
pub(super) async fn accept_exact(
    session: &mut PgConnection,
    events: &BTreeMap<EventKey, Arc<Told>>,
    terms: &Terms,
    outcome: &mut Outcome,
) -> Result<(), sqlx::Error> {
    let sid = |told: &Told| match &told.event.target {
        Target::Message { message_sid, .. } => Some(message_sid.as_str().to_owned()),
        Target::Action { .. } => None,
    };
    let taken: Vec<Stored> = sqlx::query_as(
        "-- Inbox::accept_exact
        with moment as materialized (select coalesce($7, now()) as now)
        insert into event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state, message_sids)
        select told.namespace, told.event_id, told.fingerprint, told.action_id, 'exact',
               coalesce(told.occurred_at, moment.now), moment.now,
               coalesce(nullif(feedback_state(m.message_sid, m.owed_at), 'none'), 'pending'), array[told.message_sid]
        from moment,
             unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::timestamptz[], $6::text[]) with ordinality
                 as told (namespace, event_id, fingerprint, action_id, occurred_at, message_sid, place)
             left join message m on m.message_sid = any (array[told.message_sid])
        order by told.place
        on conflict (namespace, event_id) do nothing
        returning namespace, event_id, state, message_sids",
    )
    .bind(column(events, |(key, _)| key.namespace.as_str()))
    .bind(column(events, |(key, _)| key.event_id.as_str()))
    .bind(column(events, |(_, told)| told.fingerprint.to_vec()))
    .bind(column(events, |(_, told)| told.event.target.action_id().map(ActionId::as_str)))
    .bind(column(events, |(_, told)| told.event.occurred_at))
    .bind(column(events, |(_, told)| sid(told)))
    .bind(terms.clock.now())
    .fetch_all(session)
    .await?;
    note_taken(taken, events, outcome)
}

/// Events that name their action: their messages are chosen, or they are parked.
pub(super) async fn accept_open(
    session: &mut PgConnection,
    events: &BTreeMap<EventKey, Arc<Told>>,
    terms: &Terms,
    outcome: &mut Outcome,
) -> Result<(), sqlx::Error> {
    let policy = |told: &Told| match &told.event.target {
        Target::Action { resolve, .. } => resolve.as_str(),
        Target::Message { .. } => Resolve::Latest.as_str(),
    };
    let taken: Vec<Stored> = sqlx::query_as(
        "-- Inbox::accept_open
        with moment as materialized (select coalesce($7, now()) as now),
        told as (
            select told.*, coalesce(told.occurred_at, moment.now) as occurred
            from moment,
                 unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::timestamptz[], $6::text[]) with ordinality
                     as told (namespace, event_id, fingerprint, action_id, occurred_at, policy, place)
        ),
        accepted as (
            insert into event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state, message_sids)
            select told.namespace, told.event_id, told.fingerprint, told.action_id, told.policy, told.occurred, moment.now,
                   chosen.state, chosen.message_sids
            from moment, told cross join lateral (
                select coalesce(array_agg(pick.message_sid), '{}') as message_sids,
                       case
                           when count(*) = 0 then 'parked'
                           when bool_or(pick.state in ('none', 'pending')) then 'pending'
                           when bool_or(pick.state = 'dead') then 'dead'
                           else 'confirmed'
                       end as state
                from (
                    select message.message_sid, feedback_state(message.message_sid, message.owed_at) as state
                    from resolve(told.namespace, told.action_id, told.policy, told.occurred) as message
                ) as pick
            ) as chosen
            order by told.place
            on conflict (namespace, event_id) do nothing
            returning namespace, event_id, action_id, resolve, occurred_at, accepted_at, state, message_sids
        ),
        parked as (
            insert into parked (namespace, event_id, action_id, resolve, occurred_at, parked_at)
            select namespace, event_id, action_id, resolve, occurred_at, accepted_at from accepted where state = 'parked'
        )
        select namespace, event_id, state, message_sids from accepted",
    )
    .bind(column(events, |(key, _)| key.namespace.as_str()))
    .bind(column(events, |(key, _)| key.event_id.as_str()))
    .bind(column(events, |(_, told)| told.fingerprint.to_vec()))
    .bind(column(events, |(_, told)| told.event.target.action_id().map(ActionId::as_str)))
    .bind(column(events, |(_, told)| told.event.occurred_at))
    .bind(column(events, |(_, told)| policy(told)))
    .bind(terms.clock.now())
    .fetch_all(session)
    .await?;
    note_taken(taken, events, outcome)
}

/// An answer as it stands in its event: key, state, messages.
pub(super) type Stored = (String, String, String, Vec<String>);

pub(super) fn note_taken(
    taken: Vec<Stored>,
    events: &BTreeMap<EventKey, Arc<Told>>,
    outcome: &mut Outcome,
) -> Result<(), sqlx::Error> {
    for row in taken {
        let (key, acceptance) = stored_answer(row)?;
        if let Some(told) = events.get(&key) {
            let fingerprint = told.fingerprint.to_vec();
            outcome.events.insert(key, StoredEvent { fingerprint, acceptance, taken: true });
        }
    }
    Ok(())
}

fn stored_answer(row: Stored) -> Result<(EventKey, Acceptance), sqlx::Error> {
    let (namespace, event_id, state, message_sids) = row;
    let key = EventKey { namespace: parsed(namespace)?, event_id: parsed(event_id)? };
    let state = match state.as_str() {
        "parked" => EventState::Parked,
        "confirmed" => EventState::Confirmed,
        "dead" => EventState::Dead,
        _ => EventState::Pending,
    };
    let message_sids = message_sids.into_iter().map(parsed).collect::<Result<_, _>>()?;
    Ok((key, Acceptance { state, message_sids }))
}

/// An event whose message belongs to somebody else is not taken.
pub(super) async fn take_back_contradictions(
    session: &mut PgConnection,
    plan: &Plan,
    outcome: &mut Outcome,
) -> Result<(), sqlx::Error> {
    let contradicts = |key: &EventKey| match plan.exact.get(key).map(|told| &told.event.target) {
        Some(Target::Message { message_sid, account_sid, action_id }) => outcome
            .messages
            .get(message_sid)
            .is_some_and(|stored| !stored.agrees(&key.namespace, account_sid, action_id.as_ref())),
        _ => false,
    };
    let wrong: BTreeSet<EventKey> = outcome.events.keys().filter(|key| contradicts(key)).cloned().collect();
    if wrong.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "-- Inbox::take_back_contradictions
        delete from event
        using unnest($1::text[], $2::text[]) as wrong (namespace, event_id)
        where event.namespace = any (array[wrong.namespace]) and event.event_id = any (array[wrong.event_id])",
    )
    .bind(column(&wrong, |key| key.namespace.as_str()))
    .bind(column(&wrong, |key| key.event_id.as_str()))
    .execute(session)
    .await?;
    outcome.events.retain(|key, _| !wrong.contains(key));
    Ok(())
}

/// What was answered before, for the events that are not new.
pub(super) async fn recall(session: &mut PgConnection, plan: &Plan, outcome: &mut Outcome) -> Result<(), sqlx::Error> {
    let told = plan.exact.iter().chain(&plan.open);
    let known: Vec<&EventKey> = told.map(|(key, _)| key).filter(|key| !outcome.events.contains_key(*key)).collect();
    if known.is_empty() {
        return Ok(());
    }
    type Recalled = (String, String, String, Vec<String>, Vec<u8>);
    let stored: Vec<Recalled> = sqlx::query_as(
        "-- Inbox::recall
        select event.namespace, event.event_id, event.state, event.message_sids, event.fingerprint
        from unnest($1::text[], $2::text[]) as known (namespace, event_id)
        join event on event.namespace = any (array[known.namespace]) and event.event_id = any (array[known.event_id])",
    )
    .bind(column(&known, |key| key.namespace.as_str()))
    .bind(column(&known, |key| key.event_id.as_str()))
    .fetch_all(session)
    .await?;
    for (namespace, event_id, state, message_sids, fingerprint) in stored {
        let (key, acceptance) = stored_answer((namespace, event_id, state, message_sids))?;
        outcome.events.insert(key, StoredEvent { fingerprint, acceptance, taken: false });
    }
    Ok(())
}
