//! What should be so: the store's promises, for one thing at a time and in memory.

use std::collections::{BTreeMap, BTreeSet};

use confirmd::domain::{DeadReason, Retry, Verdict};

use super::parts::Told;

/// Seconds since the story began.
pub(super) type At = i64;

pub(super) const LEASE: At = 60;
pub(super) const MAX_LOST: u32 = 2;
const PARK_LIMIT: At = 7 * 86_400;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    pub(super) now: At,
    pub(super) messages: BTreeMap<u32, Message>,
    pub(super) events: BTreeMap<u8, Event>,
    pub(super) paused: bool,
    /// Messages that actions have gained, while what is told belongs to one commit.
    together: Option<Vec<(u32, u8)>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    action: Option<u8>,
    sent: Option<At>,
    registered: At,
    /// When it was sent or registered, the earlier, as it was known when it came to be owed. Of what was told at once,
    /// nobody can see which came first: then there are several.
    known: BTreeSet<At>,
    pub(super) feedback: Feedback,
    /// Attempts on record: their numbers and verdicts.
    pub(super) record: BTreeSet<(u32, &'static str)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Feedback {
    None,
    Pending(Owed),
    Confirmed { attempts: u32 },
    Dead { attempts: u32, reason: DeadReason },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Owed {
    pub(super) due: At,
    pub(super) tried: bool,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    pub(super) ambiguous: u32,
    pub(super) failing_since: Option<At>,
    lost: u32,
    /// By its number, and until when.
    pub(super) lease: Option<(u32, At)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    told: Told,
    answer: Answer,
    /// In seconds since the story began; what was not told is when it was taken.
    occurred: At,
    pub(super) standing: Standing,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Standing {
    Parked { since: At },
    Expired,
    Resolved(BTreeSet<u32>),
}

/// What a caller is answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Created(&'static str),
    Known(&'static str),
    Taken(&'static str, BTreeSet<u32>),
    Replayed(&'static str, BTreeSet<u32>),
    Mismatch,
    Conflict,
}

impl Feedback {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending(_) => "pending",
            Self::Confirmed { .. } => "confirmed",
            Self::Dead { .. } => "dead",
        }
    }
}

impl Message {
    fn known_at(&self) -> At {
        self.sent.unwrap_or(self.registered).min(self.registered)
    }
}

impl Owed {
    fn is_claimable(&self, now: At) -> bool {
        self.due <= now && self.lease.is_none_or(|(_, until)| until <= now)
    }

    /// Whether taking it once more ends it: its lease was lost, and that once too often.
    fn is_poison(&self) -> bool {
        self.lease.is_some() && MAX_LOST <= self.lost + 1
    }
}

impl Model {
    pub(super) fn tell(&mut self, told: &Told) -> Answer {
        match *told {
            Told::Message { number, action, sent } => self.message(number, action, sent),
            Told::Event { id, action, all, occurred } => self.event(told, id, occurred, |model, occurred| {
                let chosen = model.choose(action, all, occurred);
                let word = model.least_settled(&chosen);
                Some((word, chosen))
            }),
            Told::Exact { id, number, action, occurred } => self.event(told, id, occurred, |model, _| {
                let word = match model.messages.get(&number).map(|message| message.feedback.word()) {
                    None | Some("none") => "pending",
                    Some(word) => word,
                };
                model.map(number, action, None).map(|()| (word, BTreeSet::from([number])))
            }),
        }
    }

    /// What is committed together is seen together: whoever waited chooses among all messages that came at once.
    pub(super) fn tell_together(&mut self, all: &[&Told]) -> Vec<Answer> {
        self.together = Some(Vec::new());
        let mut answers = vec![Answer::Conflict; all.len()];
        let named = |told: &Told| !matches!(told, Told::Event { .. });
        for (at, told) in all.iter().enumerate().filter(|(_, told)| named(told)) {
            answers[at] = self.tell(told);
        }
        for (number, action) in self.together.take().into_iter().flatten() {
            self.gained(number, action);
        }
        for (at, told) in all.iter().enumerate().filter(|(_, told)| !named(told)) {
            answers[at] = self.tell(told);
        }
        answers
    }

    fn message(&mut self, number: u32, action: u8, sent: Option<At>) -> Answer {
        let new = !self.messages.contains_key(&number);
        match self.map(number, Some(action), sent) {
            None => Answer::Conflict,
            Some(()) if new => Answer::Created(self.messages[&number].feedback.word()),
            Some(()) => Answer::Known(self.messages[&number].feedback.word()),
        }
    }

    fn event(
        &mut self,
        told: &Told,
        id: u8,
        occurred: Option<At>,
        name: impl FnOnce(&mut Self, At) -> Option<(&'static str, BTreeSet<u32>)>,
    ) -> Answer {
        match self.events.get(&id) {
            Some(known) if known.told != *told => return Answer::Mismatch,
            Some(Event { answer: Answer::Taken(word, named), .. }) => return Answer::Replayed(word, named.clone()),
            _ => {}
        }
        let occurred = occurred.unwrap_or(self.now);
        let Some((word, named)) = name(self, occurred) else { return Answer::Conflict };
        named.iter().for_each(|number| self.owe(*number));
        let standing = match named.is_empty() {
            true => Standing::Parked { since: self.now },
            false => Standing::Resolved(named.clone()),
        };
        let answer = Answer::Taken(word, named);
        self.events.insert(id, Event { told: told.clone(), answer: answer.clone(), occurred, standing });
        answer
    }

    /// Maps a message, or fills in what was left out. Nothing if it is another action's.
    fn map(&mut self, number: u32, action: Option<u8>, sent: Option<At>) -> Option<()> {
        let now = self.now;
        let message = self.messages.entry(number).or_insert(Message {
            action: None,
            sent,
            registered: now,
            known: BTreeSet::new(),
            feedback: Feedback::None,
            record: BTreeSet::new(),
        });
        if let (Some(stored), Some(told)) = (message.action, action)
            && stored != told
        {
            return None;
        }
        message.sent = message.sent.or(sent);
        if let (None, Some(action)) = (message.action, action) {
            message.action = Some(action);
            match &mut self.together {
                Some(gained) => gained.push((number, action)),
                None => self.gained(number, action),
            }
        }
        Some(())
    }

    /// An action has one message more: who waited for it waits no longer, and who meant all of them means this one, too.
    fn gained(&mut self, number: u32, action: u8) {
        let message = &self.messages[&number];
        let (sent, mut owed) = (message.sent, BTreeSet::new());
        for id in self.events.keys().copied().collect::<Vec<_>>() {
            let Event { told, occurred, standing, .. } = self.events[&id].clone();
            let all = match told {
                Told::Event { action: of, all, .. } if of == action => all,
                Told::Exact { .. } | Told::Event { .. } | Told::Message { .. } => continue,
            };
            let found = match standing {
                Standing::Expired => continue,
                Standing::Parked { .. } => self.choose(action, all, occurred),
                Standing::Resolved(mut named) => {
                    if all && sent.is_none_or(|sent| sent <= occurred) {
                        named.insert(number);
                    }
                    named
                }
            };
            owed.extend(found.iter().copied());
            self.events.get_mut(&id).unwrap().standing = Standing::Resolved(found);
        }
        owed.into_iter().for_each(|number| self.owe(number));
    }

    fn owe(&mut self, number: u32) {
        let now = self.now;
        let message = self.messages.get_mut(&number).unwrap();
        if message.feedback == Feedback::None {
            message.known = BTreeSet::from([message.known_at()]);
            message.feedback = Feedback::Pending(Owed { due: now, ..Owed::default() });
        }
    }

    /// `latest`: the last one sent before the event; if all were sent after it, the first of them. `all`: each that is not
    /// known to have been sent after it; if none is left, each.
    pub(super) fn choose(&self, action: u8, all: bool, occurred: At) -> BTreeSet<u32> {
        let mut sent: Vec<(At, u32, bool)> = Vec::new();
        for (number, message) in &self.messages {
            if message.action == Some(action) {
                sent.push((message.sent.unwrap_or(message.registered), *number, message.sent.is_none()));
            }
        }
        if all {
            let before: BTreeSet<u32> = sent
                .iter()
                .filter(|(at, _, untold)| *untold || *at <= occurred)
                .map(|(_, number, _)| *number)
                .collect();
            return if before.is_empty() { sent.iter().map(|(_, number, _)| *number).collect() } else { before };
        }
        let last = sent.iter().filter(|(at, _, _)| *at <= occurred).map(|(at, _, _)| *at).max();
        let first = sent.iter().map(|(at, _, _)| *at).min();
        // Of several at one moment, the one with the smallest SID.
        let chosen = sent.iter().filter(|(at, _, _)| Some(*at) == last.or(first)).map(|(_, number, _)| *number).min();
        chosen.into_iter().collect()
    }

    fn least_settled(&self, named: &BTreeSet<u32>) -> &'static str {
        let words: Vec<&str> = named.iter().map(|number| self.messages[number].feedback.word()).collect();
        match () {
            () if words.is_empty() => "parked",
            () if words.iter().any(|word| matches!(*word, "none" | "pending")) => "pending",
            () if words.contains(&"dead") => "dead",
            () => "confirmed",
        }
    }

    /// Where an event stands, and the messages that it names.
    pub(super) fn receipt(&self, id: u8) -> (&'static str, BTreeSet<u32>) {
        match &self.events[&id].standing {
            Standing::Parked { .. } => ("parked", BTreeSet::new()),
            Standing::Expired => ("expired", BTreeSet::new()),
            Standing::Resolved(named) => (self.least_settled(named), named.clone()),
        }
    }

    pub(super) fn pending(&mut self, number: u32) -> Option<&mut Owed> {
        match &mut self.messages.get_mut(&number)?.feedback {
            Feedback::Pending(owed) => Some(owed),
            _ => None,
        }
    }

    /// When it was sent, as far as anybody knows; and the action.
    pub(super) fn mapping(&self, number: u32) -> (At, Option<u8>) {
        let message = &self.messages[&number];
        (message.sent.unwrap_or(message.registered), message.action)
    }

    pub(super) fn ages(&self, number: u32) -> BTreeSet<At> {
        self.messages[&number].known.iter().map(|known| self.now - known).collect()
    }

    /// It may as well have come in another order.
    pub(super) fn or_else(&mut self, other: &Self) {
        for (number, message) in &mut self.messages {
            message.known.extend(other.messages.get(number).iter().flat_map(|message| &message.known));
        }
    }

    /// What was told at the same time may have filled a message in after it was chosen, and before it was owed: its age is
    /// then as it is known by now.
    pub(super) fn or_as_known_by_now(&mut self, before: &Self) {
        for (number, message) in &mut self.messages {
            let owed_before = before.messages.get(number).is_some_and(|message| message.feedback != Feedback::None);
            if message.feedback != Feedback::None && !owed_before {
                message.known.insert(message.known_at());
            }
        }
    }

    /// What was handed over with the commit that owed it.
    pub(super) fn hand_over(&mut self, number: u32, lease: u32) -> Result<(), String> {
        let until = self.now + LEASE;
        match self.pending(number) {
            Some(owed) if owed.attempts == 0 && owed.lease.is_none() => {
                (owed.attempts, owed.lease) = (1, Some((lease, until)));
                Ok(())
            }
            other => Err(format!("message {number} was handed over, and is {other:?}")),
        }
    }

    /// Those that a claim may take, in the order they came due: the fresh, and those that were tried.
    pub(super) fn claimable(&self, probe: bool) -> [Vec<(At, u32)>; 2] {
        let mut found = [Vec::new(), Vec::new()];
        for (number, message) in &self.messages {
            match &message.feedback {
                Feedback::Pending(owed) if owed.is_claimable(self.now) && (probe || !self.paused) => {
                    found[usize::from(owed.tried)].push((owed.due, *number));
                }
                _ => {}
            }
        }
        found.iter_mut().for_each(|due| due.sort_unstable());
        found
    }

    pub(super) fn would_be_poison(&mut self, number: u32) -> bool {
        self.pending(number).is_some_and(|owed| owed.is_poison())
    }

    /// Takes one with a claim, under this lease.
    pub(super) fn claim(&mut self, number: u32, lease: u32) {
        let until = self.now + LEASE;
        self.interrupted(number);
        if let Some(owed) = self.pending(number) {
            owed.lost += u32::from(owed.lease.is_some());
            owed.attempts += 1;
            owed.lease = Some((lease, until));
        }
    }

    pub(super) fn poison(&mut self, number: u32) {
        self.interrupted(number);
        let attempts = self.pending(number).map_or(0, |owed| owed.attempts);
        let message = self.messages.get_mut(&number).unwrap();
        message.feedback = Feedback::Dead { attempts, reason: DeadReason::Poison };
    }

    fn interrupted(&mut self, number: u32) {
        let message = self.messages.get_mut(&number).unwrap();
        if let Feedback::Pending(Owed { lease: Some(_), attempts, .. }) = message.feedback {
            message.record.insert((attempts, "interrupted"));
        }
    }

    fn holds(&mut self, number: u32, lease: u32) -> bool {
        self.pending(number).is_some_and(|owed| owed.lease.is_some_and(|(held, _)| held == lease))
    }

    pub(super) fn give_back(&mut self, number: u32, lease: u32) {
        if self.holds(number, lease)
            && let Some(owed) = self.pending(number)
        {
            (owed.attempts, owed.lease) = (owed.attempts - 1, None);
        }
    }

    pub(super) fn interrupt(&mut self, number: u32, lease: u32) {
        if self.holds(number, lease) {
            self.interrupted(number);
            if let Some(owed) = self.pending(number) {
                owed.lease = None;
            }
        }
    }

    /// Settles several at once: message, lease, number of the attempt, verdict. What each is told: whether it stands, or
    /// is confirmed late.
    pub(super) fn settle(&mut self, told: &[(u32, u32, u32, Verdict)]) -> Vec<(bool, bool)> {
        let held: Vec<bool> = told.iter().map(|(number, lease, ..)| self.holds(*number, *lease)).collect();
        let confirmed: BTreeSet<u32> =
            told.iter().filter(|(.., verdict)| *verdict == Verdict::Confirmed).map(|(number, ..)| *number).collect();
        let mut risen = BTreeSet::new();
        for number in &confirmed {
            let message = self.messages.get_mut(number).unwrap();
            // A success is the truth, whoever brings it.
            let attempts = match message.feedback {
                Feedback::Pending(Owed { attempts, .. }) | Feedback::Dead { attempts, .. } => attempts,
                Feedback::Confirmed { .. } | Feedback::None => continue,
            };
            message.feedback = Feedback::Confirmed { attempts };
            risen.insert(*number);
        }
        let now = self.now;
        for ((number, _, attempt, verdict), held) in told.iter().zip(&held) {
            let message = self.messages.get_mut(number).unwrap();
            message.record.insert((*attempt, verdict.as_str()));
            match (&mut message.feedback, verdict) {
                (Feedback::Pending(owed), Verdict::Retry(retry)) if *held => put_off(owed, *retry, now),
                (Feedback::Pending(Owed { attempts, .. }), Verdict::Dead(reason)) if *held => {
                    message.feedback = Feedback::Dead { attempts: *attempts, reason: *reason };
                }
                _ => {}
            }
        }
        told.iter().zip(held).map(|((number, ..), held)| (held, risen.contains(number))).collect()
    }

    pub(super) fn expire(&mut self) {
        let now = self.now;
        for event in self.events.values_mut() {
            if matches!(event.standing, Standing::Parked { since } if since + PARK_LIMIT <= now) {
                event.standing = Standing::Expired;
            }
        }
    }

    /// Brings all dead letters back. Gives how many there were, and which messages come due when the pace allows it.
    pub(super) fn replay(&mut self) -> (u64, BTreeSet<u32>) {
        let (now, mut number_of, mut paced) = (self.now, 0, BTreeSet::new());
        for (number, message) in &mut self.messages {
            if let Feedback::Dead { attempts, .. } = message.feedback {
                message.feedback = Feedback::Pending(Owed { due: now, tried: true, attempts, ..Owed::default() });
                paced.insert(*number);
                number_of += 1;
            }
        }
        for id in self.events.keys().copied().collect::<Vec<_>>() {
            let Event { told, occurred, standing, .. } = self.events[&id].clone();
            let (Standing::Expired, Told::Event { action, all, .. }) = (standing, told) else { continue };
            let found = self.choose(action, all, occurred);
            for number in &found {
                if self.messages[number].feedback == Feedback::None {
                    self.owe(*number);
                    self.pending(*number).unwrap().tried = true;
                    paced.insert(*number);
                }
            }
            self.events.get_mut(&id).unwrap().standing = match found.is_empty() {
                true => Standing::Parked { since: now },
                false => Standing::Resolved(found),
            };
            number_of += 1;
        }
        (number_of, paced)
    }
}

fn put_off(owed: &mut Owed, retry: Retry, now: At) {
    owed.due = now + i64::try_from(retry.after().as_secs()).unwrap();
    owed.tried = true;
    owed.failures += u32::from(matches!(retry, Retry::Burnt { .. } | Retry::Young { .. }));
    owed.ambiguous += u32::from(matches!(retry, Retry::Ambiguous { .. }));
    owed.failing_since = match retry {
        Retry::Burnt { .. } => owed.failing_since.or(Some(now)),
        _ => None,
    };
    (owed.lost, owed.lease) = (0, None);
}
