//! What is wrong with a configuration: every fault, each under the name that the operator gave the key.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A configuration that makes no sense, and everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one.
    pub faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// As the operator wrote it: `accounts[1].edge`, or the name of an environment variable.
    pub key: String,
    /// What would be right. Never what was given: it may be a secret, or one in the wrong place.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

impl fmt::Display for ConfigError {
    /// A line for each fault.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.faults.iter().map(Fault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl ConfigError {
    pub(super) fn one(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { faults: vec![Fault { key: key.into(), problem: problem.into() }] }
    }
}

/// What is wrong with a key that somebody made up.
pub(super) const NO_KEY: &str = "is no key of confirmd: see deploy/confirmd.toml for all of them";

/// Somebody's key as TOML has it: bare, or in quotes, for it may be empty, or anything that ends in a terminal.
///
/// <https://toml.io/en/v1.0.0#keys>
pub(super) fn written(key: &str) -> Cow<'_, str> {
    if is_bare(key) { Cow::Borrowed(key) } else { Cow::Owned(format!("{key:?}")) }
}

/// Whether it needs no quotes. All of ours are such.
pub(super) fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-'))
}

/// What was found while reading. Keys go by their path, `accounts[1].edge`, whatever layer they came from.
#[derive(Default)]
pub(super) struct Findings {
    faults: RefCell<Vec<Fault>>,
    /// Paths of keys that have a fault.
    unsound: RefCell<BTreeSet<String>>,
    /// Every key that was asked for, present or not.
    asked: RefCell<BTreeMap<String, Asked>>,
}

/// What the reader knows about a key.
#[derive(Clone)]
pub(super) struct Asked {
    /// The environment variable that it came from.
    variable: Option<String>,
    /// What it may be, in the words of the annotated defaults.
    #[cfg_attr(not(test), expect(dead_code, reason = "the annotated defaults are checked against it"))]
    pub(super) bounds: String,
}

impl Findings {
    pub(super) fn asked(&self, path: &str, variable: Option<&str>, bounds: &str) {
        let asked = Asked { variable: variable.map(str::to_owned), bounds: bounds.to_owned() };
        self.asked.borrow_mut().insert(path.to_owned(), asked);
    }

    pub(super) fn fault(&self, path: &str, problem: impl Into<String>) {
        self.unsound.borrow_mut().insert(path.to_owned());
        self.fault_named(self.name(path), problem);
    }

    /// A fault of something that has no path in the tree. A name that is not one of ours comes fit for a terminal.
    pub(super) fn fault_named(&self, key: impl Into<String>, problem: impl Into<String>) {
        self.faults.borrow_mut().push(Fault { key: key.into(), problem: problem.into() });
    }

    /// A rule between keys, of which the first is to blame. One that has a fault of its own breaks no rule as well.
    pub(super) fn rule(&self, paths: &[&str], holds: bool, problem: impl Into<String>) {
        let sound = !paths.iter().any(|path| self.unsound.borrow().contains(*path));
        if let (false, true, Some(first)) = (holds, sound, paths.first()) {
            self.fault(first, problem);
        }
    }

    /// What the operator called it.
    pub(super) fn name(&self, path: &str) -> String {
        let asked = self.asked.borrow();
        asked.get(path).and_then(|asked| asked.variable.clone()).unwrap_or_else(|| path.to_owned())
    }

    pub(super) fn into_result<T>(self, config: T) -> Result<T, ConfigError> {
        let faults = self.faults.into_inner();
        if faults.is_empty() { Ok(config) } else { Err(ConfigError { faults }) }
    }

    #[cfg(test)]
    pub(super) fn all_asked(&self) -> BTreeMap<String, Asked> {
        self.asked.borrow().clone()
    }
}
