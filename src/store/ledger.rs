//! All that a reader can see: receipts, actions, messages, lanes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::row::{column, feedback_state, parsed, parsed_if_any, small};
use super::session::Sessions;
use super::{
    ActionEvent, ActionMessage, ActionView, AttemptView, Cursor, DeadLetter, FeedbackView, Happening, LaneView,
    LetterFilter, MessageView, Page, Receipt, StoreError, lanes, letters,
};
use crate::domain::{AccountSid, ActionId, EventKey, EventState, FeedbackState, Labels, MessageSid, Namespace};

/// What readers may ask. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    pub(super) sessions: Sessions,
    pub(super) accounts: Vec<AccountSid>,
}

impl Ledger {
    /// The receipt of an event: what was taken, and what became of it.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn event(&self, key: &EventKey) -> Result<Option<Receipt>, StoreError> {
        let key = key.clone();
        self.sessions
            .run(move |session| {
                let key = key.clone();
                Box::pin(async move { receipt(session, key).await })
            })
            .await
    }

    /// An action: its messages and events, and where they stand.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn action(&self, namespace: &Namespace, action_id: &ActionId) -> Result<Option<ActionView>, StoreError> {
        let (namespace, action_id) = (namespace.clone(), action_id.clone());
        self.sessions
            .run(move |session| {
                let (namespace, action_id) = (namespace.clone(), action_id.clone());
                Box::pin(async move { action(session, namespace, action_id).await })
            })
            .await
    }

    /// A message: mapping, feedback, attempts. `namespace`: whose messages may be seen; none means everybody's.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn message(
        &self,
        namespace: Option<&Namespace>,
        message_sid: &MessageSid,
    ) -> Result<Option<MessageView>, StoreError> {
        let (namespace, message_sid) = (namespace.cloned(), message_sid.clone());
        self.sessions
            .run(move |session| {
                let (namespace, message_sid) = (namespace.clone(), message_sid.clone());
                Box::pin(async move { message(session, namespace, message_sid).await })
            })
            .await
    }

    /// Events that name a message, by any way, oldest first, at most 100.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn events_of_message(&self, message_sid: &MessageSid) -> Result<Vec<EventKey>, StoreError> {
        let message_sid = message_sid.clone();
        self.sessions
            .run(move |session| {
                let message_sid = message_sid.clone();
                Box::pin(async move {
                    let keys: Vec<(String, String)> = sqlx::query_as(
                        "-- Ledger::events_of_message
                        select namespace, event_id
                        from (
                            select event.namespace, event.event_id, event.accepted_at
                            from message join event using (namespace, action_id)
                            where message.message_sid = $1
                              and ($1 = any(event.message_sids)
                                   or exists (select from resolution r
                                              where (r.namespace, r.event_id, r.message_sid)
                                                    = (event.namespace, event.event_id, $1)))
                            union
                            select namespace, event_id, accepted_at
                            from event
                            where resolve = 'exact' and message_sids[1] = $1
                        ) as named
                        order by accepted_at
                        limit 100",
                    )
                    .bind(message_sid.as_str())
                    .fetch_all(session)
                    .await?;
                    keys.into_iter()
                        .map(|(namespace, event_id)| {
                            Ok(EventKey { namespace: parsed(namespace)?, event_id: parsed(event_id)? })
                        })
                        .collect()
                })
            })
            .await
    }

    /// A page of dead letters, newest first.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn dead_letters(
        &self,
        filter: &LetterFilter,
        limit: u32,
        from: Option<Cursor>,
    ) -> Result<Page<DeadLetter>, StoreError> {
        letters::page(&self.sessions, filter, limit, from).await
    }

    /// Every lane that is configured, or has work, a pause or a report.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn lanes(&self) -> Result<Vec<LaneView>, StoreError> {
        lanes::lanes(&self.sessions, &self.accounts).await
    }

    /// Whether Postgres answers, within `limit`.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn ping(&self, limit: Duration) -> Result<(), StoreError> {
        let asked = self.sessions.run(|session| {
            Box::pin(async move { sqlx::query("-- Ledger::ping\nselect 1").execute(session).await.map(drop) })
        });
        tokio::time::timeout(limit, asked).await.map_err(|_| StoreError::Deadline)?
    }
}

