//! The one request of every job, as confirmd sends it to Twilio.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

const ACCOUNT_SID: &str = "AC00000000000000000000000000000de5";
const AUTH_TOKEN: &str = "a token for the sink";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the jobs POST to, over connections that are kept.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    http: reqwest::Client,
    base_url: String,
}

impl Sink {
    /// Keeps a connection for each job in flight, so that none is opened twice.
    pub(crate) fn new(base_url: &str, concurrency: usize) -> anyhow::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "the service's one client is not the peers'")]
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .timeout(REQUEST_TIMEOUT)
            .pool_max_idle_per_host(concurrency)
            .tcp_nodelay(true)
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { http, base_url: base_url.trim_end_matches('/').to_owned() })
    }

    /// Confirms one message; anything but a 201 whose body can be read is an error.
    pub(crate) async fn confirm(&self, message_sid: &str) -> anyhow::Result<()> {
        let url = format!("{}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{message_sid}/Feedback.json", self.base_url);
        let request = self
            .http
            .post(url)
            .basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body("Outcome=confirmed");
        let response = request.send().await.context("the sink cannot be reached")?;
        let status = response.status();
        response.bytes().await.context("the sink's answer broke off")?;
        ensure!(status == StatusCode::CREATED, "the sink answered {status} instead of 201");
        Ok(())
    }
}

/// The message of a job: its number, in the form of Twilio's SIDs.
pub(crate) fn message_sid(number: u64) -> String {
    format!("SM{number:032x}")
}
