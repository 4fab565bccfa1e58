//! The short way: what most batches are made of, in one statement each, which is a transaction of its own.
//!
//! The first event of a message that is known already, and a message of an action that nobody has spoken of yet, need no
//! row to queue for: whoever comes at the same time finds what it would have found before or after. All else takes the
//! long way of [`super::record`], which asks again: parking, `all`, what was said before, what contradicts the map.
//!
//! One round trip instead of seven: at 256 callers 48 µs of Postgres an event instead of 108.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::accept::{Stored, note_taken};
use super::batch::{Command, Mapping, Outcome, Plan, StoredMessage, Told};
use super::owe::note_owed;
use super::record::Terms;
use super::row::{column, parsed};
use super::trace::carry;
use crate::domain::{ActionId, EventKey, FeedbackState, Label, MessageSid, Resolve, Target};

/// What may go the short way.
#[derive(Default)]
pub(super) struct Express {
    messages: BTreeMap<MessageSid, Mapping>,
    /// Events that name their message.
    exact: BTreeMap<EventKey, Told>,
    /// Events that confirm the latest message of their action.
    latest: BTreeMap<EventKey, Told>,
}

impl Express {
    pub(super) fn of(mut plan: Plan) -> Self {
        let latest = |told: &Told| matches!(told.event.target, Target::Action { resolve: Resolve::Latest, .. });
        plan.open.retain(|_, told| latest(told));
        Self { messages: plan.messages, exact: plan.exact, latest: plan.open }
    }

    /// Writes what it can, and gives what came of it. Bears being repeated: what an earlier try committed is left over.
    pub(super) async fn write(&self, session: &mut PgConnection, terms: &Terms) -> Result<Outcome, sqlx::Error> {
        let mut outcome = Outcome::default();
        if !self.messages.is_empty() {
            self.register(session, terms, &mut outcome).await?;
        }
        if !self.latest.is_empty() {
            self.take(session, TAKE_LATEST, &self.latest, terms, &mut outcome).await?;
        }
        if !self.exact.is_empty() {
            self.take(session, TAKE_EXACT, &self.exact, terms, &mut outcome).await?;
        }
        // A commit later than what they belong to: who is killed in between loses a line of a trace, and nothing else.
        carry(session, self.exact.iter().chain(&self.latest), &mut outcome).await?;
        Ok(outcome)
    }

    async fn register(
        &self,
        session: &mut PgConnection,
        terms: &Terms,
        outcome: &mut Outcome,
    ) -> Result<(), sqlx::Error> {
        // By action, so that two batches that overlap take their locks in one order.
        let mut told: Vec<(&MessageSid, &Mapping)> = self.messages.iter().collect();
        told.sort_by(|(_, a), (_, b)| (&a.namespace, &a.action_id).cmp(&(&b.namespace, &b.action_id)));
        let created: Vec<String> = sqlx::query_scalar(REGISTER)
            .bind(column(&told, |(sid, _)| sid.as_str()))
            .bind(column(&told, |(_, told)| told.account_sid.as_str()))
            .bind(column(&told, |(_, told)| told.namespace.as_str()))
            .bind(column(&told, |(_, told)| told.action_id.as_ref().map(ActionId::as_str)))
            .bind(column(&told, |(_, told)| told.sent_at))
            .bind(column(&told, |(_, told)| told.labels.country.as_ref().map(Label::as_str)))
            .bind(column(&told, |(_, told)| told.labels.sender.as_ref().map(Label::as_str)))
            .bind(column(&told, |(_, told)| told.labels.template.as_ref().map(Label::as_str)))
            .bind(column(&told, |(_, told)| told.labels.channel.as_ref().map(Label::as_str)))
            .bind(terms.clock.now())
            .fetch_all(session)
            .await?;
        for sid in created {
            let sid: MessageSid = parsed(sid)?;
            if let Some(told) = self.messages.get(&sid) {
                let stored = StoredMessage {
                    account_sid: told.account_sid.clone(),
                    namespace: told.namespace.clone(),
                    action_id: told.action_id.clone(),
                    feedback: FeedbackState::None,
                    created: true,
                };
                outcome.messages.insert(sid, stored);
            }
        }
        Ok(())
    }

