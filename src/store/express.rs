//! The short way: what most batches are made of, in one statement each, which is a transaction of its own.
//!
//! The first event of a message that is known already, and a message of an action that nobody has spoken of yet, need no
//! row to queue for: whoever comes at the same time finds what it would have found before or after. All else takes the
//! long way of [`super::record`], which asks again: parking, `all`, what was said before, what contradicts the map.
//!
//! One round trip instead of seven: at 256 callers 28 µs of Postgres an event, and 108 by the long way.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::Acceptance;
use super::batch::{Command, Mapping, Outcome, Plan, StoredEvent, StoredMessage, Told};
use super::owe::note_owed;
use super::record::Terms;
use super::row::{column, parsed};
use super::session::is_about_the_data;
use crate::domain::{ActionId, EventKey, EventState, FeedbackState, Label, MessageSid, Resolve, Target, TraceContext};

/// What may go the short way.
#[derive(Default)]
pub(super) struct Express {
    messages: BTreeMap<MessageSid, Mapping>,
    /// Events that name their message.
    exact: BTreeMap<EventKey, Arc<Told>>,
    /// Events that confirm the latest message of their action.
    latest: BTreeMap<EventKey, Arc<Told>>,
    written: Mutex<Written>,
}

/// What is committed already.
#[derive(Default)]
struct Written {
    /// How many of [`STEPS`].
    steps: usize,
    outcome: Outcome,
}

#[derive(Clone, Copy)]
enum Step {
    Register,
    TakeLatest,
    TakeExact,
}

const STEPS: [Step; 3] = [Step::Register, Step::TakeLatest, Step::TakeExact];

impl Express {
    pub(super) fn of(mut plan: Plan) -> Self {
        let latest = |told: &Told| matches!(told.event.target, Target::Action { resolve: Resolve::Latest, .. });
        plan.open.retain(|_, told| latest(told));
        Self { messages: plan.messages, exact: plan.exact, latest: plan.open, written: Mutex::default() }
    }

    /// Writes what it can. Bears being repeated: it goes on where an earlier try ended. If the answer to a commit was lost,
    /// what that commit wrote is left over.
    pub(super) async fn write(&self, session: &mut PgConnection, terms: &Terms) -> Result<(), sqlx::Error> {
        let Written { steps, outcome } = &mut *self.written.lock().await;
        for step in &STEPS[*steps..] {
            match self.act(*step, session, terms, outcome).await {
                // Nothing of this statement stands, and all of what went before; the long way finds out whose data it is.
                Err(error) if is_about_the_data(&error) => tracing::debug!(%error, "Took the long way"),
                done => done?,
            }
            *steps += 1;
        }
        Ok(())
    }

    /// What came of it: of every statement that was committed, also where a later one was not.
    pub(super) async fn outcome(&self) -> Outcome {
        std::mem::take(&mut self.written.lock().await.outcome)
    }

    async fn act(
        &self,
        step: Step,
        session: &mut PgConnection,
        terms: &Terms,
        outcome: &mut Outcome,
    ) -> Result<(), sqlx::Error> {
        match step {
            Step::Register if self.messages.is_empty() => Ok(()),
            Step::Register => self.register(session, terms, outcome).await,
            Step::TakeLatest if self.latest.is_empty() => Ok(()),
            Step::TakeLatest => self.take(session, TAKE_LATEST, &self.latest, terms, outcome).await,
            Step::TakeExact if self.exact.is_empty() => Ok(()),
            Step::TakeExact => self.take(session, TAKE_EXACT, &self.exact, terms, outcome).await,
        }
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
        events: &BTreeMap<EventKey, Arc<Told>>,
        terms: &Terms,
        outcome: &mut Outcome,
    ) -> Result<(), sqlx::Error> {
        let asked = tokio::time::Instant::now();
        let token = Uuid::new_v4();
        // By what they lock, so that two batches that overlap take their locks in one order.
        let mut told: Vec<(&EventKey, &Arc<Told>)> = events.iter().collect();
        told.sort_by(|(_, a), (_, b)| locked(a).cmp(&locked(b)));
        let named = |told: &Told| match &told.event.target {
            Target::Message { message_sid, account_sid, .. } => {
                (Some(message_sid.as_str().to_owned()), Some(account_sid.as_str().to_owned()))
            }
            Target::Action { .. } => (None, None),
        };
        let (sids, owners): (Vec<_>, Vec<_>) = told.iter().map(|(_, told)| named(told)).unzip();
        let taken: Vec<Taken> = sqlx::query_as(statement)
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
            .bind(column(&told, |(_, told)| told.trace.as_ref().map(TraceContext::as_str)))
            .fetch_all(session)
            .await?;
        for (place, message_sid, account_sid, age, handed) in taken {
            let place = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
            let (key, told) = place.and_then(|place| told.get(place)).ok_or(sqlx::Error::RowNotFound)?;
            let message_sid: MessageSid = parsed(message_sid)?;
            let acceptance = Acceptance { state: EventState::Pending, message_sids: vec![message_sid.clone()] };
            let fingerprint = told.fingerprint.to_vec();
            outcome.events.insert((*key).clone(), StoredEvent { fingerprint, acceptance, taken: true });
            note_owed(outcome, asked, terms, message_sid, account_sid, age, handed.then_some(token))?;
            if handed && let Some(lease) = outcome.leases.last_mut() {
                lease.trace.clone_from(&told.trace);
            }
        }
        Ok(())
    }
}

