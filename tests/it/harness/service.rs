//! confirmd's HTTP interface over a world's store, on a real socket, and callers that speak to it.

use std::net::SocketAddr;
use std::time::Duration;

use confirmd::domain::{AccountSid, Scope};
use confirmd::intake::listener::{ListenerOptions, serve};
use confirmd::intake::{CallerOptions, IntakeOptions, Readiness, operations_router, router, within_edge};
use confirmd::store::Store;
use confirmd::telemetry::metrics_recorder;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::documented::documented;
use super::world::World;

/// The caller that may do everything in the namespace of the stories, by its token; it has another one, [`ROTATED`].
pub(crate) const ALL: &str = "all";
pub(crate) const ROTATED: &str = "all, rotated";
/// May do everything too, in a namespace of its own.
pub(crate) const STRANGER: &str = "stranger";

/// What one caller may have waiting.
pub(crate) const MOST_WAITING_PER_CALLER: usize = 2000;

/// Longest that an answer may take. Reached only when a story fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// It stops with this value.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) readiness: Readiness,
    http: reqwest::Client,
    _serving: DropGuard,
}

/// A caller with a token, or with none.
#[derive(Clone, Copy)]
pub(crate) struct By<'a> {
    service: &'a Service,
    token: Option<&'a str>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// One caller for each scope, its token the scope's name; one with all of them; and a stranger.
fn callers() -> Vec<CallerOptions> {
    let caller = |name: &str, namespace: &str, scopes: Vec<Scope>, tokens: &[&str]| CallerOptions {
        name: name.to_owned().try_into().unwrap(),
        namespace: namespace.to_owned().try_into().unwrap(),
        scopes,
        token_digests: tokens.iter().map(|token| Sha256::digest(token).into()).collect(),
    };
    let each = Scope::ALL.map(|scope| caller(scope.as_str(), "default", vec![scope], &[scope.as_str()]));
    let all = caller("login", "default", Scope::ALL.to_vec(), &[ALL, ROTATED]);
    let stranger = caller("stranger", "elsewhere", Scope::ALL.to_vec(), &[STRANGER]);
    each.into_iter().chain([all, stranger]).collect()
}

#[expect(clippy::disallowed_methods, reason = "the tests are confirmd's callers, with a client of their own")]
fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    builder.timeout(PATIENCE).build().unwrap()
}

impl Service {
    /// Over the world's own store.
    pub(crate) async fn of(world: &World) -> Self {
        Self::over(&world.store, &world.setting.accounts).await
    }

    pub(crate) async fn over(store: &Store, accounts: &[AccountSid]) -> Self {
        let options = IntakeOptions {
            callers: callers().into(),
            accounts: accounts.to_vec(),
            body_deadline: PATIENCE,
            most_waiting_per_caller: MOST_WAITING_PER_CALLER,
        };
        let readiness = Readiness::new(store.ledger.clone());
        let interface = router(store.inbox.clone(), store.ledger.clone(), store.operator.clone(), options);
        let whole = interface.merge(operations_router(readiness.clone(), metrics_recorder()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, within_edge(whole, PATIENCE), ListenerOptions::default(), stop.clone()));
        Self { address, readiness, http: client(), _serving: stop.drop_guard() }
    }

    pub(crate) fn by<'a>(&'a self, token: &'a str) -> By<'a> {
        By { service: self, token: Some(token) }
    }

    pub(crate) fn by_nobody(&self) -> By<'_> {
        By { service: self, token: None }
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.by(ALL).post(path, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.by(ALL).get(path).await
    }
}

impl By<'_> {
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, |request| json(request, &body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, |request| request).await
    }

    /// Asks, and holds the answer against the OpenAPI document.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        let request = self.service.http.request(method.clone(), format!("http://{}{path}", self.service.address));
        let request = match self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = with(request).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = Answer { status, headers, text: response.text().await.unwrap() };
        assert!(!answer.header("x-request-id").is_empty(), "{method} {path}");
        answer.tells_no_detail();
        documented(&method, path, &answer);
        answer
    }
}

/// Gives a request a JSON body.
pub(crate) fn json(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header("content-type", "application/json").body(body.to_string())
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Its status and body, to be compared.
    pub(crate) fn told(&self) -> (u16, Value) {
        (self.status, self.json())
    }

    /// Its status and the last part of the problem's type.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        let kind = problem["type"].as_str().unwrap();
        (self.status, kind.strip_prefix("urn:confirmd:problem:").unwrap().to_owned())
    }

    /// The pointers, headers and parameters of its faults, in order.
    pub(crate) fn faults(&self) -> Vec<String> {
        faults(&self.json())
    }

    fn tells_no_detail(&self) {
        if (300..).contains(&self.status) {
            let text = self.text.to_lowercase();
            for leak in ["sqlx", "postgres", "confirmd_test", "src/", "panicked", "constraint", "axum", "serde"] {
                assert!(!text.contains(leak), "{text}");
            }
        }
    }
}

/// The pointers, headers and parameters of a problem's faults, in order.
pub(crate) fn faults(problem: &Value) -> Vec<String> {
    let place = |fault: &Value| {
        let place = ["pointer", "header", "parameter"].into_iter().find_map(|kind| fault[kind].as_str());
        place.unwrap().to_owned()
    };
    problem["errors"].as_array().into_iter().flatten().map(place).collect()
}
