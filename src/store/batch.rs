//! Commands that are committed together: what they have in common is asked once, and each gets an answer of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use super::fingerprint::fingerprint;
use super::{Acceptance, Accepted, NotTaken, Registered};
use crate::domain::{
    AccountSid, ActionId, Event, EventKey, FeedbackState, Labels, MessageSid, Namespace, Registration, Target,
    TraceContext,
};
use crate::telemetry;

/// Something to write, and who waits for the answer.
pub(super) enum Command {
    Register(Box<Registration>, oneshot::Sender<Result<Registered, NotTaken>>),
    Accept(Arc<Told>, oneshot::Sender<Result<Accepted, NotTaken>>),
}

/// What a batch says, each thing once, sorted by key: two batches that overlap take their locks in one order.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) actions: BTreeSet<(Namespace, ActionId)>,
    /// The first to register a message speaks for it; the others fill in what it left out, or are compared with what is
    /// stored then.
    pub(super) messages: BTreeMap<MessageSid, Mapping>,
    /// Events that name their message.
    pub(super) exact: BTreeMap<EventKey, Arc<Told>>,
    /// Events that name their action.
    pub(super) open: BTreeMap<EventKey, Arc<Told>>,
}

/// A message as somebody maps it.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    pub(super) account_sid: AccountSid,
    pub(super) namespace: Namespace,
    pub(super) action_id: Option<ActionId>,
    pub(super) sent_at: Option<DateTime<Utc>>,
    pub(super) labels: Labels,
}

/// An event, with what it is compared by, and the trace that the caller's request is a part of.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) event: Event,
    pub(super) fingerprint: [u8; 32],
    pub(super) trace: Option<TraceContext>,
}

impl Told {
    pub(super) fn new(event: Event, trace: Option<TraceContext>) -> Arc<Self> {
        Arc::new(Self { fingerprint: fingerprint(&event), event, trace })
    }
}

impl Mapping {
    /// Adds what somebody says of a message to what others say of it in the same batch. What contradicts is left out, and
    /// what the first left out is filled in: as if each had come by itself.
    pub(super) fn add(mappings: &mut BTreeMap<MessageSid, Self>, message_sid: MessageSid, told: Self) {
        match mappings.entry(message_sid) {
            Entry::Vacant(place) => drop(place.insert(told)),
            Entry::Occupied(mut place) => place.get_mut().fill_in(told),
        }
    }

    fn fill_in(&mut self, told: Self) {
        let another = matches!((&self.action_id, &told.action_id), (Some(ours), Some(theirs)) if ours != theirs);
        if another || self.namespace != told.namespace || self.account_sid != told.account_sid {
            return;
        }
        let Labels { country, sender, template, channel } = told.labels;
        self.action_id = self.action_id.take().or(told.action_id);
        self.sent_at = self.sent_at.or(told.sent_at);
        self.labels.country = self.labels.country.take().or(country);
        self.labels.sender = self.labels.sender.take().or(sender);
        self.labels.template = self.labels.template.take().or(template);
        self.labels.channel = self.labels.channel.take().or(channel);
    }

    /// What an event that names its message says of it.
    pub(super) fn by_event(event: &Event) -> Option<(MessageSid, Self)> {
        match &event.target {
            Target::Action { .. } => None,
            Target::Message { message_sid, account_sid, action_id } => Some((
                message_sid.clone(),
                Self {
                    account_sid: account_sid.clone(),
                    namespace: event.key.namespace.clone(),
                    action_id: action_id.clone(),
                    sent_at: None,
                    labels: Labels::default(),
                },
            )),
        }
    }
}

impl Plan {
    pub(super) fn of(commands: &[Command]) -> Self {
        let mut plan = Self::default();
        for command in commands {
            match command {
                Command::Register(registration, _) => plan.register(registration),
                Command::Accept(told, _) => plan.accept(told),
            }
        }
        plan
    }

    /// Whether this event, and not another one under its key, is part of the batch.
    fn has(&self, told: &Told) -> bool {
        let key = &told.event.key;
        let planned = self.exact.get(key).or_else(|| self.open.get(key));
        planned.is_some_and(|planned| planned.fingerprint == told.fingerprint)
    }

    /// Whether the batch says something else of this message.
    fn contradicts(&self, told: &Registration) -> bool {
        self.messages.get(&told.message_sid).is_some_and(|planned| {
            planned.namespace != told.namespace
                || planned.account_sid != told.account_sid
                || planned.action_id.as_ref().is_some_and(|action_id| *action_id != told.action_id)
        })
    }

