//! What two configurations differ in, key by key; and which of the keys may change while confirmd runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use config::{Map, Value, ValueKind};
use sha2::{Digest, Sha256};

/// What each key says, as a digest: enough to see that it changed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, [u8; 32]>);

impl fmt::Debug for Keys {
    /// Their names alone: a short secret can be found out by its digest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Keys {
    pub(super) fn of(tree: &Map<String, Value>) -> Self {
        let mut keys = Self::default();
        tree.iter().for_each(|(key, value)| keys.add(key.clone(), value));
        keys
    }

    /// What stands in a file of its own may change while the name of the file does not.
    pub(super) fn set(&mut self, path: &str, value: &str) {
        self.0.insert(path.to_owned(), Sha256::digest(value).into());
    }

    fn add(&mut self, path: String, value: &Value) {
        match &value.kind {
            ValueKind::Table(table) => table.iter().for_each(|(key, value)| self.add(format!("{path}.{key}"), value)),
            ValueKind::Array(values) if values.iter().any(|value| matches!(value.kind, ValueKind::Table(_))) => {
                (0..).zip(values).for_each(|(at, value): (u32, _)| self.add(format!("{path}[{at}]"), value));
            }
            scalar => self.set(&path, &format!("{scalar:?}")),
        }
    }

    /// The keys that say something else in the other one, or are only in one of the two.
    pub fn differences(&self, other: &Self) -> BTreeSet<String> {
        let both = self.0.keys().chain(other.0.keys());
        both.filter(|key| self.0.get(*key) != other.0.get(*key)).cloned().collect()
    }

    /// These keys as the other one has them.
    pub fn take(&mut self, keys: &BTreeSet<String>, other: &Self) {
        for key in keys {
            match other.0.get(key) {
                Some(value) => self.0.insert(key.clone(), *value),
                None => self.0.remove(key),
            };
        }
    }
}

/// Keys of an account that may change while it is delivered for.
const OF_AN_ACCOUNT: [&str; 8] = [
    "auth_token",
    "auth_token_file",
    "api_key",
    "api_secret",
    "api_secret_file",
    "second",
    "max_concurrency",
    "yield_above",
];

/// Whether a key may change while confirmd runs.
pub fn is_live(path: &str) -> bool {
    let of_an_account = || {
        let (_, key) = path.strip_prefix("accounts[")?.split_once("].")?;
        let key = key.split('.').next()?;
        Some(OF_AN_ACCOUNT.contains(&key))
    };
    path == "log.filter" || path.starts_with("callers[") || of_an_account().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{environment, least};
    use super::super::{Config, Role};
    use super::*;

    fn keys(file: &str) -> Keys {
        Config::from_layers(Some(("confirmd.toml", file)), &environment([]), Role::All).unwrap().keys
    }

    #[test]
    fn each_key_that_changed_is_named_and_nothing_of_what_it_says() {
        let before = keys(&least());
        assert_eq!(before.differences(&keys(&least())), BTreeSet::new());
        let after = keys(&format!("{}max_concurrency = 7\n[intake]\nwriters = 3\n[log]\nfilter = \"warn\"", least()));
        let named: Vec<String> = before.differences(&after).into_iter().collect();
        assert_eq!(named, ["accounts[0].max_concurrency", "intake.writers", "log.filter"]);
        assert_eq!(after.differences(&before).len(), 3, "either way");
        assert!(!format!("{after:?}").contains("warn"));
    }

    #[test]
    fn what_was_taken_over_is_not_named_again() {
        let (mut before, after) =
            (keys(&least()), keys(&format!("{}max_concurrency = 7\n[intake]\nwriters = 3", least())));
        before.take(&BTreeSet::from(["accounts[0].max_concurrency".to_owned()]), &after);
        assert_eq!(before.differences(&after), BTreeSet::from(["intake.writers".to_owned()]));
    }

    #[test]
    fn only_tokens_credentials_limits_and_the_log_may_change_while_it_runs() {
        for live in ["log.filter", "callers[3].tokens_sha256", "accounts[0].auth_token", "accounts[1].second.api_key"] {
            assert!(is_live(live), "{live}");
        }
        for fixed in
            ["log.format", "accounts[0].region", "accounts[0].account_sid", "server.listen", "accounts", "callers"]
        {
            assert!(!is_live(fixed), "{fixed}");
        }
    }
}
