//! `confirmd trace`: one message, action or event, as a short story with times.

use std::io;

use crate::domain::{ActionId, EventId, EventKey, FeedbackState, MessageSid, Namespace};
use crate::store::{ActionView, Ledger, MessageView, Receipt, StoreError};

/// What a name turned out to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    pub messages: Vec<MessageView>,
    pub actions: Vec<ActionView>,
    pub events: Vec<Receipt>,
}

/// Finds whatever has this name: a message by its SID, an event or an action by its id.
///
/// # Errors
/// Where Postgres does not answer.
pub async fn find(ledger: &Ledger, namespace: &Namespace, name: &str) -> Result<Story, StoreError> {
    let mut story = Story::default();
    if let Ok(message_sid) = MessageSid::try_from(name.to_owned()) {
        story.messages.extend(ledger.message(None, &message_sid).await?);
        for key in ledger.events_of_message(&message_sid).await? {
            story.events.extend(ledger.event(&key).await?);
        }
        return Ok(story);
    }
    if let Ok(event_id) = EventId::try_from(name.to_owned()) {
        let key = EventKey { namespace: namespace.clone(), event_id };
        story.events.extend(ledger.event(&key).await?);
    }
    if let Ok(action_id) = ActionId::try_from(name.to_owned()) {
        story.actions.extend(ledger.action(namespace, &action_id).await?);
    }
    let sids: Vec<MessageSid> = (story.events.iter().flat_map(|event| event.message_sids.iter()))
        .chain(story.actions.iter().flat_map(|action| action.messages.iter().map(|message| &message.message_sid)))
        .cloned()
        .collect();
    for message_sid in sids {
        if story.messages.iter().all(|message| message.message_sid != message_sid) {
            story.messages.extend(ledger.message(Some(namespace), &message_sid).await?);
        }
    }
    Ok(story)
}

impl Story {
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.actions.is_empty() && self.events.is_empty()
    }

    /// Writes the story: each event, each message with its attempts.
    pub fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        self.actions.iter().try_for_each(|action| write_action(action, out))?;
        self.events.iter().try_for_each(|event| write_event(event, out))?;
        self.messages.iter().try_for_each(|message| write_message(message, out))
    }
}

fn write_action(action: &ActionView, out: &mut impl io::Write) -> io::Result<()> {
    let (messages, events) = (action.messages.len(), action.events.len());
    writeln!(out, "action {} in {}: {messages} message(s), {events} event(s)", action.action_id, action.namespace)
}

fn write_event(event: &Receipt, out: &mut impl io::Write) -> io::Result<()> {
    writeln!(out, "\nevent {} in {}: {}", event.key.event_id, event.key.namespace, event.state.as_str())?;
    writeln!(out, "  {}  occurred", event.occurred_at.format("%F %T%.3f UTC"))?;
    // The attempts stand with their message.
    for happening in event.history.iter().filter(|happening| happening.what != "attempt") {
        write!(out, "  {}  {}", happening.at.format("%F %T%.3f UTC"), happening.what)?;
        if let Some(message_sid) = &happening.message_sid {
            write!(out, "  {message_sid}")?;
        }
        if let Some(detail) = &happening.detail {
            write!(out, "  {detail}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_message(message: &MessageView, out: &mut impl io::Write) -> io::Result<()> {
    let feedback = &message.feedback;
    writeln!(
        out,
        "\nmessage {} of {}: feedback {}",
        message.message_sid,
        message.account_sid,
        feedback.state.as_str()
    )?;
    let action = message.action_id.as_ref().map_or("no action".to_owned(), |action| format!("action {action}"));
    writeln!(out, "  {}  registered for {action}", message.registered_at.format("%F %T%.3f UTC"))?;
    for attempt in &message.attempts {
        write!(out, "  {}  attempt {}", attempt.at.format("%F %T%.3f UTC"), attempt.number)?;
        if let Some(status) = attempt.status {
            write!(out, "  status {status}")?;
        }
        if let Some(code) = attempt.code {
            write!(out, "  code {code}")?;
        }
        if let Some(error) = &attempt.error {
            write!(out, "  {error}")?;
        }
        if let Some(took) = attempt.took_ms {
            write!(out, "  took {took} ms")?;
        }
        if let Some(request_id) = &attempt.request_id {
            write!(out, "  {request_id}")?;
        }
        writeln!(out, "  {}", attempt.verdict)?;
    }
    let reason = feedback.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match (feedback.state, feedback.due_at, feedback.settled_at) {
        (FeedbackState::Pending, Some(due), _) => {
            writeln!(out, "  {}  due{reason}", due.format("%F %T%.3f UTC"))
        }
        (state, _, Some(at)) => writeln!(out, "  {}  {}{reason}", at.format("%F %T%.3f UTC"), state.as_str()),
        _ => Ok(()),
    }
}
