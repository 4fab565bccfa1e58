//! Who can be followed at debug, alone among all others: a caller, an action, an event, a message.
//!
//! Each of the lines that tell its story stands in a span that names it, and the filter of the log can ask for what is in
//! such a span: `info,[{message_sid=SM…}]=debug`. Without such a filter the spans are not made, and cost a comparison each.

use tracing::Span;

use crate::domain::{ActionId, CallerName, Event, MessageSid, Target};

/// For what is told of an event.
pub fn event_span(caller: &CallerName, event: &Event) -> Span {
    let (event_id, action_id) = (event.key.event_id.as_str(), event.target.action_id().map(ActionId::as_str));
    let message_sid = match &event.target {
        Target::Message { message_sid, .. } => Some(message_sid.as_str()),
        // Its messages are known with the answer.
        Target::Action { .. } => None,
    };
    // A filter asks for one field at a time, and a sample of a caller's events needs both.
    let key = format_args!("{caller}/{event_id}");
    tracing::debug_span!("event", %key, caller = caller.as_str(), event_id, action_id, message_sid)
}

/// An event was answered.
pub fn event_told(span: &Span, answer: &'static str, state: Option<&'static str>, message_sids: &[MessageSid]) {
    if span.is_disabled() {
        return;
    }
    // One after the other: whoever follows any of them sees the line.
    for message_sid in message_sids {
        span.record("message_sid", message_sid.as_str());
    }
    span.in_scope(|| tracing::debug!(answer, state, ?message_sids, "Answered an event"));
}

/// For what is told of a mapping.
pub fn mapping_span(caller: &CallerName, action_id: &ActionId, message_sid: &MessageSid) -> Span {
    let (caller, action_id, message_sid) = (caller.as_str(), action_id.as_str(), message_sid.as_str());
    tracing::debug_span!("mapping", caller, action_id, message_sid)
}

/// For what is told when an attempt is settled.
pub fn settling_span(message_sid: &MessageSid) -> Span {
    tracing::debug_span!("settling", message_sid = message_sid.as_str())
}