    async fn take(
        &self,
        session: &mut PgConnection,
        statement: &'static str,
        events: &BTreeMap<EventKey, Told>,
        terms: &Terms,
        outcome: &mut Outcome,
    ) -> Result<(), sqlx::Error> {
        let asked = tokio::time::Instant::now();
        let token = Uuid::new_v4();
        // By what they lock, so that two batches that overlap take their locks in one order.
        let mut told: Vec<(&EventKey, &Told)> = events.iter().collect();
        told.sort_by(|(_, a), (_, b)| locked(a).cmp(&locked(b)));
        let named = |told: &Told| match &told.event.target {
            Target::Message { message_sid, account_sid, .. } => {
                (Some(message_sid.as_str().to_owned()), Some(account_sid.as_str().to_owned()))
            }
            Target::Action { .. } => (None, None),
        };
        let (sids, owners): (Vec<_>, Vec<_>) = told.iter().map(|(_, told)| named(told)).unzip();
        let rows: Vec<Row> = sqlx::query_as(statement)
            .bind(column(&told, |(key, _)| key.namespace.as_str()))
            .bind(column(&told, |(key, _)| key.event_id.as_str()))
            .bind(column(&told, |(_, told)| &told.fingerprint[..]))
            .bind(column(&told, |(_, told)| told.event.target.action_id().map(ActionId::as_str)))
            .bind(column(&told, |(_, told)| told.event.occurred_at))
            .bind(sids)
            .bind(owners)
            // Both kinds share the room that was taken.
            .bind(terms.accounts_with_room_for(self.latest.len() + self.exact.len()))
            .bind(token)
            .bind(terms.lease.as_secs_f64())
            .bind(terms.clock.now())
            .fetch_all(session)
            .await?;
        let mut taken: Vec<Stored> = Vec::with_capacity(rows.len());
        for row in rows {
            match row {
                (Some(namespace), Some(event_id), message_sid, ..) => {
                    taken.push((namespace, event_id, "pending".to_owned(), vec![message_sid]));
                }
                (_, _, message_sid, Some(account_sid), age, handed) => {
                    let token = (handed == Some(true)).then_some(token);
                    note_owed(
                        outcome,
                        asked,
                        terms,
                        parsed(message_sid)?,
                        account_sid,
                        age.unwrap_or_default(),
                        token,
                    )?;
                }
                _ => return Err(sqlx::Error::RowNotFound),
            }
        }
        note_taken(taken, events, outcome)
    }
}

/// Splits off what the short way has done.
pub(super) fn split(commands: Vec<Command>, done: &Outcome) -> (Vec<Command>, Vec<Command>) {
    commands.into_iter().partition(|command| match command {
        Command::Register(told, _) => done.messages.contains_key(&told.message_sid),
        Command::Accept(told, ..) => done.events.contains_key(&told.key),
    })
}

/// Either an event that was taken (its key and message), or a message that is owed (with its account, its age, and
/// whether it is leased to this process).
type Row = (Option<String>, Option<String>, String, Option<String>, Option<f64>, Option<bool>);

/// What an event's statement locks.
fn locked(told: &Told) -> (Option<&str>, Option<&str>) {
    match &told.event.target {
        Target::Message { message_sid, .. } => (Some(message_sid.as_str()), None),
        Target::Action { action_id, .. } => (None, Some(action_id.as_str())),
    }
}

