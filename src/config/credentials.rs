//! What Twilio knows an account by: its auth token, or an API key with its secret.

use secrecy::SecretString;

use super::{environment::account_variable, table::Table};
use crate::domain::Malformed;

#[derive(Clone, Debug)]
pub enum Credentials {
    /// User name: the account's SID.
    AuthToken(SecretString),
    /// User name: the key's SID, `SK` and 32 hex digits.
    ApiKey { sid: String, secret: SecretString },
}

/// Exactly one of the two kinds. If one is in the environment and the other in the file, the environment's wins.
pub(super) fn read(table: &Table<'_>) -> Option<Credentials> {
    let key_from_environment = table.text("api_key").is_some_and(|given| given.from_environment);
    let key: Option<KeySid> = table.optional("api_key");
    let token = table.secret("auth_token", "auth_token_file");
    let secret = table.secret("api_secret", "api_secret_file");

    let token_from_environment = token.as_ref().is_some_and(|token| token.from_environment);
    let pair_from_environment = key_from_environment || secret.as_ref().is_some_and(|secret| secret.from_environment);
    let has_pair = !table.lacks("api_key") || secret.is_some();
    match token {
        Some(token) if !has_pair || (token_from_environment && !pair_from_environment) => {
            return Some(Credentials::AuthToken(token.value));
        }
        Some(token) if token_from_environment == pair_from_environment => {
            let other = table.findings.name(&table.path(if table.lacks("api_key") { "api_secret" } else { "api_key" }));
            table.fault(token.key, format!("is given beside {other}: keep the token or the key, not both"));
            return None;
        }
        _ => {}
    }
    match (key, secret) {
        (Some(KeySid(sid)), Some(secret)) => return Some(Credentials::ApiKey { sid, secret: secret.value }),
        (None, None) if !has_pair && EVERY.iter().all(|key| table.lacks(key)) => missing(
            table,
            "auth_token",
            "is missing: give auth_token, auth_token_file, or api_key with api_secret or api_secret_file",
        ),
        (Some(_), None) if table.lacks("api_secret") && table.lacks("api_secret_file") => {
            missing(table, "api_secret", "is missing: an API key needs its secret, here or in a file");
        }
        (None, Some(_)) if table.lacks("api_key") => missing(table, "api_key", "is missing: whose secret is it?"),
        // A fault of its own already.
        _ => {}
    }
    None
}

const EVERY: [&str; 5] = ["auth_token", "auth_token_file", "api_key", "api_secret", "api_secret_file"];

/// Names the variable, where the account is described by variables.
fn missing(table: &Table<'_>, key: &str, problem: &str) {
    let sid = table.path("account_sid");
    if table.findings.name(&sid) == sid {
        table.fault(key, problem);
    } else {
        table.findings.fault_named(account_variable(key), problem);
    }
}

struct KeySid(String);

impl TryFrom<String> for KeySid {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let digits = text.strip_prefix("SK").unwrap_or_default();
        if digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(text));
        }
        Err(Malformed("must be SK, then 32 hex digits"))
    }
}
