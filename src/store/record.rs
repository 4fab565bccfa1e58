//! The one transaction of a batch: lock, register, accept, resolve, owe.
//!
//! Each step is one statement over columns, and a later statement sees what an earlier one waited for: at READ
//! COMMITTED every statement looks anew. Locks are taken in one order by all: actions, events that name a message,
//! messages, other events, what is owed; each sorted by key.
//!
//! What is only told carries the transaction's one moment, `now()`; a lease is counted from when it is written, because
//! the transaction may have waited for a lock since it began.
//!
//! <https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED>

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::batch::{Mapping, Outcome, Plan, StoredEvent, StoredMessage, Told};
use super::clock::Clock;
use super::row::{column, parsed};
use super::{Acceptance, Lease, Past};
use crate::domain::{ActionId, EventKey, EventState, FeedbackState, MessageSid, Namespace, Resolve, Target};

/// What the transaction of a batch needs to know besides the batch.
pub(super) struct Terms<'a> {
    pub(super) clock: &'a Clock,
    /// How long work that is handed over is leased for.
    pub(super) lease: Duration,
    /// Accounts whose lanes can start work now, and how much.
    pub(super) room: &'a (Vec<String>, Vec<i32>),
}

/// Writes a batch. Bears being repeated: what an earlier try committed is found and answered, not written twice.
pub(super) async fn record(session: &mut PgConnection, plan: &Plan, terms: &Terms<'_>) -> Result<Outcome, sqlx::Error> {
    let mut outcome = Outcome::default();
    let mut owed = BTreeSet::new();
    if !plan.actions.is_empty() {
        lock_actions(session, plan, terms).await?;
    }
    if !plan.exact.is_empty() {
        accept_exact(session, &plan.exact, terms, &mut outcome).await?;
    }
    let mut mappings = plan.messages.clone();
    for key in outcome.events.keys() {
        if let Some((message_sid, mapping)) = plan.exact.get(key).and_then(|told| Mapping::by_event(&told.event)) {
            mappings.entry(message_sid).or_insert(mapping);
        }
    }
    if !mappings.is_empty() {
        let mapped = register(session, &mappings, terms, &mut outcome).await?;
        take_back_contradictions(session, plan, &mut outcome).await?;
        if !mapped.is_empty() {
            owed.extend(resolve_parked(session, &mapped, terms, &mut outcome).await?);
        }
    }
    if !plan.open.is_empty() {
        accept_open(session, &plan.open, terms, &mut outcome).await?;
    }
    let taken = outcome.events.values().filter(|event| event.taken);
    owed.extend(taken.flat_map(|event| event.acceptance.message_sids.iter().cloned()));
    if !owed.is_empty() {
        owe(session, &owed, terms, &mut outcome).await?;
    }
    recall(session, plan, &mut outcome).await?;
    Ok(outcome)
}

/// Makes everybody who speaks of the same action queue for one row. A row that is there is locked and not rewritten.
async fn lock_actions(session: &mut PgConnection, plan: &Plan, terms: &Terms<'_>) -> Result<(), sqlx::Error> {
    let (namespaces, actions): (Vec<&str>, Vec<&str>) =
        plan.actions.iter().map(|(namespace, action)| (namespace.as_str(), action.as_str())).unzip();
    sqlx::query(
        "-- Inbox::lock_actions
        insert into action (namespace, action_id, first_seen_at)
        select told.namespace, told.action_id, coalesce($3, now())
        from unnest($1::text[], $2::text[]) with ordinality as told (namespace, action_id, place)
        order by told.place
        on conflict (namespace, action_id) do update set first_seen_at = action.first_seen_at where false",
    )
    .bind(namespaces)
    .bind(actions)
    .bind(terms.clock.now())
    .execute(session)
    .await?;
    Ok(())
}