    fn register(&mut self, told: &Registration) {
        self.actions.insert((told.namespace.clone(), told.action_id.clone()));
        let mapping = Mapping {
            account_sid: told.account_sid.clone(),
            namespace: told.namespace.clone(),
            action_id: Some(told.action_id.clone()),
            sent_at: told.sent_at,
            labels: told.labels.clone(),
        };
        Mapping::add(&mut self.messages, told.message_sid.clone(), mapping);
    }

    fn accept(&mut self, told: &Arc<Told>) {
        let key = &told.event.key;
        if let Some(action_id) = told.event.target.action_id() {
            self.actions.insert((key.namespace.clone(), action_id.clone()));
        }
        let events = match told.event.target {
            Target::Message { .. } if !self.open.contains_key(key) => &mut self.exact,
            Target::Action { .. } if !self.exact.contains_key(key) => &mut self.open,
            _ => return,
        };
        if !events.contains_key(key) {
            events.insert(key.clone(), told.clone());
        }
    }
}

/// A message as it is stored.
#[derive(Clone, Debug)]
pub(super) struct StoredMessage {
    pub(super) account_sid: AccountSid,
    pub(super) namespace: Namespace,
    pub(super) action_id: Option<ActionId>,
    pub(super) feedback: FeedbackState,
    /// This batch made it.
    pub(super) created: bool,
}

impl StoredMessage {
    /// Whether somebody may say this of the message: same owner, and no other action.
    pub(super) fn agrees(&self, namespace: &Namespace, account_sid: &AccountSid, action_id: Option<&ActionId>) -> bool {
        let other_action = match (&self.action_id, action_id) {
            (Some(stored), Some(told)) => stored != told,
            _ => false,
        };
        self.namespace == *namespace && self.account_sid == *account_sid && !other_action
    }
}

/// An event as it is stored.
#[derive(Clone, Debug)]
pub(super) struct StoredEvent {
    pub(super) fingerprint: Vec<u8>,
    pub(super) acceptance: Acceptance,
    /// This batch made it.
    pub(super) taken: bool,
}

/// What the store holds of a batch's things after its commit.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) messages: HashMap<MessageSid, StoredMessage>,
    /// Without the events that contradict the map.
    pub(super) events: HashMap<EventKey, StoredEvent>,
    pub(super) leases: Vec<super::Lease>,
    /// Parked events that this batch resolved.
    pub(super) unparked: u64,
    /// The traces that they were parked with, by the message that each confirms.
    pub(super) unparked_traces: BTreeMap<MessageSid, TraceContext>,
    /// Messages that are owed since this batch, by account.
    pub(super) owed: BTreeMap<AccountSid, u64>,
}

/// Answers everybody who waits, in the order they came: the first of several equal ones is the one that was taken.
///
/// Gives back what was not even tried: an event whose key another one had in this batch, which was not taken; a mapping
/// that another one of this batch contradicts, and the store does not.
pub(super) fn answer(commands: Vec<Command>, outcome: Outcome, plan: &Plan) -> Vec<Command> {
    let Outcome { mut messages, mut events, .. } = outcome;
    let mut untried = Vec::new();
    for command in commands {
        // Who no longer waits has hung up; what it asked for is done all the same.
        match command {
            Command::Register(told, waiter) if plan.contradicts(&told) && agrees(&told, &messages) => {
                untried.push(Command::Register(told, waiter));
            }
            Command::Register(told, waiter) => {
                let registered = registered(&told, &mut messages);
                count_registered(registered);
                let _hung_up = waiter.send(Ok(registered));
            }
            Command::Accept(told, waiter) if !events.contains_key(&told.event.key) && !plan.has(&told) => {
                untried.push(Command::Accept(told, waiter));
            }
            Command::Accept(told, waiter) => {
                let accepted = accepted(&told, &mut events);
                count_accepted(&accepted);
                let _hung_up = waiter.send(Ok(accepted));
            }
        }
    }
    untried
}

fn count_registered(registered: Registered) {
    telemetry::registered(match registered {
        Registered::Created(_) => "created",
        Registered::Known(_) => "known",
        Registered::Conflict => "conflict",
    });
}

fn count_accepted(accepted: &Accepted) {
    match accepted {
        Accepted::Taken(answer) => telemetry::accepted(answer.state),
        Accepted::Replayed(_) => telemetry::replayed(),
        // Nothing was accepted; the callers' side of it is counted by route and status.
        Accepted::Mismatch | Accepted::Conflict => {}
    }
}

