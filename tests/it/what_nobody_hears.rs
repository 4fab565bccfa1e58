//! Secrets stay where they were put: a service with a different one in each place, made to say all that it can say at its
//! most talkative, and then a search of everything that it said.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::harness::caller::{Caller, completed};
use crate::harness::database::ROLE_PASSWORD;
use crate::harness::outside::eventually;
use crate::harness::process::{Ran, Site};
use crate::harness::world::{TOKEN, account, sid};

const REFUSED: &str = "canary-first-credential-Zq8w";
const PROXY: &str = "canary-of-a-proxy-Tk2v";
const BOGUS: &str = "canary-of-nobody-Wm5x";
const COLLECTOR: &str = "canary-of-the-collector-Hd7c";
const PERSON: &str = "+15557122661";

/// What is searched for, and what it is.
type Canaries = Vec<(&'static str, String)>;
/// What was said, by where.
type Heard = BTreeMap<String, String>;

/// Whatever can be read back to the secret: itself, in Base64 at each of the three places it can begin, in hex, in a URL.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), secret.bytes().map(|byte| format!("{byte:02x}")).collect()];
    for before in 0..3 {
        let shifted = [&b"::"[..before], secret.as_bytes()].concat();
        for (engine, text) in [(0, STANDARD_NO_PAD.encode(&shifted)), (1, URL_SAFE_NO_PAD.encode(&shifted))] {
            // The first and the last characters also hold bits of what stands before and after.
            let (from, to) = ([0, 2, 3][before], text.len() - 2);
            forms.extend((engine == 0 || text.contains(['-', '_'])).then(|| text[from..to].to_owned()));
        }
    }
    let in_url: String = secret
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    forms.push(in_url);
    forms
}

/// Where a secret was heard.
fn told(heard: &Heard, canaries: &Canaries) -> Vec<String> {
    let mut told = Vec::new();
    for (name, secret) in canaries {
        let forms = forms(secret);
        let places = heard.iter().filter(|(place, _)| !(*name == "the collector's" && place.starts_with("collector")));
        for (place, text) in places {
            told.extend(
                forms.iter().filter(|form| text.contains(*form)).map(|form| format!("{name} in {place}: {form}")),
            );
        }
    }
    told
}

/// Stands where a collector of traces would, and keeps every byte that it is sent.
struct Recorder {
    address: SocketAddr,
    bytes: Arc<Mutex<Vec<u8>>>,
    _listening: AbortOnDropHandle<()>,
}

impl Recorder {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, bytes) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<u8>>>::default());
        let heard = bytes.clone();
        let listening = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let heard = heard.clone();
                tokio::spawn(async move {
                    let mut some = vec![0; 64 << 10];
                    while let Ok(length @ 1..) = stream.read(&mut some).await {
                        heard.lock().unwrap().extend_from_slice(&some[..length]);
                        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                    }
                });
            }
        });
        Self { address, bytes, _listening: AbortOnDropHandle::new(listening) }
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }
}

/// Asks, with whatever headers, and gives all that was answered.
async fn raw(caller: &Caller, method: &str, path: &str, headers: &str, body: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: confirmd\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = Vec::new();
    caller.says(&request).await.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A site whose every secret is a canary.
async fn site(recorder: &Recorder) -> Site {
    let mut site = Site::new().await;
    for name in ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"] {
        site.unset_variable(name);
    }
    site.rewrite_config(|config| {
        format!(
            "{config}\n[[accounts]]\naccount_sid = \"{}\"\nauth_token = \"{REFUSED}\"\nsecond = {{ auth_token = \"{TOKEN}\" }}\n",
            account(1)
        )
    });
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        site.set_variable(name, &format!("http://user:{PROXY}@127.0.0.1:9"));
    }
    // For the collector, who may be behind a proxy. Twilio is asked directly, whatever stands here.
    site.set_variable("NO_PROXY", "127.0.0.1");
    site.set_variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", recorder.address));
    site.set_variable("OTEL_EXPORTER_OTLP_HEADERS", &format!("authorization=Bearer {COLLECTOR}"));
    site.set_variable("OTEL_BSP_SCHEDULE_DELAY", "100");
    site.set("log.filter", "trace");
    site.set("delivery.backoff_first", "100ms");
    site.set("delivery.poll_interval", "100ms");
    site
}