/// Events that name their message come before the map: only an event that is taken may add to it.
async fn accept_exact(
    session: &mut PgConnection,
    events: &BTreeMap<EventKey, Told>,
    terms: &Terms<'_>,
    outcome: &mut Outcome,
) -> Result<(), sqlx::Error> {
    let sid = |told: &Told| match &told.event.target {
        Target::Message { message_sid, .. } => Some(message_sid.as_str().to_owned()),
        Target::Action { .. } => None,
    };
    let taken: Vec<(String, String, String, Vec<String>)> = sqlx::query_as(
        "-- Inbox::accept_exact
        with moment as materialized (select coalesce($7, now()) as now)
        insert into event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state, message_sids)
        select told.namespace, told.event_id, told.fingerprint, told.action_id, 'exact',
               coalesce(told.occurred_at, moment.now), moment.now,
               coalesce(nullif(feedback_state(m.message_sid, m.owed_at), 'none'), 'pending'), array[told.message_sid]
        from moment,
             unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::timestamptz[], $6::text[]) with ordinality
                 as told (namespace, event_id, fingerprint, action_id, occurred_at, message_sid, place)
             left join message m on m.message_sid = told.message_sid
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
async fn accept_open(
    session: &mut PgConnection,
    events: &BTreeMap<EventKey, Told>,
    terms: &Terms<'_>,
    outcome: &mut Outcome,
) -> Result<(), sqlx::Error> {
    let policy = |told: &Told| match &told.event.target {
        Target::Action { resolve, .. } => resolve.as_str(),
        Target::Message { .. } => Resolve::Latest.as_str(),
    };
    let taken: Vec<(String, String, String, Vec<String>)> = sqlx::query_as(
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

fn note_taken(
    taken: Vec<(String, String, String, Vec<String>)>,
    events: &BTreeMap<EventKey, Told>,
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

fn stored_answer(row: (String, String, String, Vec<String>)) -> Result<(EventKey, Acceptance), sqlx::Error> {
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

/// Adds to the map. What is there is compared, and what it left out is filled in. Gives the actions that gained a message.
async fn register(
    session: &mut PgConnection,
    mappings: &BTreeMap<MessageSid, Mapping>,
    terms: &Terms<'_>,
    outcome: &mut Outcome,
) -> Result<BTreeMap<MessageSid, (Namespace, ActionId)>, sqlx::Error> {
    let created = super::map::insert(session, mappings, terms.clock).await?;
    let known: Vec<&MessageSid> = mappings.keys().filter(|sid| !created.contains(*sid)).collect();
    for (sid, mapping) in mappings.iter().filter(|(sid, _)| created.contains(*sid)) {
        outcome.messages.insert(
            sid.clone(),
            StoredMessage {
                account_sid: mapping.account_sid.clone(),
                namespace: mapping.namespace.clone(),
                action_id: mapping.action_id.clone(),
                feedback: FeedbackState::None,
                created: true,
            },
        );
    }
    let mut gained: BTreeMap<MessageSid, (Namespace, ActionId)> = BTreeMap::new();
    if !known.is_empty() {
        for (sid, mut stored) in super::map::lock(session, &known).await? {
            let mapping = &mappings[&sid];
            if stored.agrees(&mapping.namespace, &mapping.account_sid, mapping.action_id.as_ref()) {
                super::map::fill(session, &sid, mapping).await?;
                if let (None, Some(action_id)) = (&stored.action_id, &mapping.action_id) {
                    stored.action_id = Some(action_id.clone());
                    gained.insert(sid.clone(), (mapping.namespace.clone(), action_id.clone()));
                }
            }
            outcome.messages.insert(sid, stored);
        }
    }
    for sid in created {
        if let Some(action_id) = mappings[&sid].action_id.clone() {
            gained.insert(sid.clone(), (mappings[&sid].namespace.clone(), action_id));
        }
    }
    Ok(gained)
}

/// An event whose message belongs to somebody else is not taken.
async fn take_back_contradictions(
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
        where event.namespace = wrong.namespace and event.event_id = wrong.event_id",
    )
    .bind(column(&wrong, |key| key.namespace.as_str()))
    .bind(column(&wrong, |key| key.event_id.as_str()))
    .execute(session)
    .await?;
    outcome.events.retain(|key, _| !wrong.contains(key));
    Ok(())
}

/// Resolves the events that waited for these messages. Gives the messages that are named by an event now.
async fn resolve_parked(
    session: &mut PgConnection,
    gained: &BTreeMap<MessageSid, (Namespace, ActionId)>,
    terms: &Terms<'_>,
    outcome: &mut Outcome,
) -> Result<Vec<MessageSid>, sqlx::Error> {
    let (named, unparked): (Vec<String>, i64) = sqlx::query_as(
        "-- Inbox::resolve_parked
        with moment as materialized (select coalesce($4, now()) as now),
        gained as (select * from unnest($1::text[], $2::text[], $3::text[]) as gained (message_sid, namespace, action_id)),
        waiting as materialized (
            select parked.*
            from parked
            where (parked.namespace, parked.action_id) in (select namespace, action_id from gained)
            order by parked.namespace, parked.event_id
            for update
        ),
        chosen as (
            select waiting.namespace, waiting.event_id, message.message_sid
            from waiting
            cross join lateral resolve(waiting.namespace, waiting.action_id, waiting.resolve, waiting.occurred_at) as message
            union
            -- An event that confirms all of an action's messages confirms those that are registered later, too.
            select event.namespace, event.event_id, message.message_sid
            from gained
            join event on event.namespace = gained.namespace and event.action_id = gained.action_id
            join message on message.message_sid = gained.message_sid
            where event.resolve = 'all'
              and (message.sent_at is null or message.sent_at <= event.occurred_at)
              and not exists (select from waiting where (waiting.namespace, waiting.event_id) = (event.namespace, event.event_id))
              and not exists (select from expired where (expired.namespace, expired.event_id) = (event.namespace, event.event_id))
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
            where parked.namespace = waiting.namespace and parked.event_id = waiting.event_id
            returning parked.event_id
        )
        select coalesce((select array_agg(distinct message_sid) from resolved), '{}'), (select count(*) from unparked)",
    )
    .bind(column(gained, |(sid, _)| sid.as_str()))
    .bind(column(gained, |(_, (namespace, _))| namespace.as_str()))
    .bind(column(gained, |(_, (_, action))| action.as_str()))
    .bind(terms.clock.now())
    .fetch_one(session)
    .await?;
    outcome.unparked += u64::try_from(unparked).unwrap_or_default();
    named.into_iter().map(parsed).collect()
}

/// Each message that an event names for the first time is owed to Twilio from now on; what a lane has room for is
/// written as leased to this process.
///
/// `owed_at` is set once and never taken back: whoever comes second finds it set, whatever has become of the feedback
/// by then. A look at the feedback instead could miss one that is being settled at that moment, and owe it twice.
async fn owe(
    session: &mut PgConnection,
    named: &BTreeSet<MessageSid>,
    terms: &Terms<'_>,
    outcome: &mut Outcome,
) -> Result<(), sqlx::Error> {
    let asked = Instant::now();
    let (accounts, room) = terms.room;
    let owed: Vec<(String, String, f64, Option<Uuid>)> = sqlx::query_as(
        "-- Inbox::owe
        with moment as materialized (select coalesce($5, now()) as now),
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
            where message.message_sid = fresh.message_sid and message.owed_at is null
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
               case when handed then gen_random_uuid() end,
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
        let message_sid: MessageSid = parsed(message_sid)?;
        if let Some(stored) = outcome.messages.get_mut(&message_sid) {
            stored.feedback = FeedbackState::Pending;
        }
        if let Some(token) = token {
            outcome.leases.push(Lease {
                message_sid,
                account_sid: parsed(account_sid)?,
                attempt: 1,
                past: Past { age: Duration::try_from_secs_f64(age).unwrap_or_default(), ..Past::default() },
                expires: asked + terms.lease,
                token,
            });
        }
    }
    Ok(())
}

/// What was answered before, for the events that are not new.
async fn recall(session: &mut PgConnection, plan: &Plan, outcome: &mut Outcome) -> Result<(), sqlx::Error> {
    let told = plan.exact.iter().chain(&plan.open);
    let known: Vec<&EventKey> = told.map(|(key, _)| key).filter(|key| !outcome.events.contains_key(*key)).collect();
    if known.is_empty() {
        return Ok(());
    }
    let stored: Vec<(String, String, String, Vec<String>, Vec<u8>)> = sqlx::query_as(
        "-- Inbox::recall
        select event.namespace, event.event_id, event.state, event.message_sids, event.fingerprint
        from unnest($1::text[], $2::text[]) as known (namespace, event_id)
        join event on event.namespace = known.namespace and event.event_id = known.event_id",
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
