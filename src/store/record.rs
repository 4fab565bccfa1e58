//! The one transaction of a batch: lock, register, accept, resolve, owe.
//!
//! Each step is one statement over columns, and a later statement sees what an earlier one waited for: at READ
//! COMMITTED every statement looks anew. Locks are taken in one order by all: actions, events that name a message,
//! messages, other events, what is owed; each sorted by key. The short way, [`super::express`], takes a message before its
//! event: where two say the same at the moment in which its message is registered, one by each way, each may wait for the
//! other. Postgres ends one of them after a second (`deadlock_timeout`), and that is tried again.
//!
//! What is only told carries the transaction's one moment, `now()`; a lease is counted from when it is written, because
//! the transaction may have waited for a lock since it began.
//!
//! <https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::accept::{accept_exact, accept_open, recall, take_back_contradictions};
use super::batch::{Mapping, Outcome, Plan, StoredMessage};
use super::clock::Clock;
use super::map;
use super::owe::{owe, resolve_parked};
use super::trace::carry;
use crate::domain::{ActionId, FeedbackState, MessageSid, Namespace};

/// What the transaction of a batch needs to know besides the batch.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) clock: Clock,
    /// How long work that is handed over is leased for.
    pub(super) lease: Duration,
    /// Accounts whose lanes can start work now, and how much.
    pub(super) room: Arc<(Vec<String>, Vec<i32>)>,
}

impl Terms {
    /// Accounts whose lanes can start so much more.
    pub(super) fn accounts_with_room_for(&self, number: usize) -> Vec<&str> {
        let enough = |room: i32| usize::try_from(room).is_ok_and(|room| number <= room);
        let (accounts, room) = &*self.room;
        accounts.iter().zip(room).filter(|(_, room)| enough(**room)).map(|(account, _)| account.as_str()).collect()
    }
}

/// Writes a batch. Bears being repeated: what an earlier try committed is found and answered, not written twice.
pub(super) async fn record(session: &mut PgConnection, plan: &Plan, terms: &Terms) -> Result<Outcome, sqlx::Error> {
    let mut outcome = Outcome::default();
    let mut owed = BTreeSet::new();
    if !plan.actions.is_empty() {
        lock_actions(session, plan, terms).await?;
    }
    if !plan.exact.is_empty() {
        accept_exact(session, &plan.exact, terms, &mut outcome).await?;
    }
    let mut mappings = plan.messages.clone();
    let mut by_events: BTreeMap<MessageSid, Vec<Mapping>> = BTreeMap::new();
    for (_, told) in plan.exact.iter().filter(|(key, _)| outcome.events.contains_key(*key)) {
        if let Some((message_sid, mapping)) = Mapping::by_event(&told.event) {
            by_events.entry(message_sid.clone()).or_default().push(mapping.clone());
            Mapping::add(&mut mappings, message_sid, mapping);
        }
    }
    if !mappings.is_empty() {
        let mapped = register(session, &mappings, &by_events, terms, &mut outcome).await?;
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
    carry(session, plan.exact.iter().chain(&plan.open), &mut outcome).await?;
    recall(session, plan, &mut outcome).await?;
    Ok(outcome)
}

/// Makes everybody who speaks of the same action queue for one row. A row that is there is locked and not rewritten.
async fn lock_actions(session: &mut PgConnection, plan: &Plan, terms: &Terms) -> Result<(), sqlx::Error> {
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

/// Adds to the map. What is there is compared, and what it left out is filled in: by each event for itself, too, because
/// who spoke first in this batch may be the one who contradicts the map. Gives the actions that gained a message.
async fn register(
    session: &mut PgConnection,
    mappings: &BTreeMap<MessageSid, Mapping>,
    by_events: &BTreeMap<MessageSid, Vec<Mapping>>,
    terms: &Terms,
    outcome: &mut Outcome,
) -> Result<BTreeMap<MessageSid, (Namespace, ActionId)>, sqlx::Error> {
    let created = map::insert(session, mappings, &terms.clock).await?;
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
        for (sid, mut stored) in map::lock(session, &known).await? {
            let all = &mappings[&sid];
            let agrees = |told: &Mapping, stored: &StoredMessage| {
                stored.agrees(&told.namespace, &told.account_sid, told.action_id.as_ref())
            };
            // If the first agrees, it has been filled in with all that agrees with it.
            let each = if agrees(all, &stored) { None } else { by_events.get(&sid) };
            for mapping in std::iter::once(all).chain(each.into_iter().flatten()) {
                if !agrees(mapping, &stored) {
                    continue;
                }
                map::fill(session, &sid, mapping).await?;
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
