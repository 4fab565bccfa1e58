//! Compares the three ledgers: the callers' C, the database's D, Twilio's T. Each law has a number and a name.

use std::collections::{BTreeMap, BTreeSet};

use super::callers::{ACCOUNT, Book, Part, event_of, is_ok, number_of_event, number_of_sid, sid};
use super::database::Database;
use super::witness::Heard;

/// The laws, and what it is called when one is broken.
pub(crate) const LAWS: [(&str, &str, &str); 11] = [
    ("K1", "lost", "whatever a caller was told is taken stands in the database"),
    ("K2", "invented", "whatever stands in the database was sent by a caller"),
    ("K3", "unsettled", "what a caller cannot know is settled by sending it again, and stands in the database once"),
    (
        "K4",
        "falsely confirmed",
        "what the database calls confirmed, Twilio answered with a whole 2xx about that message",
    ),
    (
        "K5",
        "unrecorded send",
        "Twilio never heard more requests for a message than the database has attempts on record",
    ),
    (
        "K6",
        "unexplained duplicate",
        "each further request for a message follows an attempt on record that ended ambiguous, interrupted or refused for now",
    ),
    (
        "K7",
        "rogue send",
        "each request is the one that is owed: its message, method, path, body and credentials, and not before the message was registered",
    ),
    (
        "K8",
        "stuck",
        "when all is well again and the queue is drained, nothing is pending, and nothing is parked whose message is known",
    ),
    ("K9", "split answer", "all answers to one event are the same"),
    ("K10", "law broken", "the conservation law of `confirmd audit` holds in every snapshot taken meanwhile"),
    ("K11", "lost success", "what Twilio has confirmed to us does not end as given up"),
];

/// What was found against each law.
#[derive(Default)]
pub(crate) struct Breaches(BTreeMap<&'static str, Vec<String>>);

impl Breaches {
    pub(crate) fn add(&mut self, law: &'static str, what: impl Into<String>) {
        self.0.entry(law).or_default().push(what.into());
    }

    pub(crate) fn laws(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }

    pub(crate) fn count(&self, law: &str) -> usize {
        self.0.get(law).map_or(0, Vec::len)
    }

    /// One line a law, with a few of its cases.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |(law, cases): (&&'static str, &Vec<String>)| {
            let name = LAWS.iter().find(|(id, ..)| id == law).map_or("", |(_, name, _)| name);
            let some: Vec<&str> = cases.iter().take(4).map(String::as_str).collect();
            format!("{law} {name}: {} ({})", cases.len(), some.join("; "))
        };
        self.0.iter().map(line).collect()
    }
}

pub(crate) struct Ledgers<'a> {
    pub(crate) callers: &'a Book,
    pub(crate) database: &'a Database,
    pub(crate) twilio: &'a [Heard],
}