const REGISTER: &str = "-- Inbox::register, of a new action
    with moment as materialized (select coalesce($10, now()) as now),
    told as materialized (
        select *
        from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[],
                    $6::text[], $7::text[], $8::text[], $9::text[]) with ordinality
            as told (message_sid, account_sid, namespace, action_id, sent_at, country, sender, template, channel, place)
    ),
    fresh as (
        insert into action (namespace, action_id, first_seen_at)
        select told.namespace, told.action_id, moment.now from moment, told
        order by told.place
        on conflict do nothing
        returning namespace, action_id
    )
    insert into message (message_sid, account_sid, namespace, action_id, sent_at, registered_at,
                         country, sender, template, channel)
    select told.message_sid, told.account_sid, told.namespace, told.action_id, told.sent_at, moment.now,
           told.country, told.sender, told.template, told.channel
    from moment, told join fresh using (namespace, action_id)
    order by told.place
    on conflict do nothing
    returning message_sid";

/// The message is locked where it is chosen, so that nobody owes or forgets it in between.
///
/// No CTE that only names a value, no window, no function: what a statement costs whatever is in it weighs most where few
/// events share it, and four writers at sixteen callers have four in each. With the checks of its tables gone as well, an
/// event of a batch of four cost 42 µs of Postgres instead of 67.
macro_rules! take {
    ($name:literal, $resolve:literal, $chosen:literal) => {
        concat!(
            $name,
            "
    with accepted as (
        insert into event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state, message_sids)
        select told.namespace, told.event_id, told.fingerprint, told.action_id, '",
            $resolve,
            "',
               coalesce(told.occurred_at, $11, now()), coalesce($11, now()), 'pending', array[message.message_sid]
        from unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::timestamptz[], $6::text[], $7::text[])
                 as told (namespace, event_id, fingerprint, action_id, occurred_at, message_sid, account_sid)
             cross join lateral (",
            $chosen,
            "
             ) as message
        where message.owed_at is null
        on conflict do nothing
        returning namespace, event_id, message_sids[1] as message_sid
    ),
    owed as (
        update message
        set owed_at = coalesce($11, now()), last_event_at = coalesce($11, now())
        where message_sid in (select message_sid from accepted) and owed_at is null
        returning message_sid, account_sid, least(sent_at, registered_at) as known_at, account_sid = any($8) as handed
    ),
    due as (
        insert into feedback (message_sid, account_sid, known_at, owed_at, due_at, attempts, lease_token, lease_until)
        select message_sid, account_sid, known_at, coalesce($11, now()), coalesce($11, now()), handed::integer,
               case when handed then $9::uuid end,
               case when handed then coalesce($11, clock_timestamp()) + make_interval(secs => $10) end
        from owed
        returning message_sid, account_sid, extract(epoch from owed_at - known_at)::float8 as age,
                  lease_token is not null as handed
    )
    select namespace, event_id, message_sid, null, null::float8, null::boolean from accepted
    union all
    select null, null, message_sid, account_sid, age, handed from due"
        )
    };
}

/// The same choice as `resolve()` of the schema makes, where there is something to choose from; only a statement that
/// names the table itself can lock its row.
const TAKE_LATEST: &str = take!(
    "-- Inbox::accept, the first of the latest known",
    "latest",
    "
                 select m.message_sid, m.owed_at
                 from message m
                 where m.namespace = told.namespace and m.action_id = told.action_id
                 order by coalesce(m.sent_at, m.registered_at) <= coalesce(told.occurred_at, $11, now()) desc,
                          case when coalesce(m.sent_at, m.registered_at) <= coalesce(told.occurred_at, $11, now())
                               then coalesce(m.sent_at, m.registered_at) end desc nulls last,
                          coalesce(m.sent_at, m.registered_at), m.message_sid
                 limit 1
                 for no key update"
);

const TAKE_EXACT: &str = take!(
    "-- Inbox::accept, the first of the one it names",
    "exact",
    "
                 select m.message_sid, m.owed_at
                 from message m
                 where m.message_sid = told.message_sid and m.namespace = told.namespace
                   and m.account_sid = told.account_sid and (told.action_id is null or m.action_id = told.action_id)
                 for no key update"
);
