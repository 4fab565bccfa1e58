//! A request as the simulator heard it, and what its path asks for.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Method, Uri};
use secrecy::SecretString;

use crate::domain::{AccountSid, MessageSid};

/// A whole request, read to its end.
pub(super) struct Heard {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) credentials: Option<Credentials>,
    pub(super) user_agent: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) accept: Option<String>,
    pub(super) body: Bytes,
}

impl Heard {
    pub(super) fn new(parts: Parts, body: Bytes) -> Self {
        let Parts { method, uri, headers, .. } = parts;
        Self {
            method,
            query: query(&uri),
            path: uri.path().to_owned(),
            credentials: text(&headers, AUTHORIZATION).map(|header| Credentials::read(&header)),
            user_agent: text(&headers, USER_AGENT),
            content_type: text(&headers, CONTENT_TYPE),
            accept: text(&headers, ACCEPT),
            body,
        }
    }

    /// The parameters of a form; none where the body is something else, as Twilio reads forms only.
    pub(super) fn form(&self) -> Form {
        let is_form = |kind: &String| kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded");
        match self.content_type.as_ref().is_some_and(is_form) {
            true => Form(form_urlencoded::parse(&self.body).into_owned().collect()),
            false => Form(Vec::new()),
        }
    }
}

pub(super) fn query(uri: &Uri) -> Vec<(String, String)> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Decoded parameters, in the order they came; a key may repeat.
pub(super) struct Form(pub(super) Vec<(String, String)>);

impl Form {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str())
    }

    /// The value, unless it is missing or empty.
    pub(super) fn filled(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|value| !value.is_empty())
    }

    pub(super) fn count(&self, key: &str) -> usize {
        self.0.iter().filter(|(other, _)| other == key).count()
    }
}

/// What an `Authorization` header holds.
pub(super) struct Credentials {
    pub(super) scheme: String,
    /// Empty unless the scheme is Basic and its text can be read.
    pub(super) user: String,
    pub(super) secret: SecretString,
}

impl Credentials {
    fn read(header: &str) -> Self {
        let (scheme, text) = header.split_once(' ').unwrap_or((header, ""));
        let basic = scheme.eq_ignore_ascii_case("Basic");
        let decoded = STANDARD.decode(text.trim()).ok().filter(|_| basic);
        let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let (user, secret) = pair.split_once(':').unwrap_or_default();
        Self { scheme: scheme.to_owned(), user: user.to_owned(), secret: secret.into() }
    }
}

/// Scheme and user, never the secret.
impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.scheme, self.user)
    }
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Account(AccountSid),
    Messages(AccountSid),
    Message(AccountSid, MessageSid),
    Feedback(AccountSid, MessageSid),
    Unknown,
}

impl Route {
    /// Paths are case-sensitive, and only their `.json` form is served. `/SMS/Messages` is an older spelling.
    pub(super) fn of(path: &str) -> Self {
        let below = path.strip_prefix("/2010-04-01/Accounts/").and_then(|path| path.strip_suffix(".json"));
        let parts: Vec<&str> = below.unwrap_or_default().split('/').collect();
        let account = |sid: &str| AccountSid::try_from(sid.to_owned()).ok();
        let message = |sid: &str| MessageSid::try_from(sid.to_owned()).ok();
        let route = match parts.as_slice() {
            [sid] => account(sid).map(Self::Account),
            [sid, "Messages"] | [sid, "SMS", "Messages"] => account(sid).map(Self::Messages),
            [sid, "Messages", of] | [sid, "SMS", "Messages", of] => {
                account(sid).zip(message(of)).map(|(account, message)| Self::Message(account, message))
            }
            [sid, "Messages", of, "Feedback"] | [sid, "SMS", "Messages", of, "Feedback"] => {
                account(sid).zip(message(of)).map(|(account, message)| Self::Feedback(account, message))
            }
            _ => None,
        };
        route.unwrap_or(Self::Unknown)
    }

    pub(super) const fn account(&self) -> Option<&AccountSid> {
        match self {
            Self::Account(account) | Self::Messages(account) => Some(account),
            Self::Message(account, _) | Self::Feedback(account, _) => Some(account),
            Self::Unknown => None,
        }
    }

    pub(super) const fn message(&self) -> Option<&MessageSid> {
        match self {
            Self::Message(_, message) | Self::Feedback(_, message) => Some(message),
            Self::Account(_) | Self::Messages(_) | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_path_asks_for_one_thing() {
        let account: AccountSid = format!("AC{HEX}").try_into().unwrap();
        let message: MessageSid = format!("MM{HEX}").try_into().unwrap();
        let below = format!("/2010-04-01/Accounts/AC{HEX}");
        let feedback = Route::Feedback(account.clone(), message.clone());
        assert_eq!(Route::of(&format!("{below}/Messages/MM{HEX}/Feedback.json")), feedback);
        assert_eq!(Route::of(&format!("{below}/SMS/Messages/MM{HEX}/Feedback.json")), feedback);
        assert_eq!(Route::of(&format!("{below}/Messages/MM{HEX}.json")), Route::Message(account.clone(), message));
        assert_eq!(Route::of(&format!("{below}/Messages.json")), Route::Messages(account.clone()));
        assert_eq!(Route::of(&format!("{below}.json")), Route::Account(account));
        for unknown in [
            "/".to_owned(),
            format!("{below}/Messages/MM{HEX}/Feedback"),
            format!("{below}/messages/MM{HEX}/Feedback.json"),
            format!("{below}/Messages/XX{HEX}/Feedback.json"),
            format!("{below}/Calls.json"),
            format!("/2008-08-01/Accounts/AC{HEX}.json"),
        ] {
            assert_eq!(Route::of(&unknown), Route::Unknown, "{unknown}");
        }
    }

    #[test]
    fn credentials_show_who_but_never_the_secret() {
        let header = format!("Basic {}", STANDARD.encode("AC1:hush:hush"));
        let credentials = Credentials::read(&header);
        assert_eq!(credentials.to_string(), "Basic AC1");
        for nonsense in ["", "Basic", "Basic !", "Bearer QUM6eA=="] {
            assert_eq!(Credentials::read(nonsense).user, "", "{nonsense:?}");
        }
    }
}