fn agrees(told: &Registration, messages: &HashMap<MessageSid, StoredMessage>) -> bool {
    let stored = messages.get(&told.message_sid);
    stored.is_some_and(|stored| stored.agrees(&told.namespace, &told.account_sid, Some(&told.action_id)))
}

fn registered(told: &Registration, messages: &mut HashMap<MessageSid, StoredMessage>) -> Registered {
    match messages.get_mut(&told.message_sid) {
        Some(stored) if stored.agrees(&told.namespace, &told.account_sid, Some(&told.action_id)) => {
            if std::mem::take(&mut stored.created) {
                Registered::Created(stored.feedback)
            } else {
                Registered::Known(stored.feedback)
            }
        }
        _ => Registered::Conflict,
    }
}

fn accepted(told: &Told, events: &mut HashMap<EventKey, StoredEvent>) -> Accepted {
    match events.get_mut(&told.event.key) {
        None => Accepted::Conflict,
        Some(stored) if stored.fingerprint != told.fingerprint => Accepted::Mismatch,
        Some(stored) => {
            let acceptance = stored.acceptance.clone();
            if std::mem::take(&mut stored.taken) { Accepted::Taken(acceptance) } else { Accepted::Replayed(acceptance) }
        }
    }
}

/// Tells everybody who waits that nothing was taken.
pub(super) fn refuse(commands: Vec<Command>, because: NotTaken) {
    telemetry::not_taken(commands.len(), because.as_str());
    for command in commands {
        match command {
            Command::Register(_, waiter) => drop(waiter.send(Err(because)).is_err()),
            Command::Accept(_, waiter) => drop(waiter.send(Err(because))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Label, Resolve};

    fn word<T: TryFrom<String>>(text: &str) -> T {
        T::try_from(text.to_owned()).ok().unwrap()
    }

    fn sid() -> MessageSid {
        word(&format!("SM{:032}", 1))
    }

    fn mapping(action: Option<&str>, sent_at: Option<i64>, country: Option<&str>) -> Mapping {
        Mapping {
            account_sid: word(&format!("AC{:032}", 1)),
            namespace: word("default"),
            action_id: action.map(word),
            sent_at: sent_at.map(|secs| DateTime::from_timestamp(secs, 0).unwrap()),
            labels: Labels { country: country.map(word::<Label>), ..Labels::default() },
        }
    }

    fn added(told: [Mapping; 2]) -> Mapping {
        let mut mappings = BTreeMap::new();
        told.into_iter().for_each(|told| Mapping::add(&mut mappings, sid(), told));
        mappings.remove(&sid()).unwrap()
    }

    #[test]
    fn of_two_mappings_at_once_the_second_fills_in_what_the_first_left_out() {
        let both = added([mapping(None, None, Some("DE")), mapping(Some("a"), Some(7), Some("FR"))]);
        assert_eq!(format!("{both:?}"), format!("{:?}", mapping(Some("a"), Some(7), Some("DE"))));
        let first = added([mapping(Some("a"), None, None), mapping(Some("b"), Some(7), Some("FR"))]);
        assert_eq!(format!("{first:?}"), format!("{:?}", mapping(Some("a"), None, None)), "it is another action's");
        let mut another_account = mapping(Some("a"), Some(7), None);
        another_account.account_sid = word(&format!("AC{:032}", 2));
        let first = added([mapping(Some("a"), None, None), another_account]);
        assert_eq!(first.sent_at, None, "it is another account's");
    }

    #[tokio::test]
    async fn an_event_is_not_refused_for_another_one_under_its_key() {
        let event = |target| Event {
            key: EventKey { namespace: word("default"), event_id: word("e") },
            target,
            occurred_at: None,
        };
        let contradicts = event(Target::Message {
            message_sid: sid(),
            account_sid: word(&format!("AC{:032}", 1)),
            action_id: Some(word("another")),
        });
        let sound = event(Target::Action { action_id: word("a"), resolve: Resolve::Latest });
        let ((first, refused), (second, mut waits)) = (oneshot::channel(), oneshot::channel());
        let commands = [(contradicts, first), (sound.clone(), second)]
            .map(|(event, waiter)| Command::Accept(Told::new(event, None), waiter))
            .into_iter()
            .collect::<Vec<_>>();
        let plan = Plan::of(&commands);
        // The first one was taken back; nothing is stored under the key.
        let untried = answer(commands, Outcome::default(), &plan);
        assert_eq!(refused.await.unwrap(), Ok(Accepted::Conflict));
        assert!(matches!(&untried[..], [Command::Accept(told, _)] if told.event == sound));
        assert!(waits.try_recv().is_err(), "it has no answer yet");
    }
}
