//! `confirmd trace`: one message, action or event, as a short story with times.

use std::io;

use crate::domain::{AccountSid, ActionId, EventId, EventKey, FeedbackState, MessageSid, Namespace};
use crate::store::{ActionView, LaneReport, LaneView, Ledger, MessageView, Receipt, StoreError};

/// What a name turned out to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    pub messages: Vec<MessageView>,
    pub actions: Vec<ActionView>,
    pub events: Vec<Receipt>,
    /// The lanes of messages that are being sent now: which replica may have it.
    pub lanes: Vec<LaneView>,
}

/// Finds whatever has this name: a message by its SID, an event or an action by its id.
///
/// # Errors
/// Where Postgres does not answer.
pub async fn find(ledger: &Ledger, namespace: &Namespace, name: &str) -> Result<Story, StoreError> {
    let mut story = named(ledger, namespace, name).await?;
    let leased = story.messages.iter().filter(|message| message.feedback.leased_until.is_some());
    let accounts: Vec<AccountSid> = leased.map(|message| message.account_sid.clone()).collect();
    if !accounts.is_empty() {
        story.lanes = ledger.lanes().await?;
        story.lanes.retain(|lane| accounts.contains(&lane.account_sid));
    }
    Ok(story)
}

async fn named(ledger: &Ledger, namespace: &Namespace, name: &str) -> Result<Story, StoreError> {
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
        self.messages.iter().try_for_each(|message| {
            write_message(message, out)?;
            let Some(until) = message.feedback.leased_until else { return Ok(()) };
            let lane = self.lanes.iter().find(|lane| lane.account_sid == message.account_sid);
            let by = lane.map_or_else(|| NOBODY_TELLS.to_owned(), |lane| holders(&lane.replicas));
            writeln!(out, "  {}  the lease of {by} ends", until.format("%F %T%.3f UTC"))
        })
    }
}

const NOBODY_TELLS: &str = "a replica that has not told of itself lately";

/// Replicas tell every few seconds; one that has not for longer than this before the last of them is gone, or going.
const TELLS_WITHIN: chrono::TimeDelta = chrono::TimeDelta::seconds(15);

/// Who may hold a lease of the lane: whose requests are in flight. With one such replica, it is that one.
fn holders(replicas: &[LaneReport]) -> String {
    let newest = replicas.iter().map(|report| report.reported_at).max();
    let tells = |report: &&LaneReport| newest.is_some_and(|newest| newest - TELLS_WITHIN <= report.reported_at);
    let (sending, idle): (Vec<_>, Vec<_>) = replicas.iter().filter(tells).partition(|report| 0 < report.in_flight);
    // What one said a moment ago may be older than the lease.
    let holders = if sending.is_empty() { idle } else { sending };
    match holders.as_slice() {
        [] => NOBODY_TELLS.to_owned(),
        [one] => one.replica.clone(),
        several => {
            let each = several.iter().map(|report| format!("{} ({} in flight)", report.replica, report.in_flight));
            format!("one of {}", each.collect::<Vec<_>>().join(", "))
        }
    }
}

fn write_action(action: &ActionView, out: &mut impl io::Write) -> io::Result<()> {
    let (messages, events) = (action.messages.len(), action.events.len());
    writeln!(out, "action {} in {}: {messages} message(s), {events} event(s)", action.action_id, action.namespace)?;
    action.events.iter().try_for_each(|event| writeln!(out, "  event {}: {}", event.event_id, event.state.as_str()))
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
        if let (Some(class), None, None) = (&attempt.class, attempt.status, &attempt.error) {
            write!(out, "  {class}")?;
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