async fn receipt(session: &mut PgConnection, key: EventKey) -> Result<Option<Receipt>, sqlx::Error> {
    type Row = (Option<String>, DateTime<Utc>, DateTime<Utc>, Vec<String>, bool, Option<DateTime<Utc>>);
    let row: Option<Row> = sqlx::query_as(
        "-- Ledger::event
        select event.action_id, event.occurred_at, event.accepted_at,
               event.message_sids || array(select r.message_sid from resolution r
                                           where (r.namespace, r.event_id) = (event.namespace, event.event_id)
                                           order by r.resolved_at, r.message_sid),
               event.state = 'parked', expired.expired_at
        from event left join expired using (namespace, event_id)
        where event.namespace = $1 and event.event_id = $2",
    )
    .bind(key.namespace.as_str())
    .bind(key.event_id.as_str())
    .fetch_optional(&mut *session)
    .await?;
    let Some((action_id, occurred_at, accepted_at, sids, was_parked, expired_at)) = row else {
        return Ok(None);
    };
    let states: Vec<String> = sqlx::query_scalar(
        "-- Ledger::event, its messages
        select feedback_state(message_sid, owed_at) from message where message_sid = any($1)",
    )
    .bind(&sids)
    .fetch_all(&mut *session)
    .await?;
    let happenings: Vec<(DateTime<Utc>, String, String, Option<String>)> = sqlx::query_as(
        "-- Ledger::event, its history
        select resolved_at, 'resolved', message_sid, null from resolution where namespace = $2 and event_id = $3
        union all
        select at, 'attempt', message_sid,
               concat_ws(' ', '#' || number, coalesce(status::text, error), case when code is not null then 'code ' || code end,
                         verdict, nullif(class, verdict))
        from attempt where message_sid = any($1)
        union all
        select confirmed_at, 'confirmed', message_sid, null from confirmation where message_sid = any($1)
        union all
        select died_at, 'dead', message_sid, reason from dead_letter where message_sid = any($1)
        order by 1",
    )
    .bind(&sids)
    .bind(key.namespace.as_str())
    .bind(key.event_id.as_str())
    .fetch_all(session)
    .await?;
    let plain = |at, what| Happening { at, what, message_sid: None, detail: None };
    let mut history = vec![plain(accepted_at, "accepted")];
    if was_parked {
        history.push(plain(accepted_at, "parked"));
    }
    for (at, what, message_sid, detail) in happenings {
        let what =
            ["resolved", "attempt", "confirmed", "dead"].into_iter().find(|known| *known == what).unwrap_or("attempt");
        history.push(Happening { at, what, message_sid: Some(parsed(message_sid)?), detail });
    }
    history.extend(expired_at.map(|at| plain(at, "expired")));
    Ok(Some(Receipt {
        key,
        state: event_state(expired_at.is_some(), states.iter().map(|state| feedback_state(state))),
        action_id: parsed_if_any(action_id)?,
        message_sids: sids.into_iter().map(parsed).collect::<Result<_, _>>()?,
        occurred_at,
        accepted_at,
        history,
    }))
}

/// An event stands where the least settled of its messages stands.
fn event_state(expired: bool, messages: impl Iterator<Item = FeedbackState>) -> EventState {
    let mut state = if expired { EventState::Expired } else { EventState::Parked };
    for message in messages {
        state = match (state, message) {
            (_, FeedbackState::Pending | FeedbackState::None) | (EventState::Pending, _) => EventState::Pending,
            (_, FeedbackState::Dead) | (EventState::Dead, _) => EventState::Dead,
            _ => EventState::Confirmed,
        };
    }
    state
}

async fn action(
    session: &mut PgConnection,
    namespace: Namespace,
    action_id: ActionId,
) -> Result<Option<ActionView>, sqlx::Error> {
    let messages: Vec<(String, String, DateTime<Utc>, String)> = sqlx::query_as(
        "-- Ledger::action, its messages
        select message_sid, account_sid, coalesce(sent_at, registered_at), feedback_state(message_sid, owed_at)
        from message where namespace = $1 and action_id = $2
        order by 3, 1 limit $3",
    )
    .bind(namespace.as_str())
    .bind(action_id.as_str())
    .bind(ActionView::MOST_MESSAGES)
    .fetch_all(&mut *session)
    .await?;
    let events: Vec<(String, bool, Vec<String>)> = sqlx::query_as(
        "-- Ledger::action, its events
        select event.event_id, expired.event_id is not null,
               array(select feedback_state(m.message_sid, m.owed_at) from message m
                     where m.message_sid = any(event.message_sids)
                        or m.message_sid in (select r.message_sid from resolution r
                                             where (r.namespace, r.event_id) = (event.namespace, event.event_id)))
        from event left join expired using (namespace, event_id)
        where event.namespace = $1 and event.action_id = $2
        order by event.accepted_at, event.event_id limit $3",
    )
    .bind(namespace.as_str())
    .bind(action_id.as_str())
    .bind(ActionView::MOST_EVENTS)
    .fetch_all(session)
    .await?;
    if messages.is_empty() && events.is_empty() {
        return Ok(None);
    }
    let messages = messages.into_iter().map(|(message_sid, account_sid, sent_at, state)| {
        Ok(ActionMessage {
            message_sid: parsed(message_sid)?,
            account_sid: parsed(account_sid)?,
            sent_at,
            feedback: feedback_state(&state),
        })
    });
    let events = events.into_iter().map(|(event_id, expired, states)| {
        let state = event_state(expired, states.iter().map(|state| feedback_state(state)));
        Ok(ActionEvent { event_id: parsed(event_id)?, state })
    });
    Ok(Some(ActionView {
        messages: messages.collect::<Result<_, sqlx::Error>>()?,
        events: events.collect::<Result<_, sqlx::Error>>()?,
        namespace,
        action_id,
    }))
}

