//! Reads the tree of all layers key by key, and remembers which keys were asked for: the others are unknown.
//!
//! Reading goes on after a fault, so that an operator sees all of them at once. What stands in for a faulty value is
//! never used: a configuration with a fault is not built.

use std::{cell::RefCell, fmt, ops::RangeInclusive, time::Duration};

use config::{Map, Value, ValueKind};
use secrecy::SecretString;

use super::fault::{Findings, NO_KEY, written};
use super::secret;
use crate::domain::Malformed;

/// One table of the tree. When it is dropped, its unknown keys are faults.
pub(super) struct Table<'a> {
    /// `delivery`, `accounts[1]`; empty for the root.
    path: String,
    /// None where something else stands in its place, which is a fault already.
    values: Option<&'a Map<String, Value>>,
    asked: RefCell<Vec<&'static str>>,
    pub(super) findings: &'a Findings,
}

/// A text, and where it came from.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) text: &'a str,
    pub(super) from_environment: bool,
}

/// A secret, and where it came from. Empty where it is faulty.
pub(super) struct Secret {
    /// Its own, or that of its file.
    pub(super) key: &'static str,
    pub(super) value: SecretString,
    pub(super) from_environment: bool,
}

impl<'a> Table<'a> {
    pub(super) fn root(values: &'a Map<String, Value>, findings: &'a Findings) -> Self {
        Self { path: String::new(), values: Some(values), asked: RefCell::default(), findings }
    }

    fn at(path: String, value: Option<&'a Value>, findings: &'a Findings) -> Self {
        let values = match value.map(|value| &value.kind) {
            Some(ValueKind::Table(values)) => Some(values),
            Some(_) => {
                findings.fault(&path, "must be a table with keys of its own");
                None
            }
            None => None,
        };
        Self { path, values, asked: RefCell::default(), findings }
    }

