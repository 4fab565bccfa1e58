//! The one client, and the one request it makes.
//!
//! <https://www.twilio.com/docs/messaging/api/message-feedback-resource>

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, Failure, Reply};
use crate::domain::{AccountSid, MessageSid};

/// Longest answer that is read; what Twilio sends has a few hundred bytes.
const LONGEST_BODY: usize = 64 * 1024;
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
/// Connections that are kept for the next request, per host.
const IDLE_CONNECTIONS: usize = 1024;

/// Time limits of a request.
#[derive(Clone, Debug)]
pub struct TwilioOptions {
    /// Of the whole: connection, request, answer to its last byte.
    pub request_timeout: Duration,
    pub connect_timeout: Duration,
}

/// An account as Twilio knows it: where it lives and how one signs in.
#[derive(Clone, Debug)]
pub struct Account {
    pub account_sid: AccountSid,
    /// `https://api.twilio.com`, or with edge and region: scheme, host and port.
    pub base_url: Url,
    /// One, or two while they are being rotated.
    pub credentials: Vec<Credential>,
}

/// What one signs in with: the account SID and its auth token, or an API key's SID and secret.
#[derive(Clone, Debug)]
pub struct Credential {
    pub username: String,
    pub password: SecretString,
}

impl Credential {
    /// Whether it opens the same door.
    pub fn is_same(&self, other: &Self) -> bool {
        self.username == other.username && self.password.expose_secret() == other.password.expose_secret()
    }
}

/// The client. Cheap to clone; one for all accounts.
#[derive(Clone, Debug)]
pub struct Twilio {
    http: reqwest::Client,
    request_timeout: Duration,
}

impl Twilio {
    /// No redirect is followed: it would carry the confirmation elsewhere, and a 200 from there would count as Twilio's.
    /// No proxy is taken from the environment, and nothing is repeated behind our back.
    ///
    /// # Errors
    /// Where TLS cannot be set up: no certificates of authorities on this machine.
    pub fn new(options: &TwilioOptions) -> Result<Self, reqwest::Error> {
        #[expect(clippy::disallowed_methods, reason = "this is the one")]
        let http = reqwest::Client::builder()
            .user_agent(user_agent())
            .default_headers(HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(options.connect_timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(Duration::from_secs(30))
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { http, request_timeout: options.request_timeout })
    }

    /// Sends `Outcome=confirmed` for one message: one request, whatever comes of it.
    ///
    /// `unconfirmed` is never sent: <https://www.twilio.com/docs/messaging/guides/send-message-feedback-to-twilio>
    pub async fn send_feedback(&self, account: &Account, with: &Credential, message_sid: &MessageSid) -> Reply {
        let began = Instant::now();
        // Reading the whole of it for each request was a tenth of the worker's time.
        let mut url = account.base_url.clone();
        url.set_path(&format!("/2010-04-01/Accounts/{}/Messages/{message_sid}/Feedback.json", account.account_sid));
        let request = self
            .http
            .post(url)
            .basic_auth(&with.username, Some(with.password.expose_secret()))
            .header(CONTENT_TYPE, FORM)
            .body("Outcome=confirmed");
        // The client's own limit would be a second timer for the same.
        let answer = match timeout_at(began + self.request_timeout, exchange(request, message_sid)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Answer::None(Failure::Timeout),
        };
        Reply { answer, took: began.elapsed() }
    }
}

async fn exchange(request: reqwest::RequestBuilder, message_sid: &MessageSid) -> Answer {
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return failed(&error),
    };
    let mut body = Vec::new();
    while body.len() < LONGEST_BODY {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return failed(&error),
        }
    }
    body.truncate(LONGEST_BODY);
    Answer::read(message_sid, response.status().as_u16(), response.headers(), &body)
}

fn failed(error: &reqwest::Error) -> Answer {
    let failure = Failure::from(error);
    // The URL holds the SIDs, which the settled attempt tells, too.
    tracing::debug!(failure = failure.as_str(), cause = ?std::error::Error::source(error), "Could not get an answer from Twilio");
    Answer::None(failure)
}

fn user_agent() -> String {
    format!("confirmd/{} ({} {})", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)
}
