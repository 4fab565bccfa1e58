//! What became of an event, and of an action: read back as one story.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::row::{feedback_state, parsed, parsed_if_any};
use super::{ActionEvent, ActionMessage, ActionView, Happening, Receipt};
use crate::domain::{ActionId, EventKey, EventState, FeedbackState, Namespace};

pub(super) async fn receipt(session: &mut PgConnection, key: EventKey) -> Result<Option<Receipt>, sqlx::Error> {
    type Told = (DateTime<Utc>, String, String, Option<String>, i32);
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
    let happenings: Vec<Told> = sqlx::query_as(
        "-- Ledger::event, its history
        select resolved_at, 'resolved', message_sid, null, 1 from resolution where namespace = $2 and event_id = $3
        union all
        select at, 'attempt', message_sid,
               concat_ws(' ', '#' || number, coalesce(status::text, error), case when code is not null then 'code ' || code end,
                         verdict, nullif(class, verdict)), 2
        from attempt_on_record where message_sid = any($1)
        union all
        select confirmed_at, 'confirmed', message_sid, null, 3 from confirmation where message_sid = any($1)
        union all
        select died_at, 'dead', message_sid, reason, 3 from dead_letter where message_sid = any($1)
        order by 1, 5, 3",
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
    for (at, what, message_sid, detail, _) in happenings {
        let what =
            ["resolved", "attempt", "confirmed", "dead"].into_iter().find(|known| *known == what).unwrap_or("attempt");
        history.push(Happening { at, what, message_sid: Some(parsed(message_sid)?), detail });
    }
    history.extend(expired_at.map(|at| plain(at, "expired")));
    // A message may have been confirmed before this event named it. Of one moment, the order above stands.
    history.sort_by_key(|happening| happening.at);
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
pub(super) fn event_state(expired: bool, messages: impl Iterator<Item = FeedbackState>) -> EventState {
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

pub(super) async fn action(
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
        from events_of_action($1, $2) as event left join expired using (namespace, event_id)
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