    /// `delivery.lease` of `lease`.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn fault(&self, key: &str, problem: impl Into<String>) {
        self.findings.fault(&self.path(key), problem);
    }

    pub(super) fn table(&self, key: &'static str) -> Table<'a> {
        Self::at(self.path(key), self.get(key, ""), self.findings)
    }

    /// A table that may be left out.
    pub(super) fn optional_table(&self, key: &'static str) -> Option<Table<'a>> {
        self.get(key, "").map(|value| Self::at(self.path(key), Some(value), self.findings))
    }

    /// `[[key]]`, none of them if it is left out.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Table<'a>> {
        match self.get(key, "").map(|value| &value.kind) {
            None => Vec::new(),
            Some(ValueKind::Array(values)) => values
                .iter()
                .enumerate()
                .map(|(index, value)| Self::at(format!("{}[{index}]", self.path(key)), Some(value), self.findings))
                .collect(),
            Some(_) => {
                self.fault(key, format!("must be a list of tables: [[{key}]]"));
                Vec::new()
            }
        }
    }

    pub(super) fn duration(&self, key: &'static str, bounds: RangeInclusive<Duration>) -> Duration {
        let range = format!("{} to {}", Shown(*bounds.start()), Shown(*bounds.end()));
        let value = self.get(key, &range).map(|value| match &value.kind {
            ValueKind::String(text) => humantime::parse_duration(text).ok().filter(|time| bounds.contains(time)),
            _ => None,
        });
        let problem = || format!("must be a time from {range}, as in \"1500ms\", \"10s\", \"5m\" or \"7d\"");
        self.known(key, value, *bounds.start(), problem)
    }

    pub(super) fn number(&self, key: &'static str, bounds: RangeInclusive<u32>) -> u32 {
        self.number_or(key, bounds, None)
    }

    /// A number of a table that the defaults do not hold, because there may be many of it.
    pub(super) fn number_or(&self, key: &'static str, bounds: RangeInclusive<u32>, default: Option<u32>) -> u32 {
        let range = format!("{} to {}", bounds.start(), bounds.end());
        let value = self.get(key, &range).map(|value| {
            let number = match &value.kind {
                ValueKind::I64(number) => u32::try_from(*number).ok(),
                ValueKind::String(text) if value.origin().is_some() => text.parse().ok(),
                _ => None,
            };
            number.filter(|number| bounds.contains(number))
        });
        match (value, default) {
            (None, Some(default)) => default,
            (value, _) => self.known(key, value, *bounds.start(), || format!("must be a whole number from {range}")),
        }
    }

    pub(super) fn flag(&self, key: &'static str) -> bool {
        self.flag_if_any(key, None)
    }

    /// A flag of a table that the defaults do not hold, because there may be many of it.
    pub(super) fn flag_or(&self, key: &'static str, default: bool) -> bool {
        self.flag_if_any(key, Some(default))
    }

    fn flag_if_any(&self, key: &'static str, default: Option<bool>) -> bool {
        let value = self.get(key, "").map(|value| match &value.kind {
            ValueKind::Boolean(flag) => Some(*flag),
            ValueKind::String(text) if value.origin().is_some() => text.parse().ok(),
            _ => None,
        });
        match (value, default) {
            (None, Some(default)) => default,
            (value, _) => self.known(key, value, false, || "must be true or false".to_owned()),
        }
    }

    /// A text, if there is one.
    pub(super) fn text(&self, key: &'static str) -> Option<Given<'a>> {
        let value = self.get(key, "")?;
        let from_environment = value.origin().is_some();
        match &value.kind {
            ValueKind::String(text) if text.is_empty() => {
                self.fault(key, "is empty: give a value, or leave it out");
                None
            }
            ValueKind::String(text) => Some(Given { text, from_environment }),
            _ => {
                self.fault(key, "must be a text, in quotes");
                None
            }
        }
    }

    /// A text that is parsed into what it means, if there is one.
    pub(super) fn optional<T: TryFrom<String, Error = Malformed>>(&self, key: &'static str) -> Option<T> {
        let given = self.text(key)?;
        T::try_from(given.text.to_owned()).map_err(|fault| self.fault(key, fault.to_string())).ok()
    }

    /// A text that is parsed into what it means, and has no default.
    pub(super) fn required<T: TryFrom<String, Error = Malformed>>(&self, key: &'static str) -> Option<T> {
        if self.lacks(key) {
            self.get(key, "");
            self.fault(key, "is missing");
        }
        self.optional(key)
    }

    /// Texts; in the environment with commas between them.
    pub(super) fn list(&self, key: &'static str) -> Option<Vec<&'a str>> {
        let value = self.get(key, "")?;
        let texts: Option<Vec<_>> = match &value.kind {
            ValueKind::Array(values) => values
                .iter()
                .map(|value| match &value.kind {
                    ValueKind::String(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
            ValueKind::String(text) if value.origin().is_some() => Some(text.split(',').map(str::trim).collect()),
            _ => None,
        };
        if texts.is_none() {
            self.fault(key, "must be a list of texts: [\"…\", \"…\"]");
        }
        texts
    }

    /// A secret, or the file that holds it, if there is one of them. The environment's wins over the file's.
    pub(super) fn secret(&self, key: &'static str, file_key: &'static str) -> Option<Secret> {
        let nothing = SecretString::default();
        let (given, file) = match (self.text(key), self.text(file_key)) {
            (Some(given), Some(file)) if given.from_environment == file.from_environment => {
                let other = self.findings.name(&self.path(key));
                self.fault(file_key, format!("is given beside {other}: keep one of the two"));
                return Some(Secret { key, value: nothing, from_environment: file.from_environment });
            }
            (Some(given), Some(_)) if given.from_environment => (Some(given), None),
            (_, Some(file)) => (None, Some(file)),
            (given, None) => (given, None),
        };
        let (key, given, value) = match (given, file) {
            (_, Some(file)) => (file_key, file, secret::from_file(file.text)),
            (Some(given), None) => (key, given, secret::from_text(given.text)),
            (None, None) => return None,
        };
        let value = value.unwrap_or_else(|problem| {
            self.fault(key, problem);
            nothing
        });
        Some(Secret { key, value, from_environment: given.from_environment })
    }

    /// Whether a table that is there leaves this key out.
    pub(super) fn lacks(&self, key: &str) -> bool {
        self.values.is_some_and(|values| values.get(key).is_none_or(|value| value.kind == ValueKind::Nil))
    }

    fn get(&self, key: &'static str, bounds: &str) -> Option<&'a Value> {
        self.asked.borrow_mut().push(key);
        let value = self.values.and_then(|values| values.get(key)).filter(|value| value.kind != ValueKind::Nil);
        self.findings.asked(&self.path(key), value.and_then(Value::origin), bounds);
        value
    }

    /// The value, unless it is a fault or missing.
    fn known<T>(&self, key: &str, value: Option<Option<T>>, stand_in: T, problem: impl FnOnce() -> String) -> T {
        match value {
            Some(Some(value)) => return value,
            Some(None) => self.fault(key, problem()),
            None if self.values.is_some() => self.fault(key, format!("is missing: {}", problem())),
            None => {}
        }
        stand_in
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        let asked = self.asked.borrow();
        let mut unknown: Vec<_> =
            self.values.into_iter().flatten().filter(|(key, _)| !asked.contains(&key.as_str())).collect();
        unknown.sort_by_key(|(key, _)| *key);
        for (key, _) in unknown {
            self.fault(&written(key), NO_KEY);
        }
    }
}

/// A duration in the largest unit that it is a whole number of.
struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        match self.0.as_millis() {
            0 => f.write_str("0s"),
            millis => match UNITS.iter().find(|(unit, _)| millis % unit == 0) {
                Some((unit, name)) => write!(f, "{}{name}", millis / unit),
                None => write!(f, "{millis}ms"),
            },
        }
    }
}