async fn message(
    session: &mut PgConnection,
    namespace: Option<Namespace>,
    message_sid: MessageSid,
) -> Result<Option<MessageView>, sqlx::Error> {
    type Mapping = (String, String, Option<String>, DateTime<Utc>, DateTime<Utc>, Vec<Option<String>>);
    type State = (String, Option<i32>, Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<String>);
    let mapping: Option<Mapping> = sqlx::query_as(
        "-- Ledger::message, its mapping
        select account_sid, namespace, action_id, coalesce(sent_at, registered_at), registered_at,
               array[country, sender, template, channel]
        from message where message_sid = $1 and ($2::text is null or namespace = $2)",
    )
    .bind(message_sid.as_str())
    .bind(namespace.as_ref().map(Namespace::as_str))
    .fetch_optional(&mut *session)
    .await?;
    let Some((account_sid, namespace, action_id, sent_at, registered_at, labels)) = mapping else {
        return Ok(None);
    };
    let (state, attempts, due_at, settled_at, reason): State = sqlx::query_as(
        "-- Ledger::message, its feedback
        select feedback_state(message.message_sid, message.owed_at),
               coalesce(feedback.attempts, confirmation.attempts, dead_letter.attempts),
               greatest(feedback.due_at, feedback.lease_until),
               coalesce(confirmation.confirmed_at, dead_letter.died_at),
               coalesce(dead_letter.reason,
                        case when feedback.message_sid is not null and lane.paused_at is not null
                             then 'lane paused: ' || lane.paused_reason end)
        from message
        left join feedback using (message_sid)
        left join confirmation using (message_sid)
        left join dead_letter using (message_sid)
        left join account_lane lane on lane.account_sid = message.account_sid
        where message.message_sid = $1",
    )
    .bind(message_sid.as_str())
    .fetch_one(&mut *session)
    .await?;
    let attempts_made = attempts_of(session, &message_sid).await?;
    let mut labels = labels.into_iter().map(parsed_if_any);
    let mut label = || labels.next().transpose().map(Option::flatten);
    Ok(Some(MessageView {
        labels: Labels { country: label()?, sender: label()?, template: label()?, channel: label()? },
        message_sid,
        account_sid: parsed(account_sid)?,
        namespace: parsed(namespace)?,
        action_id: parsed_if_any(action_id)?,
        sent_at,
        registered_at,
        feedback: FeedbackView {
            state: feedback_state(&state),
            attempts: small(attempts.unwrap_or_default()),
            due_at,
            settled_at,
            reason,
        },
        attempts: attempts_made,
    }))
}

async fn attempts_of(session: &mut PgConnection, message_sid: &MessageSid) -> Result<Vec<AttemptView>, sqlx::Error> {
    #[derive(sqlx::FromRow)]
    struct Row {
        number: i32,
        at: DateTime<Utc>,
        status: Option<i32>,
        code: Option<i32>,
        verdict: String,
        class: Option<String>,
        error: Option<String>,
        request_id: Option<String>,
        took_ms: Option<i32>,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "-- Ledger::message, its attempts
        select number, at, status, code, verdict, class, error, request_id, took_ms
        from attempt where message_sid = $1
        order by number, at
        limit 1000",
    )
    .bind(message_sid.as_str())
    .fetch_all(session)
    .await?;
    Ok(column(rows, |row: Row| AttemptView {
        number: small(row.number),
        at: row.at,
        status: row.status.and_then(|status| u16::try_from(status).ok()),
        code: row.code.map(small),
        verdict: row.verdict,
        class: row.class,
        error: row.error,
        request_id: row.request_id,
        took_ms: row.took_ms.map(small),
    }))
}