impl Ledgers<'_> {
    /// Everything but K10, which is sampled.
    pub(crate) fn compare(&self, found: &mut Breaches) {
        self.nothing_is_lost_or_invented(found);
        self.answers_agree(found);
        self.requests_are_owed(found);
        self.requests_are_explained(found);
        self.all_has_ended(found);
    }

    fn nothing_is_lost_or_invented(&self, found: &mut Breaches) {
        let Self { callers, database, .. } = self;
        let events: BTreeSet<u32> = database.events.keys().filter_map(|id| number_of_event(id)).collect();
        let messages: BTreeSet<u32> = database.messages.keys().filter_map(|sid| number_of_sid(sid)).collect();
        let (told, sent) = (callers.acknowledged(Part::Event), callers.attempted(Part::Event));
        told.difference(&events).for_each(|number| found.add("K1", event_of(*number)));
        events.difference(&sent).for_each(|number| found.add("K2", event_of(*number)));
        sent.difference(&events).for_each(|number| found.add("K3", event_of(*number)));
        sent.difference(&told).for_each(|number| found.add("K3", format!("{} without an answer", event_of(*number))));
        let (told, mut sent) = (callers.acknowledged(Part::Message), callers.attempted(Part::Message));
        told.difference(&messages).for_each(|number| found.add("K1", sid(*number)));
        sent.difference(&messages).for_each(|number| found.add("K3", sid(*number)));
        // An event may name its message itself.
        sent.extend(callers.attempted(Part::Event));
        messages.difference(&sent).for_each(|number| found.add("K2", sid(*number)));
    }

    fn answers_agree(&self, found: &mut Breaches) {
        for ((part, number), answers) in &self.callers.answers {
            let mut taken = answers.iter().filter(|told| is_ok(told));
            let first = taken.next();
            if *part == Part::Event && taken.any(|told| Some(told) != first) {
                found.add("K9", event_of(*number));
            }
        }
    }

    fn requests_are_owed(&self, found: &mut Breaches) {
        for heard in self.twilio {
            let registered = heard.message_sid.as_ref().and_then(|sid| self.database.messages.get(sid));
            let path = heard
                .message_sid
                .as_ref()
                .map(|sid| format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}/Feedback.json"));
            // Credentials may be refused for a while; but no row lets a request go without any.
            let is_owed = heard.method == "POST"
                && path.as_ref() == Some(&heard.path)
                && heard.body == "Outcome=confirmed"
                && heard.content_type == "application/x-www-form-urlencoded"
                && registered.is_some_and(|at| *at <= heard.at);
            if !is_owed {
                found.add("K7", format!("{} {} {:?}", heard.method, heard.path, heard.body));
            }
        }
    }

    fn requests_are_explained(&self, found: &mut Breaches) {
        let mut by_message: BTreeMap<&str, Vec<&Heard>> = BTreeMap::new();
        for heard in self.twilio {
            by_message.entry(heard.message_sid.as_deref().unwrap_or_default()).or_default().push(heard);
        }
        for (sid, requests) in &by_message {
            let on_record = self.database.attempts_of(sid);
            if on_record < u32::try_from(requests.len()).unwrap_or(u32::MAX) {
                found.add("K5", format!("{sid}: {} requests, {on_record} attempts", requests.len()));
            }
            let none = Vec::new();
            let attempts = self.database.attempts.get(*sid).unwrap_or(&none);
            let reasons: BTreeSet<u32> = attempts
                .iter()
                .filter(|attempt| matches!(attempt.verdict.as_str(), "retry" | "interrupted"))
                .map(|attempt| attempt.number)
                .collect();
            let unknown: BTreeSet<u32> = attempts
                .iter()
                .filter(|attempt| {
                    attempt.verdict == "interrupted"
                        || matches!(attempt.class.as_deref(), Some("ambiguous" | "transient"))
                })
                .map(|attempt| attempt.number)
                .collect();
            let confirmed = requests.iter().filter(|heard| heard.is_confirmed()).count();
            if reasons.len() + 1 < requests.len() || unknown.len() + 1 < confirmed {
                found.add("K6", format!("{sid}: {} requests, {} reasons", requests.len(), reasons.len()));
            }
            if confirmed > 0 && self.database.dead.contains_key(*sid) {
                found.add("K11", (*sid).to_owned());
            }
        }
        for sid in self.database.confirmed.keys() {
            let asked = by_message.get(sid.as_str());
            if !asked.is_some_and(|requests| requests.iter().any(|heard| heard.is_confirmed())) {
                found.add("K4", sid.clone());
            }
        }
    }

    fn all_has_ended(&self, found: &mut Breaches) {
        let Database { events, messages, parked, pending, confirmed, dead, .. } = self.database;
        pending.keys().for_each(|sid| found.add("K8", format!("{sid} is pending")));
        for event_id in parked {
            let number = number_of_event(event_id).unwrap_or_default();
            if messages.contains_key(&sid(number)) {
                found.add("K8", format!("{event_id} is parked, and its message is known"));
            }
        }
        for (event_id, event) in events.iter().filter(|(id, _)| !parked.contains(*id)) {
            let ended = |sid: &String| confirmed.contains_key(sid) || dead.contains_key(sid);
            if event.sids.is_empty() || !event.sids.iter().all(ended) {
                found.add("K8", format!("{event_id} ({}) has not ended", event.state));
            }
        }
        for (sid, (reason, _)) in dead {
            if !self.explains(sid, reason) {
                found.add("K8", format!("{sid} was given up as {reason}, which nothing explains"));
            }
        }
    }

    /// Whether Twilio said what this reason needs.
    fn explains(&self, sid: &str, reason: &str) -> bool {
        let said = |range: std::ops::RangeInclusive<u16>| {
            let of_message = self.twilio.iter().filter(|heard| heard.message_sid.as_deref() == Some(sid));
            of_message
                .filter_map(|heard| heard.said)
                .filter(|said| range.contains(&said.status) && !said.agrees)
                .count()
        };
        match reason {
            "rejected" => 0 < said(400..=499),
            "message_not_found" => 0 < said(404..=404),
            "unverifiable" => 5 < said(0..=299),
            "gave_up" => 0 < said(500..=599),
            "poison" => self
                .database
                .attempts
                .get(sid)
                .is_some_and(|attempts| attempts.iter().any(|attempt| attempt.verdict == "interrupted")),
            _ => false,
        }
    }
}

/// What can be said before all has ended: nothing was sent that is not on record.
pub(crate) fn sends_are_on_record(twilio: &[Heard], database: &Database, found: &mut Breaches) {
    let mut requests: BTreeMap<&str, u32> = BTreeMap::new();
    for heard in twilio {
        *requests.entry(heard.message_sid.as_deref().unwrap_or_default()).or_default() += 1;
    }
    for (sid, requests) in requests {
        if database.attempts_of(sid) < requests {
            found.add("K5", format!("{sid}: {requests} requests so far"));
        }
    }
}
