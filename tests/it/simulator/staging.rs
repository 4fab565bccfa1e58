//! A simulator with one account, and a client that asks it what applications ask Twilio.

use std::time::Duration;

use confirmd::domain::{AccountSid, MessageSid};
use confirmd::twilio::sim::{SimulatedAccount, Simulator, SimulatorOptions, UnknownMessages};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

pub(crate) const TOKEN: &str = "the token";
pub(crate) const API_KEY: &str = "SK0123456789abcdef0123456789abcdef";
pub(crate) const API_SECRET: &str = "the key's secret";

/// Longest that any request of these tests may take. Reached only when one fails; shorter than an idle connection is
/// kept.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Staging {
    pub(crate) sim: Simulator,
    pub(crate) account: AccountSid,
    http: reqwest::Client,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// Status and Twilio's code of an error.
    pub(crate) fn error(&self) -> (u16, u64) {
        (self.status, self.json()["code"].as_u64().unwrap())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// An account's SID by a number, as `AC…01`.
pub(crate) fn account(number: u32) -> AccountSid {
    format!("AC{number:032x}").try_into().unwrap()
}

pub(crate) fn message(number: u32) -> MessageSid {
    format!("SM{number:032x}").try_into().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the tests are Twilio's other customers, with a client of their own")]
fn client() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build().unwrap()
}

impl Staging {
    /// Takes Feedback for any message.
    pub(crate) async fn new() -> Self {
        Self::with(|options| options.unknown_messages = UnknownMessages::Accept).await
    }

    /// Takes Feedback for any message, but for the faults.
    pub(crate) async fn failing(rules: &[&str]) -> Self {
        Self::with(|options| {
            options.unknown_messages = UnknownMessages::Accept;
            options.faults = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        })
        .await
    }

    pub(crate) async fn with(choose: impl FnOnce(&mut SimulatorOptions)) -> Self {
        let account = account(1);
        let api_keys = vec![(API_KEY.to_owned(), API_SECRET.into())];
        let served = SimulatedAccount { account_sid: account.clone(), auth_token: TOKEN.into(), api_keys };
        let mut options = SimulatorOptions { accounts: vec![served], ..SimulatorOptions::default() };
        choose(&mut options);
        Self { sim: Simulator::start(options).await.unwrap(), account, http: client() }
    }

    /// A request with the account's token. The path is below the account's own, unless it starts with a slash.
    pub(crate) async fn ask(&self, method: Method, path: &str, form: &[(&str, &str)]) -> Answer {
        self.try_to_ask(method, path, form).await.unwrap()
    }

    pub(crate) async fn try_to_ask(
        &self,
        method: Method,
        path: &str,
        form: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        let request = self.request(method, path, form).basic_auth(self.account.as_str(), Some(TOKEN));
        Self::read(request.send().await?).await
    }

    pub(crate) fn request(&self, method: Method, path: &str, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let base = self.sim.base_url();
        let url = match path.strip_prefix('/') {
            Some(path) => format!("{base}/{path}"),
            None => format!("{base}/2010-04-01/Accounts/{}/{path}", self.account),
        };
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.request(method, url).header("content-type", "application/x-www-form-urlencoded");
        request.body(body)
    }

    pub(crate) async fn read(response: reqwest::Response) -> Result<Answer, reqwest::Error> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        Ok(Answer { status, headers, text: response.text().await? })
    }

    pub(crate) async fn confirm(&self, message: &MessageSid) -> Answer {
        self.try_to_confirm(message).await.unwrap()
    }

    pub(crate) async fn try_to_confirm(&self, message: &MessageSid) -> Result<Answer, reqwest::Error> {
        self.try_to_ask(Method::POST, &format!("Messages/{message}/Feedback.json"), &[("Outcome", "confirmed")]).await
    }

    /// Confirms until an answer comes that is waited for; each request is a wait of its own.
    pub(crate) async fn confirm_until(&self, message: &MessageSid, status: u16) {
        let repeat = async { while self.confirm(message).await.status != status {} };
        tokio::time::timeout(PATIENCE, repeat).await.unwrap();
    }
}
