//! What is written out as a whole: a page at a time by key, so that it takes no more memory however much there is.
//!
//! Each page is a snapshot of its own. What commits meanwhile may or may not be in it; nothing stands in it twice.

use chrono::{DateTime, Utc};

use super::receipt::event_state;
use super::row::{feedback_state, parsed, parsed_if_any, small};
use super::{Ledger, StoreError};
use crate::domain::{AccountSid, ActionId, EventId, EventKey, EventState, Labels, MessageSid, Namespace};

/// What is wanted of a whole. Empty means all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    pub namespace: Option<Namespace>,
    /// At this moment or after it.
    pub since: Option<DateTime<Utc>>,
    /// Before this moment.
    pub until: Option<DateTime<Utc>>,
}

/// A message that Twilio has the feedback of.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfirmationRow {
    pub message_sid: MessageSid,
    pub account_sid: AccountSid,
    pub namespace: Namespace,
    pub action_id: Option<ActionId>,
    pub sent_at: Option<DateTime<Utc>>,
    pub owed_at: Option<DateTime<Utc>>,
    pub confirmed_at: DateTime<Utc>,
    pub attempts: u32,
    /// As Twilio tells it.
    pub date_updated: Option<DateTime<Utc>>,
    pub request_id: Option<String>,
    pub labels: Labels,
}

/// An event, and where it stands now.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    pub key: EventKey,
    pub action_id: Option<ActionId>,
    pub resolve: String,
    pub occurred_at: DateTime<Utc>,
    pub accepted_at: DateTime<Utc>,
    pub state: EventState,
    pub message_sids: Vec<MessageSid>,
}

/// Where the next page of events starts: after this one.
pub type EventPlace = (DateTime<Utc>, EventKey);

impl Ledger {
    /// A page of confirmations, by their SIDs. The span is that of `confirmed_at`.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn confirmations_after(
        &self,
        span: &Span,
        after: Option<&MessageSid>,
        limit: u32,
    ) -> Result<Vec<ConfirmationRow>, StoreError> {
        #[derive(sqlx::FromRow)]
        struct Row {
            message_sid: String,
            account_sid: String,
            namespace: String,
            action_id: Option<String>,
            sent_at: Option<DateTime<Utc>>,
            owed_at: Option<DateTime<Utc>>,
            confirmed_at: DateTime<Utc>,
            attempts: i32,
            date_updated: Option<DateTime<Utc>>,
            request_id: Option<String>,
            country: Option<String>,
            sender: Option<String>,
            template: Option<String>,
            channel: Option<String>,
        }
        let (span, after) = (span.clone(), after.map(|sid| sid.as_str().to_owned()));
        let rows: Vec<Row> = self
            .sessions
            .run(move |session| {
                let (span, after) = (span.clone(), after.clone());
                Box::pin(async move {
                    sqlx::query_as(
                        "-- Ledger::confirmations_after
                        select confirmation.message_sid, confirmation.account_sid, message.namespace, message.action_id,
                               message.sent_at, message.owed_at, confirmed_at, attempts, date_updated, request_id,
                               country, sender, template, channel
                        from confirmation join message using (message_sid)
                        where ($1::text is null or confirmation.message_sid > $1)
                          and ($2::text is null or message.namespace = $2)
                          and ($3::timestamptz is null or confirmed_at >= $3)
                          and ($4::timestamptz is null or confirmed_at < $4)
                        order by confirmation.message_sid
                        limit $5",
                    )
                    .bind(after)
                    .bind(span.namespace.as_ref().map(Namespace::as_str))
                    .bind(span.since)
                    .bind(span.until)
                    .bind(i64::from(limit))
                    .fetch_all(session)
                    .await
                })
            })
            .await?;
        let row = |row: Row| {
            Ok(ConfirmationRow {
                message_sid: parsed(row.message_sid)?,
                account_sid: parsed(row.account_sid)?,
                namespace: parsed(row.namespace)?,
                action_id: parsed_if_any(row.action_id)?,
                sent_at: row.sent_at,
                owed_at: row.owed_at,
                confirmed_at: row.confirmed_at,
                attempts: small(row.attempts),
                date_updated: row.date_updated,
                request_id: row.request_id,
                labels: Labels {
                    country: parsed_if_any(row.country)?,
                    sender: parsed_if_any(row.sender)?,
                    template: parsed_if_any(row.template)?,
                    channel: parsed_if_any(row.channel)?,
                },
            })
        };
        rows.into_iter().map(row).collect::<Result<_, sqlx::Error>>().map_err(StoreError::from)
    }

    /// A page of events, the oldest first. The span is that of `accepted_at`.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn events_after(
        &self,
        span: &Span,
        after: Option<&EventPlace>,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        #[derive(sqlx::FromRow)]
        struct Row {
            namespace: String,
            event_id: String,
            action_id: Option<String>,
            resolve: String,
            occurred_at: DateTime<Utc>,
            accepted_at: DateTime<Utc>,
            sids: Vec<String>,
            states: Vec<String>,
            expired: bool,
        }
        let (span, after) = (span.clone(), after.cloned());
        let rows: Vec<Row> = self
            .sessions
            .run(move |session| {
                let (span, after) = (span.clone(), after.clone());
                Box::pin(async move {
                    let (at, key) = after.unzip();
                    let key = key.as_ref();
                    sqlx::query_as(
                        "-- Ledger::events_after
                        with page as materialized (
                            select *
                            from event
                            where ($1::timestamptz is null or accepted_at >= $1)
                              and ($1::timestamptz is null or (accepted_at, namespace, event_id) > ($1, $2, $3))
                              and ($4::text is null or namespace = $4)
                              and ($5::timestamptz is null or accepted_at >= $5)
                              and ($6::timestamptz is null or accepted_at < $6)
                            order by accepted_at, namespace, event_id
                            limit $7
                        ),
                        named as (
                            select page.*, page.message_sids || array(
                                       select r.message_sid from resolution r
                                       where (r.namespace, r.event_id) = (page.namespace, page.event_id)
                                       order by r.resolved_at, r.message_sid) as sids
                            from page
                        )
                        select named.namespace, named.event_id, named.action_id, resolve, occurred_at, accepted_at, sids,
                               array(select feedback_state(m.message_sid, m.owed_at) from message m
                                     where m.message_sid = any(sids)) as states,
                               expired.event_id is not null as expired
                        from named left join expired using (namespace, event_id)
                        order by accepted_at, namespace, event_id",
                    )
                    .bind(at)
                    .bind(key.map(|key| key.namespace.as_str()))
                    .bind(key.map(|key| key.event_id.as_str()))
                    .bind(span.namespace.as_ref().map(Namespace::as_str))
                    .bind(span.since)
                    .bind(span.until)
                    .bind(i64::from(limit))
                    .fetch_all(session)
                    .await
                })
            })
            .await?;
        let row = |row: Row| {
            Ok(EventRow {
                key: EventKey { namespace: parsed(row.namespace)?, event_id: parsed::<EventId>(row.event_id)? },
                action_id: parsed_if_any(row.action_id)?,
                resolve: row.resolve,
                occurred_at: row.occurred_at,
                accepted_at: row.accepted_at,
                state: event_state(row.expired, row.states.iter().map(|state| feedback_state(state))),
                message_sids: row.sids.into_iter().map(parsed).collect::<Result<_, _>>()?,
            })
        };
        rows.into_iter().map(row).collect::<Result<_, sqlx::Error>>().map_err(StoreError::from)
    }
}