/// Each route, rightly and wrongly; each kind of answer of Twilio's; a token in each place where one does not belong.
async fn everything_is_said(site: &Site, caller: &Caller, heard: &mut Heard) {
    let mut hear = |what: &str, text: String| drop(heard.insert(format!("answer to {what}"), text));
    for (at, rule) in ["429;first=1", "503;first=1", "200;body=html;first=1", "400;first=1"].into_iter().enumerate() {
        site.fault(rule);
        let (number, action) = (u32::try_from(at).unwrap() + 1, format!("login-{at}"));
        hear(&format!("mapping {at}"), format!("{:?}", caller.register(&action, number).await));
        hear(&format!("event {at}"), format!("{:?}", caller.complete(&format!("e{at}"), &action).await));
    }
    let authorized = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", caller.token);
    for (path, body) in [
        ("/v1/events", "{".to_owned()),
        ("/v1/events", json!({"event_id": PERSON, "action_id": PERSON, "code": PERSON}).to_string()),
        ("/v1/events", completed("e0", "another").to_string()),
        ("/v1/events/batch", json!({"events": [completed("b1", "late"), {"event_id": PERSON}]}).to_string()),
        ("/v1/messages", json!({"action_id": "a", "message_sid": "SM1", "labels": {"country": PERSON}}).to_string()),
        ("/v1/dead-letters/replay", json!({"filter": {}, "dry_run": false}).to_string()),
        (&format!("/v1/lanes/{}/pause", account(1)), json!({"reason": "for a while"}).to_string()),
        (&format!("/v1/lanes/{}/resume", account(1)), "{}".to_owned()),
    ] {
        hear(&format!("POST {path} {body}").replace(PERSON, "…"), raw(caller, "POST", path, &authorized, &body).await);
    }
    let message = format!("/v1/messages/{}", sid(1));
    for path in [
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/docs/",
        "/v1/lanes",
        "/v1/dead-letters",
        "/v1/events/e0",
        "/v1/actions/login-0",
        &message,
        "/nowhere",
    ] {
        hear(path, raw(caller, "GET", path, &authorized, "").await);
        hear(&format!("{path} of nobody"), raw(caller, "GET", path, "", "").await);
    }
    // Where a token does not belong, it is not repeated either.
    let bogus = format!("authorization: Bearer {BOGUS}\r\n");
    hear("a token of nobody", raw(caller, "GET", "/v1/lanes", &bogus, "").await);
    for (what, value) in
        [("basic", format!("Basic {BOGUS}")), ("twice", format!("Bearer {BOGUS}\r\nauthorization: Bearer {BOGUS}"))]
    {
        hear(what, raw(caller, "POST", "/v1/events", &format!("authorization: {value}\r\n"), "{}").await);
    }
    let elsewhere = format!("cookie: token={BOGUS}\r\nx-api-key: {BOGUS}\r\nproxy-authorization: Basic {BOGUS}\r\n");
    hear("other headers", raw(caller, "GET", &format!("/v1/lanes?token={BOGUS}"), &elsewhere, "").await);
    hear("a path", raw(caller, "GET", &format!("/{BOGUS}/{PERSON}"), &authorized, "").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_told_to_anybody_however_much_is_said() {
    let recorder = Recorder::start().await;
    let mut site = site(&recorder).await;
    let canaries = vec![
        ("the credential that is refused", REFUSED.to_owned()),
        ("the credential that is not", TOKEN.to_owned()),
        ("the database's password", ROLE_PASSWORD.to_owned()),
        ("the caller's token", site.token.clone()),
        ("a token of nobody", BOGUS.to_owned()),
        ("the proxy's password", PROXY.to_owned()),
        ("the collector's", COLLECTOR.to_owned()),
        ("a person's number", PERSON.to_owned()),
    ];
    let url = reqwest::Url::parse(&site.database.service_url).unwrap();
    assert_eq!(url.password().unwrap().replace("%2D", "-"), ROLE_PASSWORD);
    let mut heard = Heard::new();

    let mut process = site.serve().await;
    let caller = process.caller.clone();
    everything_is_said(&site, &caller, &mut heard).await;
    site.everything_is_settled().await;
    heard.insert("metrics, afterwards".into(), raw(&caller, "GET", "/metrics", "", "").await);
    let sent = || async { recorder.heard().contains("POST Feedback.json").then_some(()) };
    eventually("the collector is sent the span of an attempt", sent).await;
    let pid = process.pid();
    heard.insert(
        "command line".into(),
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap()).into(),
    );

    // A configuration that changes, and one that makes no sense.
    site.rewrite_config(|config| config.replace("scopes = [\"ingest\", ", "scopes = ["));
    process.hang_up();
    process.logs("Reloaded the configuration").await;
    site.rewrite_config(|config| config.replace("tokens_sha256 = [\"", &format!("tokens_sha256 = [\"{BOGUS}")));
    process.hang_up();
    process.logs("tokens_sha256").await;
    site.rewrite_config(|config| config.replace(BOGUS, ""));

    let say = |heard: &mut Heard, what: &str, Ran { stdout, stderr, .. }: Ran| {
        heard.insert(format!("confirmd {what}"), format!("{stdout}\n{stderr}"));
    };
    let message = sid(1).to_string();
    for args in [
        &["check"][..],
        &["audit"],
        &["trace", &message],
        &["trace", "login-0"],
        &["trace", "e0"],
        &["lanes", "list"],
        &["dead-letters", "list"],
        &["dead-letters", "replay", "--reason", "rejected", "--yes"],
        &["operations"],
        &["explain"],
        &["export", "events"],
        &["export", "confirmations"],
        &["export", "dead-letters"],
        &["migrate", "--dry-run"],
        &["--help"],
        &["serve", "--help"],
        &["twilio-sim", "--help"],
        &["--version"],
    ] {
        say(&mut heard, &args.join(" "), site.run(args).await);
    }
    let database = site.text("select database_to_xml(true, true, '')::text").await;
    heard.insert("the database".into(), database);
    heard.insert("statements".into(), site.text("select string_agg(query, ' ') from pg_stat_activity").await);

    process.terminate();
    assert_eq!(process.ends_within(Duration::from_secs(30)).await, Some(0));
    // With the secrets still in hand, and nothing that works.
    site.set_variable("DATABASE_URL", &format!("postgres://confirmd_app:{ROLE_PASSWORD}@127.0.0.1:9/none"));
    site.set("database.connect_deadline_of_nobody", BOGUS);
    for args in [&["check"][..], &["serve"], &["audit"]] {
        say(&mut heard, &format!("{} where nothing works", args.join(" ")), site.run(args).await);
    }
    heard.insert("log".into(), process.log());
    heard.insert("what it printed".into(), process.printed());
    heard.insert("collector".into(), recorder.heard());

    // The search finds what is there to be found, and looked at something.
    assert!(heard["log"].contains("\"level\":\"TRACE\"") && heard["log"].contains("Answered 202"), "{}", heard["log"]);
    assert!(heard["the database"].contains("login-0") && heard["collector"].contains("Feedback.json"));
    assert!(!told(&heard, &vec![("an action", "login-0".to_owned())]).is_empty());
    assert!(site.twilio.confirmed(&sid(1)).is_some(), "the second credential was used");
    assert_eq!(told(&heard, &canaries), [""; 0]);
    for line in heard["log"].lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(line.is_object());
    }
}

#[test]
fn a_secret_is_found_in_each_of_its_forms() {
    let canaries: Canaries = vec![("it", "correct horse/battery?".to_owned())];
    for hidden in [
        "a correct horse/battery? b".to_owned(),
        base64::engine::general_purpose::STANDARD.encode("AC1:correct horse/battery?"),
        base64::engine::general_purpose::STANDARD.encode("AC12:correct horse/battery?!"),
        base64::engine::general_purpose::STANDARD.encode("AC123:correct horse/battery?"),
        "correct%20horse%2Fbattery%3F".to_owned(),
        "636f727265637420686f7273652f626174746572793f".to_owned(),
    ] {
        let heard = Heard::from([("there".to_owned(), hidden.clone())]);
        assert!(!told(&heard, &canaries).is_empty(), "{hidden}");
    }
    assert!(told(&Heard::from([("there".to_owned(), "incorrect horse".to_owned())]), &canaries).is_empty());
}
