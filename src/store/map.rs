//! The map from actions to messages, as a batch reads and writes it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgConnection;

use super::batch::{Mapping, StoredMessage};
use super::clock::Clock;
use super::row::{column, parsed, parsed_if_any};
use crate::domain::{ActionId, Label, MessageSid};

/// Inserts what is not there. Gives the messages that are new.
///
/// Inserting and then looking are two statements: in one, the row of whoever was faster would be invisible.
pub(super) async fn insert(
    session: &mut PgConnection,
    mappings: &BTreeMap<MessageSid, Mapping>,
    clock: &Clock,
) -> Result<BTreeSet<MessageSid>, sqlx::Error> {
    let created: Vec<String> = sqlx::query_scalar(
        "-- Inbox::register, the new ones
        insert into message (message_sid, account_sid, namespace, action_id, sent_at, registered_at,
                             country, sender, template, channel)
        select told.message_sid, told.account_sid, told.namespace, told.action_id, told.sent_at,
               coalesce($10, now()), told.country, told.sender, told.template, told.channel
        from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[],
                    $6::text[], $7::text[], $8::text[], $9::text[]) with ordinality
            as told (message_sid, account_sid, namespace, action_id, sent_at, country, sender, template, channel, place)
        order by told.place
        on conflict (message_sid) do nothing
        returning message_sid",
    )
    .bind(column(mappings, |(sid, _)| sid.as_str()))
    .bind(column(mappings, |(_, told)| told.account_sid.as_str()))
    .bind(column(mappings, |(_, told)| told.namespace.as_str()))
    .bind(column(mappings, |(_, told)| told.action_id.as_ref().map(ActionId::as_str)))
    .bind(column(mappings, |(_, told)| told.sent_at))
    .bind(column(mappings, |(_, told)| told.labels.country.as_ref().map(Label::as_str)))
    .bind(column(mappings, |(_, told)| told.labels.sender.as_ref().map(Label::as_str)))
    .bind(column(mappings, |(_, told)| told.labels.template.as_ref().map(Label::as_str)))
    .bind(column(mappings, |(_, told)| told.labels.channel.as_ref().map(Label::as_str)))
    .bind(clock.now())
    .fetch_all(session)
    .await?;
    created.into_iter().map(parsed).collect()
}

/// What is stored of messages that are known, locked until the commit, in the order of their keys.
pub(super) async fn lock(
    session: &mut PgConnection,
    known: &[&MessageSid],
) -> Result<Vec<(MessageSid, StoredMessage)>, sqlx::Error> {
    let rows: Vec<(String, String, String, Option<String>, String)> = sqlx::query_as(
        "-- Inbox::register, the known ones
        select message_sid, account_sid, namespace, action_id, feedback_state(message_sid, owed_at)
        from message
        where message_sid = any($1)
        order by message_sid
        for no key update",
    )
    .bind(column(known, |sid| sid.as_str()))
    .fetch_all(session)
    .await?;
    let stored = |(sid, account_sid, namespace, action_id, state): (String, String, String, Option<String>, String)| {
        let message = StoredMessage {
            account_sid: parsed(account_sid)?,
            namespace: parsed(namespace)?,
            action_id: parsed_if_any(action_id)?,
            feedback: super::row::feedback_state(&state),
            created: false,
        };
        Ok((parsed(sid)?, message))
    };
    rows.into_iter().map(stored).collect()
}

/// Fills in what was left out when the message was registered. Never changes what was said.
pub(super) async fn fill(session: &mut PgConnection, sid: &MessageSid, told: &Mapping) -> Result<(), sqlx::Error> {
    let Mapping { action_id, sent_at, labels, .. } = told;
    sqlx::query(
        "-- Inbox::register, what was left out
        update message
        set action_id = coalesce(action_id, $2),
            sent_at   = coalesce(sent_at, $3),
            country   = coalesce(country, $4),
            sender    = coalesce(sender, $5),
            template  = coalesce(template, $6),
            channel   = coalesce(channel, $7)
        where message_sid = $1
          and (   (action_id is null and $2 is not null)
               or (sent_at   is null and $3 is not null)
               or (country   is null and $4 is not null)
               or (sender    is null and $5 is not null)
               or (template  is null and $6 is not null)
               or (channel   is null and $7 is not null))",
    )
    .bind(sid.as_str())
    .bind(action_id.as_ref().map(ActionId::as_str))
    .bind(sent_at)
    .bind(labels.country.as_ref().map(Label::as_str))
    .bind(labels.sender.as_ref().map(Label::as_str))
    .bind(labels.template.as_ref().map(Label::as_str))
    .bind(labels.channel.as_ref().map(Label::as_str))
    .execute(session)
    .await?;
    Ok(())
}
