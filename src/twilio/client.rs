//! The one client, and the one request it makes.
//!
//! <https://www.twilio.com/docs/messaging/api/message-feedback-resource>

use std::sync::{Arc, Mutex};
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
/// How long one is kept for it.
const LONGEST_IDLE: Duration = Duration::from_secs(30);

/// Time limits of a request, and of the connections it may use.
#[derive(Clone, Debug)]
pub struct TwilioOptions {
    /// Of the whole: connection, request, answer to its last byte.
    pub request_timeout: Duration,
    pub connect_timeout: Duration,
    /// No connection begins another request after this; see [`Twilio::LONGEST_CONNECTION`].
    pub longest_connection: Duration,
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
    options: TwilioOptions,
    current: Arc<Mutex<Current>>,
}

/// What requests are made with until its end. Its connections close when the last request on them is over.
#[derive(Debug)]
struct Current {
    http: reqwest::Client,
    ends: Instant,
}

impl Twilio {
    /// A connection that is always busy never closes by itself, and its host's name is not looked up again: where Twilio
    /// has moved to another address it would stay at the old one. Half a minute keeps that within the 60 s for which names
    /// are commonly kept, and is as long as hundreds of requests.
    pub const LONGEST_CONNECTION: Duration = Duration::from_secs(30);

    /// # Errors
    /// Where TLS cannot be set up: no certificates of authorities on this machine.
    pub fn new(options: &TwilioOptions) -> Result<Self, reqwest::Error> {
        let current = Current { http: connect(options)?, ends: Instant::now() + options.longest_connection };
        Ok(Self { options: options.clone(), current: Arc::new(Mutex::new(current)) })
    }

    /// Sends `Outcome=confirmed` for one message: one request, whatever comes of it.
    ///
    /// `unconfirmed` is never sent: <https://www.twilio.com/docs/messaging/guides/send-message-feedback-to-twilio>
    pub async fn send_feedback(&self, account: &Account, with: &Credential, message_sid: &MessageSid) -> Reply {
        let began = Instant::now();
        // Reading the whole of it for each request was a tenth of the worker's time.
        let mut url = account.base_url.clone();
        url.set_path(&format!("/2010-04-01/Accounts/{}/Messages/{message_sid}/Feedback.json", account.account_sid));
        let exchanged = async {
            let request = self
                .http()
                .await
                .post(url)
                .basic_auth(&with.username, Some(with.password.expose_secret()))
                .header(CONTENT_TYPE, FORM)
                .body("Outcome=confirmed");
            exchange(request, message_sid).await
        };
        // The client's own limit would be a second timer for the same.
        let answer = match timeout_at(began + self.options.request_timeout, exchanged).await {
            Ok(answer) => answer,
            Err(_elapsed) => Answer::None(Failure::Timeout),
        };
        Reply { answer, took: began.elapsed() }
    }

    /// What the next request is made with. The first one after the end waits for what follows, which takes milliseconds: the
    /// authorities' certificates are read. The others go on with what there is.
    async fn http(&self) -> reqwest::Client {
        let current = {
            let mut current = self.current.lock().expect("no holder panics");
            let now = Instant::now();
            if now < current.ends {
                return current.http.clone();
            }
            current.ends = now + self.options.longest_connection;
            current.http.clone()
        };
        let options = self.options.clone();
        match tokio::task::spawn_blocking(move || connect(&options)).await {
            Ok(Ok(next)) => {
                self.current.lock().expect("no holder panics").http = next.clone();
                next
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "Could not set TLS up anew; the connections to Twilio stay as they are");
                current
            }
            Err(ended) => {
                tracing::error!(%ended, "Setting TLS up anew has ended by itself; the connections to Twilio stay as they are");
                current
            }
        }
    }
}

/// No redirect is followed: it would carry the confirmation elsewhere, and a 200 from there would count as Twilio's.
/// No proxy is taken from the environment, and nothing is repeated behind our back.
fn connect(options: &TwilioOptions) -> Result<reqwest::Client, reqwest::Error> {
    #[expect(clippy::disallowed_methods, reason = "this is the one")]
    reqwest::Client::builder()
        .user_agent(user_agent())
        .default_headers(HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(options.connect_timeout)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_idle_timeout(LONGEST_IDLE)
        .tcp_nodelay(true)
        .build()
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
