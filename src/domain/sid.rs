//! Twilio's identifiers: two letters that say what it is, then 32 hex digits.
//!
//! Source: <https://www.twilio.com/docs/glossary/what-is-a-sid>, and the patterns of the Feedback subresource:
//! <https://www.twilio.com/docs/messaging/api/message-feedback-resource>

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Malformed;

/// One Twilio Message.
///
/// Invariant: `SM` or `MM`, then 32 hex digits. There is no other way to hold one, so it may enter a URL as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageSid(String);

/// One Twilio Account, the owner of a lane.
///
/// Invariant: `AC`, then 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountSid(String);

fn has_shape(text: &str, prefixes: &[&str]) -> bool {
    prefixes
        .iter()
        .filter_map(|prefix| text.strip_prefix(prefix))
        .any(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl TryFrom<String> for MessageSid {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        if has_shape(&text, &["SM", "MM"]) {
            Ok(Self(text))
        } else {
            Err(Malformed("must be SM or MM, then 32 hex digits"))
        }
    }
}

impl TryFrom<String> for AccountSid {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        if has_shape(&text, &["AC"]) { Ok(Self(text)) } else { Err(Malformed("must be AC, then 32 hex digits")) }
    }
}

impl From<MessageSid> for String {
    fn from(sid: MessageSid) -> Self {
        sid.0
    }
}

impl From<AccountSid> for String {
    fn from(sid: AccountSid) -> Self {
        sid.0
    }
}

impl MessageSid {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AccountSid {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for AccountSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sm_and_mm_with_32_hex_digits_are_message_sids() {
        let hex = "0123456789abcdefABCDEF0123456789";
        assert!(MessageSid::try_from(format!("SM{hex}")).is_ok());
        assert!(MessageSid::try_from(format!("MM{hex}")).is_ok());
        for wrong in [
            String::new(),
            hex.into(),
            format!("AC{hex}"),
            format!("sm{hex}"),
            format!("SM{hex}0"),
            format!("SM{}", &hex[1..]),
            format!("SM{}/", &hex[1..]),
            format!("SM{}g", &hex[1..]),
            format!("SM{}\u{0661}", &hex[2..]),
            format!(" SM{hex}"),
        ] {
            assert!(MessageSid::try_from(wrong.clone()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_ac_with_32_hex_digits_is_an_account_sid() {
        let hex = "0123456789abcdefABCDEF0123456789";
        assert!(AccountSid::try_from(format!("AC{hex}")).is_ok());
        assert!(AccountSid::try_from(format!("SM{hex}")).is_err());
        assert!(AccountSid::try_from("AC".to_owned()).is_err());
    }
}