/// Splits off what the short way has done.
pub(super) fn split(commands: Vec<Command>, done: &Outcome) -> (Vec<Command>, Vec<Command>) {
    commands.into_iter().partition(|command| match command {
        Command::Register(told, _) => done.messages.contains_key(&told.message_sid),
        Command::Accept(told, ..) => done.events.contains_key(&told.event.key),
    })
}

/// An event that was taken: its place among those that were told, from 1; the message that is owed for it, with its
/// account and its age; and whether that is leased to this process.
type Taken = (i64, String, String, f64, bool);

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

/// The message comes first: only one of several who come at once finds it owed by nobody, and what the others bring is left
/// over. So is what names a message that is owed already, which most repetitions do. An event that is known and whose message
/// is owed by nobody (it expired) breaks the key, and with it the statement; the long way then looks before it writes.
///
/// No CTE that only names a value, no window, no function, no lock before the update: what a statement costs whatever is in
/// it is 200 µs, which weighs most where few events share it.
macro_rules! take {
    ($name:literal, $resolve:literal, $chosen:literal) => {
        concat!(
            $name,
            "
    with owed as (
        update message
        set owed_at = coalesce($11, now()), last_event_at = coalesce($11, now()), first_event_id = told.event_id
        from unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $12::text[])
                 with ordinality
                 as told (namespace, event_id, fingerprint, action_id, occurred_at, message_sid, account_sid, traceparent, place)",
            $chosen,
            "
          and message.owed_at is null
        returning told.place, told.namespace, told.event_id, told.fingerprint, told.action_id, told.occurred_at,
                  told.traceparent, message.message_sid, message.account_sid,
                  least(message.sent_at, message.registered_at) as known_at, message.account_sid = any($8) as handed
    ),
    accepted as (
        insert into event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state, message_sids,
                           at_message)
        select namespace, event_id, fingerprint, action_id, '",
            $resolve,
            "', coalesce(occurred_at, $11, now()), coalesce($11, now()), 'pending', array[message_sid], true
        from owed
    ),
    due as (
        insert into feedback (message_sid, account_sid, known_at, owed_at, due_at, traceparent, attempts, lease_token, lease_until)
        select message_sid, account_sid, known_at, coalesce($11, now()), coalesce($11, now()), traceparent, handed::integer,
               case when handed then $9::uuid end,
               case when handed then coalesce($11, clock_timestamp()) + make_interval(secs => $10) end
        from owed
    )
    select place, message_sid, account_sid, extract(epoch from coalesce($11, now()) - known_at)::float8, handed
    from owed"
        )
    };
}

/// The same choice as `resolve()` of the schema makes, where there is something to choose from; inlined, it costs less.
///
/// Who waits for somebody that fills in when the chosen message was sent has chosen by what is not so any more: that event
/// is left over, and the long way chooses anew.
const TAKE_LATEST: &str = take!(
    "-- Inbox::accept, the first of the latest known",
    "latest",
    "
             cross join lateral (
                 select m.message_sid, m.sent_at
                 from message m
                 where m.namespace = told.namespace and m.action_id = told.action_id
                 order by coalesce(m.sent_at, m.registered_at) <= coalesce(told.occurred_at, $11, now()) desc,
                          case when coalesce(m.sent_at, m.registered_at) <= coalesce(told.occurred_at, $11, now())
                               then coalesce(m.sent_at, m.registered_at) end desc nulls last,
                          coalesce(m.sent_at, m.registered_at), m.message_sid
                 limit 1
             ) as chosen
        where message.message_sid = any (array[chosen.message_sid]) and message.sent_at is not distinct from chosen.sent_at"
);

const TAKE_EXACT: &str = take!(
    "-- Inbox::accept, the first of the one it names",
    "exact",
    "
        where message.message_sid = any (array[told.message_sid]) and message.namespace = told.namespace
          and message.account_sid = told.account_sid and (told.action_id is null or message.action_id = told.action_id)"
);
