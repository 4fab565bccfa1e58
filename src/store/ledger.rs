//! All that a reader can see: receipts, actions, messages, lanes.

use std::time::Duration;

use super::clock::Clock;
use super::row::parsed;
use super::session::Sessions;
use super::{
    ActionView, Cursor, DeadLetter, LaneView, LetterFilter, MessageView, Page, Receipt, StoreError, lanes, letters,
    message, receipt,
};
use crate::domain::{AccountSid, ActionId, EventKey, MessageSid, Namespace};

/// What readers may ask. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    pub(super) sessions: Sessions,
    pub(super) clock: Clock,
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
                Box::pin(async move { receipt::receipt(session, key).await })
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
                Box::pin(async move { receipt::action(session, namespace, action_id).await })
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
        let (namespace, message_sid, now) = (namespace.cloned(), message_sid.clone(), self.clock.now());
        self.sessions
            .run(move |session| {
                let (namespace, message_sid) = (namespace.clone(), message_sid.clone());
                Box::pin(async move { message::message(session, namespace, message_sid, now).await })
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
                            from message cross join lateral events_of_action(message.namespace, message.action_id) as event
                            where message.message_sid = $1
                              and ($1 = any(event.message_sids)
                                   or exists (select from resolution r
                                              where (r.namespace, r.event_id, r.message_sid)
                                                    = (event.namespace, event.event_id, $1)))
                            union
                            select namespace, event_id, accepted_at
                            from events_of_message($1)
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
        lanes::lanes(&self.sessions, &self.clock, &self.accounts).await
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
