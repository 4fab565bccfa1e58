//! Names that callers and operators choose: ids, labels, namespaces.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Malformed, personal::personal_data};

/// Longest id, in characters.
const LONGEST_ID: usize = 200;
/// Longest label, in characters.
const LONGEST_LABEL: usize = 64;
/// Longest name in the configuration, in characters.
const LONGEST_NAME: usize = 64;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl TryFrom<String> for $name {
            type Error = Malformed;

            fn try_from(text: String) -> Result<Self, Malformed> {
                $check(&text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A caller's own opaque id of what the user was asked to do. Unique within the caller's namespace.
    ActionId,
    id
);
name!(
    /// An event's idempotency key. Unique within the caller's namespace.
    EventId,
    id
);
name!(
    /// A value that a message is labelled with, for reports.
    Label,
    label
);
name!(
    /// What scopes the ids of a caller. Several callers may share one.
    Namespace,
    configured
);
name!(
    /// The name of a calling service, as logs show it.
    CallerName,
    configured
);
name!(
    /// The name of a lane in metrics and logs, where its account SID must not stand.
    LaneName,
    configured
);

name!(
    /// The name of whoever operates: a caller's, or a user's of the machine that a command ran on.
    ActorName,
    configured
);

impl From<&CallerName> for ActorName {
    fn from(CallerName(name): &CallerName) -> Self {
        Self(name.clone())
    }
}

impl ActorName {
    pub(super) fn process() -> Self {
        Self("confirmd".to_owned())
    }
}

impl LaneName {
    /// Stands for accounts that have work and are not configured here.
    pub fn unconfigured() -> Self {
        Self("unconfigured".to_owned())
    }
}

/// 1 to 200 visible ASCII characters, and no personal data.
fn id(text: &str) -> Result<(), Malformed> {
    if text.is_empty() || LONGEST_ID < text.len() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Malformed("must be 1 to 200 visible ASCII characters"));
    }
    impersonal(text)
}

/// 1 to 64 characters without control characters, and no personal data.
fn label(text: &str) -> Result<(), Malformed> {
    if text.is_empty() || LONGEST_LABEL < text.chars().count() || text.chars().any(char::is_control) {
        return Err(Malformed("must be 1 to 64 characters, none of them a control character"));
    }
    impersonal(text)
}

fn configured(text: &str) -> Result<(), Malformed> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
    if text.is_empty() || LONGEST_NAME < text.len() || !text.bytes().all(plain) {
        return Err(Malformed("must be 1 to 64 letters, digits, dots, dashes or underscores"));
    }
    Ok(())
}

fn impersonal(text: &str) -> Result<(), Malformed> {
    match personal_data(text) {
        Some(fault) => Err(Malformed(fault)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_1_to_200_visible_ascii_characters() {
        assert!(ActionId::try_from("a".repeat(LONGEST_ID)).is_ok());
        assert!(ActionId::try_from("!~/%".to_owned()).is_ok());
        for wrong in ["", " ", "a b", "a\n", "a\0", "\u{e4}", &"a".repeat(LONGEST_ID + 1)] {
            assert!(ActionId::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_label_has_1_to_64_characters() {
        assert!(Label::try_from("\u{e4}".repeat(LONGEST_LABEL)).is_ok());
        assert!(Label::try_from("login otp".to_owned()).is_ok());
        for wrong in ["", "a\tb", "+15557122661", &"a".repeat(LONGEST_LABEL + 1)] {
            assert!(Label::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_id_is_never_a_phone_number_or_an_email_address() {
        assert!(EventId::try_from("+15557122661".to_owned()).is_err());
        assert!(EventId::try_from("ada@example.org".to_owned()).is_err());
        assert!(EventId::try_from("15557122661".to_owned()).is_ok());
    }
}
