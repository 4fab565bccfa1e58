//! Carrying a trace from an event to the feedback that it leads to, as a step of a batch's transaction: by the long way of
//! [`super::record`]. The short one writes it with the feedback. Where nobody traces, none of this is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::postgres::PgConnection;

use super::batch::{Outcome, Told};
use super::row::column;
use crate::domain::{EventKey, EventState, MessageSid, TraceContext};

/// Keeps the traces of a batch's new events with what they wait for: their message, or its confirmation.
pub(super) async fn carry<'a>(
    session: &mut PgConnection,
    events: impl Iterator<Item = (&'a EventKey, &'a Arc<Told>)>,
    outcome: &mut Outcome,
) -> Result<(), sqlx::Error> {
    let mut parked: BTreeMap<&EventKey, &TraceContext> = BTreeMap::new();
    let mut owed: BTreeMap<MessageSid, TraceContext> = std::mem::take(&mut outcome.unparked_traces);
    for (key, told) in events {
        let (Some(trace), Some(stored)) = (&told.trace, outcome.events.get(key)) else { continue };
        match stored.acceptance.state {
            _ if !stored.taken => {}
            EventState::Parked => drop(parked.insert(key, trace)),
            _ => owed.extend(stored.acceptance.message_sids.iter().map(|sid| (sid.clone(), trace.clone()))),
        }
    }
    if !parked.is_empty() {
        sqlx::query(
            "-- Inbox::carry, with what is parked
            update parked
            set traceparent = told.traceparent
            from unnest($1::text[], $2::text[], $3::text[]) as told (namespace, event_id, traceparent)
            where parked.namespace = any (array[told.namespace]) and parked.event_id = any (array[told.event_id])",
        )
        .bind(column(&parked, |(key, _)| key.namespace.as_str()))
        .bind(column(&parked, |(key, _)| key.event_id.as_str()))
        .bind(column(&parked, |(_, trace)| trace.as_str()))
        .execute(&mut *session)
        .await?;
    }
    if !owed.is_empty() {
        // Who came first is the one whose trace it is.
        sqlx::query(
            "-- Inbox::carry, with what is owed
            update feedback
            set traceparent = told.traceparent
            from unnest($1::text[], $2::text[]) as told (message_sid, traceparent)
            where feedback.message_sid = any (array[told.message_sid]) and feedback.traceparent is null and feedback.attempts <= 1",
        )
        .bind(column(&owed, |(sid, _)| sid.as_str()))
        .bind(column(&owed, |(_, trace)| trace.as_str()))
        .execute(session)
        .await?;
        for lease in &mut outcome.leases {
            lease.trace = owed.get(&lease.message_sid).cloned();
        }
    }
    Ok(())
}
