//! One message, read back: its mapping, its feedback, its attempts.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::row::{column, feedback_state, parsed, parsed_if_any, small};
use super::{AttemptView, FeedbackView, MessageView};
use crate::domain::{Labels, MessageSid, Namespace};

pub(super) async fn message(
    session: &mut PgConnection,
    namespace: Option<Namespace>,
    message_sid: MessageSid,
    now: Option<DateTime<Utc>>,
) -> Result<Option<MessageView>, sqlx::Error> {
    type Mapping = (String, String, Option<String>, DateTime<Utc>, DateTime<Utc>, Vec<Option<String>>);
    type State =
        (String, Option<i32>, Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<String>, Option<DateTime<Utc>>);
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
    let (state, attempts, due_at, settled_at, reason, leased_until): State = sqlx::query_as(
        "-- Ledger::message, its feedback
        select feedback_state(message.message_sid, message.owed_at),
               coalesce(feedback.attempts, confirmation.attempts, dead_letter.attempts),
               greatest(feedback.due_at, feedback.lease_until),
               coalesce(confirmation.confirmed_at, dead_letter.died_at),
               coalesce(dead_letter.reason,
                        case when feedback.message_sid is not null and lane.paused_at is not null
                             then 'lane paused: ' || lane.paused_reason end),
               case when feedback.lease_until > coalesce($2, clock_timestamp()) then feedback.lease_until end
        from message
        left join feedback using (message_sid)
        left join confirmation using (message_sid)
        left join dead_letter using (message_sid)
        left join account_lane lane on lane.account_sid = message.account_sid
        where message.message_sid = $1",
    )
    .bind(message_sid.as_str())
    .bind(now)
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
            leased_until,
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
        from attempt_on_record where message_sid = $1
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
