//! The Twilio accounts: each with its own credentials, host, and share of Twilio's concurrency.

use reqwest::Url;
use secrecy::SecretString;

use crate::domain::{AccountSid, LaneName};

/// One of `[[accounts]]`
#[derive(Clone, Debug)]
pub struct Account {
    pub account_sid: AccountSid,
    /// What metrics and logs call it, where the SID must not stand: `lane-1` by position, if it has no name.
    pub name: LaneName,
    pub credentials: Credentials,
    /// Tried when the first are refused.
    pub second: Option<Credentials>,
    pub region: Option<String>,
    pub edge: Option<String>,
    /// `delivery.base_url` with this account's region and edge. Scheme, host and port only.
    pub base_url: Url,
    /// Requests that confirmd has in flight at most.
    pub max_concurrency: u32,
    /// When Twilio says that more than this are in flight for the account, whoever sent them, feedback yields.
    pub yield_above: u32,
}

/// What Twilio knows us by.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// User name: the account's SID.
    AuthToken(SecretString),
    /// User name: the key's SID, `SK` and 32 hex digits.
    ApiKey { sid: String, secret: SecretString },
}
