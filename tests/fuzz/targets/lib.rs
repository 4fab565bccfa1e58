//! What the targets have in common: a counter to hand things over, and what must hold of whatever it takes.

use std::sync::LazyLock;

use confirmd::domain::{AccountSid, ActionId, CallerName, Event, EventId, Label, MessageSid, Namespace, Scope, Target};
use confirmd::intake::{CallerOptions, counter::Counter};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const TOKEN: &str = "open-sesame";
const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";

/// One caller, one account: what most have.
pub static COUNTER: LazyLock<Counter> = LazyLock::new(|| {
    let caller = CallerOptions {
        name: word::<CallerName>("login"),
        namespace: word::<Namespace>("default"),
        scopes: vec![Scope::Ingest],
        token_digests: vec![Sha256::digest(TOKEN).into()],
    };
    Counter::new(vec![caller], vec![word(ACCOUNT)], word("default"))
});

fn word<T: TryFrom<String>>(text: &str) -> T {
    T::try_from(text.to_owned()).ok().expect("it is well-formed")
}

pub fn words() -> (AccountSid, MessageSid) {
    (word(ACCOUNT), word("SM0123456789abcdef0123456789abcdef"))
}

/// The bytes before the first line break as a header's value, where they can be one, and what comes after it.
pub fn header_and_rest(data: &[u8]) -> (Option<HeaderValue>, &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (HeaderValue::from_bytes(&data[..end]).ok(), &data[end + 1..]),
        None => (None, data),
    }
}

pub fn headers(name: HeaderName, value: Option<HeaderValue>) -> HeaderMap {
    value.into_iter().map(|value| (name.clone(), value)).collect()
}

/// A problem is one that its caller can act on: 400 for the form, 413 for the size, 422 for the content, and then with
/// its faults, each of which has one place.
pub fn is_a_problem(told: &str) {
    let problem: Value = serde_json::from_str(told).expect("a problem is JSON");
    let status = problem["status"].as_u64().expect("a problem has a status");
    let faults = problem["errors"].as_array().map_or(0, Vec::len);
    assert!(matches!((status, faults), (400 | 413, 0) | (422, 1..=100)), "{told}");
    for fault in problem["errors"].as_array().into_iter().flatten() {
        let places = ["pointer", "header", "parameter"].iter().filter(|place| fault.get(**place).is_some()).count();
        assert_eq!(places, 1, "{told}");
        if let Some(pointer) = fault["pointer"].as_str() {
            assert!(pointer.is_empty() || pointer.starts_with('/'), "{told}");
        }
    }
}

/// Holds no more than an id may, and nothing that somebody could be called or written to by.
pub fn is_an_id(id: &str) {
    assert!((1..=200).contains(&id.len()) && id.bytes().all(|byte| (b'!'..=b'~').contains(&byte)), "{id:?}");
    is_impersonal(id);
}

pub fn is_a_label(label: &str) {
    assert!((1..=64).contains(&label.chars().count()) && !label.chars().any(char::is_control), "{label:?}");
    is_impersonal(label);
}

/// Written apart from the parser's own rule, and on purpose not as it is: what is left of a number when all that people
/// put between digits is taken away.
fn is_impersonal(text: &str) {
    let bare: String = text.chars().filter(|char| !" -._()/".contains(*char)).collect();
    for after in bare.split('+').skip(1) {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        assert!(digits < 7, "{text:?} holds a phone number");
    }
    for (at, _) in text.match_indices('@') {
        let (before, after) = (text[..at].chars().next_back(), &text[at + 1..]);
        let host: String = after.chars().take_while(|char| char.is_ascii_alphanumeric() || ".-".contains(*char)).collect();
        let dotted = host.trim_matches('.').contains('.');
        let named = before.is_some_and(|char| char.is_ascii_alphanumeric());
        assert!(!(dotted && named), "{text:?} holds an e-mail address");
    }
}

/// What was taken can be stored, and said again, it is taken as the same.
pub fn is_an_event(event: &Event) {
    is_an_id(event.key.event_id.as_str());
    let mut again = json!({"event_id": event.key.event_id});
    match &event.target {
        Target::Action { action_id, resolve } => {
            again["action_id"] = json!(action_id);
            again["resolve"] = json!(resolve.as_str());
        }
        Target::Message { message_sid, account_sid, action_id } => {
            again["message_sid"] = json!(message_sid);
            again["account_sid"] = json!(account_sid);
            again["action_id"] = json!(action_id);
        }
    }
    if let Some(action_id) = event.target.action_id() {
        is_an_id(action_id.as_str());
    }
    again["occurred_at"] = json!(event.occurred_at.map(|at| at.to_rfc3339()));
    assert_eq!(COUNTER.event(&again.to_string(), &HeaderMap::new()).as_ref(), Ok(event));
}

/// The three kinds of text that callers choose.
pub fn is_read_as_it_stands(text: &str) {
    if let Ok(id) = ActionId::try_from(text.to_owned()) {
        is_an_id(text);
        assert_eq!(id.as_str(), text);
    }
    assert_eq!(ActionId::try_from(text.to_owned()).is_ok(), EventId::try_from(text.to_owned()).is_ok());
    if let Ok(label) = Label::try_from(text.to_owned()) {
        is_a_label(text);
        assert_eq!(label.as_str(), text);
    }
}
