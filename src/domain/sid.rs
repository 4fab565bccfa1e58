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
pub struct MessageSid(Sid);

/// One Twilio Account, the owner of a lane.
///
/// Invariant: `AC`, then 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountSid(Sid);

/// The characters of one, in place: they pass through many hands for every message, and a string would be on the heap in
/// each of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Sid([u8; LENGTH]);

const LENGTH: usize = 34;

impl Sid {
    fn parse(text: &str, prefixes: &[&str]) -> Option<Self> {
        let digits = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix))?;
        let is_one = digits.bytes().all(|b| b.is_ascii_hexdigit());
        text.as_bytes().try_into().ok().filter(|_| is_one).map(Self)
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("two letters and hex digits are ASCII")
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl TryFrom<String> for MessageSid {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        Sid::parse(&text, &["SM", "MM"]).map(Self).ok_or(Malformed("must be SM or MM, then 32 hex digits"))
    }
}

impl TryFrom<String> for AccountSid {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        Sid::parse(&text, &["AC"]).map(Self).ok_or(Malformed("must be AC, then 32 hex digits"))
    }
}

impl From<MessageSid> for String {
    fn from(sid: MessageSid) -> Self {
        sid.as_str().to_owned()
    }
}

impl From<AccountSid> for String {
    fn from(sid: AccountSid) -> Self {
        sid.as_str().to_owned()
    }
}

impl MessageSid {
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl AccountSid {
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for MessageSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for AccountSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
