//! The callers' ledger: each login that they tell of, and every answer they got.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use serde_json::{Value, json};

use super::http::Told;

/// What callers tell of a login, each part again and again until it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Its action has this message.
    Message,
    /// Its user is done.
    Event,
}

/// How a login is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    MessageFirst,
    EventFirst,
    /// One event that names the message; nobody registers it.
    Exact,
}

/// Logins by number, and what was answered.
#[derive(Default)]
pub(crate) struct Callers {
    book: Mutex<Book>,
}

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) manners: BTreeMap<u32, Manner>,
    pub(crate) answers: BTreeMap<(Part, u32), Vec<Told>>,
}

impl Callers {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no holder panics")
    }

    /// A login that nobody has told of yet.
    pub(crate) fn begin(&self, manner: Manner) -> u32 {
        let mut book = self.book();
        let number = book.manners.keys().next_back().map_or(1, |last| last + 1);
        book.manners.insert(number, manner);
        number
    }

    pub(crate) fn note(&self, part: Part, number: u32, told: Told) {
        self.book().answers.entry((part, number)).or_default().push(told);
    }

    /// Callers do not believe any more that anything was taken. What they were told then is no longer compared (K9): an
    /// event that is gone and told again is another one.
    pub(crate) fn doubt(&self) {
        self.book().answers.values_mut().for_each(|answers| answers.retain(|told| !is_ok(told)));
    }

    pub(crate) fn taken(&self) -> usize {
        self.book().answers.values().filter(|answers| answers.iter().any(is_ok)).count()
    }

    /// Parts of logins that were begun, and that nobody was told are taken.
    pub(crate) fn unsettled(&self) -> Vec<(u32, Manner, Part)> {
        let book = self.book();
        let parts = book
            .manners
            .iter()
            .flat_map(|(number, manner)| parts(*manner).iter().map(|part| (*number, *manner, *part)));
        let taken = |(number, _, part): &(u32, Manner, Part)| {
            book.answers.get(&(*part, *number)).is_some_and(|answers| answers.iter().any(is_ok))
        };
        parts.filter(|part| !taken(part)).collect()
    }
}

impl Book {
    /// Numbers whose part was acknowledged.
    pub(crate) fn acknowledged(&self, part: Part) -> BTreeSet<u32> {
        let acknowledged = |((of, number), answers): (&(Part, u32), &Vec<Told>)| {
            (*of == part && answers.iter().any(is_ok)).then_some(*number)
        };
        self.answers.iter().filter_map(acknowledged).collect()
    }

    /// Numbers whose part was sent, whatever was answered.
    pub(crate) fn attempted(&self, part: Part) -> BTreeSet<u32> {
        self.answers.keys().filter(|(of, _)| *of == part).map(|(_, number)| *number).collect()
    }

    /// Statuses other than 2xx, and how often each was answered.
    pub(crate) fn refusals(&self) -> BTreeMap<u16, usize> {
        let mut refusals = BTreeMap::new();
        for told in self.answers.values().flatten() {
            if let Told::No(status) = told {
                *refusals.entry(*status).or_default() += 1;
            }
        }
        refusals
    }
}

pub(crate) fn is_ok(told: &Told) -> bool {
    matches!(told, Told::Ok(_))
}

/// The parts of a login, in the order they are told.
pub(crate) fn parts(manner: Manner) -> &'static [Part] {
    match manner {
        Manner::MessageFirst => &[Part::Message, Part::Event],
        Manner::EventFirst => &[Part::Event, Part::Message],
        Manner::Exact => &[Part::Event],
    }
}

/// Where a part is told, and what is said.
pub(crate) fn request(number: u32, manner: Manner, part: Part) -> (&'static str, Value) {
    let (action, event, message) = (action_of(number), event_of(number), sid(number));
    match (part, manner) {
        (Part::Message, _) => {
            ("/v1/messages", json!({"action_id": action, "message_sid": message, "account_sid": ACCOUNT}))
        }
        (Part::Event, Manner::Exact) => {
            ("/v1/events", json!({"event_id": event, "type": "otp.completed", "message_sid": message}))
        }
        (Part::Event, _) => ("/v1/events", json!({"event_id": event, "type": "otp.completed", "action_id": action})),
    }
}

pub(crate) const ACCOUNT: &str = "AC00000000000000000000000000000001";

pub(crate) fn sid(number: u32) -> String {
    format!("SM{number:032x}")
}

pub(crate) fn action_of(number: u32) -> String {
    format!("login-{number}")
}

pub(crate) fn event_of(number: u32) -> String {
    format!("event-{number}")
}

/// The login that an event or a message belongs to.
pub(crate) fn number_of_event(event_id: &str) -> Option<u32> {
    event_id.strip_prefix("event-")?.parse().ok()
}

pub(crate) fn number_of_sid(sid: &str) -> Option<u32> {
    u32::from_str_radix(sid.strip_prefix("SM")?, 16).ok()
}
