//! What tells the same event from another one under the same key.

use sha2::{Digest, Sha256};

use crate::domain::{Event, Target};

/// SHA-256 over what the caller said, member by member, each with its length before it.
///
/// It is taken of the parsed event: spaces and the order of members in its JSON do not make it another one.
pub(super) fn fingerprint(event: &Event) -> [u8; 32] {
    let occurred_at = event.occurred_at.map(|at| at.timestamp_micros().to_string());
    let (what, action_id, message_sid, account_sid) = match &event.target {
        Target::Action { action_id, resolve } => (resolve.as_str(), Some(action_id.as_str()), None, None),
        Target::Message { message_sid, account_sid, action_id } => (
            "exact",
            action_id.as_ref().map(|action| action.as_str()),
            Some(message_sid.as_str()),
            Some(account_sid.as_str()),
        ),
    };
    let mut hash = Sha256::new();
    for member in [Some(what), action_id, message_sid, account_sid, occurred_at.as_deref()] {
        match member {
            None => hash.update([0]),
            Some(text) => {
                hash.update([1]);
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text);
            }
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventKey, Resolve};

    fn event(action: &str, occurred_at: Option<i64>, resolve: Resolve) -> Event {
        Event {
            key: EventKey {
                namespace: "default".to_owned().try_into().unwrap(),
                event_id: "e".to_owned().try_into().unwrap(),
            },
            target: Target::Action { action_id: action.to_owned().try_into().unwrap(), resolve },
            occurred_at: occurred_at.map(|at| chrono::DateTime::from_timestamp(at, 0).unwrap()),
        }
    }

    #[test]
    fn each_member_counts_and_nothing_runs_together() {
        let told = [
            event("a", None, Resolve::Latest),
            event("b", None, Resolve::Latest),
            event("a", Some(1), Resolve::Latest),
            event("a1", None, Resolve::Latest),
            event("a", None, Resolve::All),
        ];
        for (i, one) in told.iter().enumerate() {
            for (j, other) in told.iter().enumerate() {
                assert_eq!(fingerprint(one) == fingerprint(other), i == j, "{one:?} {other:?}");
            }
        }
    }
}
