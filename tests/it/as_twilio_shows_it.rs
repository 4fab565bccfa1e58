//! The one request that confirmd sends is the one that Twilio shows, and nothing comes between the two.
//!
//! <https://www.twilio.com/docs/messaging/api/message-feedback-resource>

use std::collections::BTreeMap;
use std::env;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use confirmd::domain::MessageSid;
use confirmd::twilio::{Account, Agreement, Answer, Credential, Failure, Reply, Twilio, TwilioOptions};
use secrecy::SecretString;
use serde_json::json;

use crate::harness::peer::{Peer, Says};
use crate::harness::world::{HOUR, MINUTE, Setting, TOKEN, World, account, sid};

/// "Create Feedback to confirm the performance of the tracked user action", with curl.
const CURL: &str = r#"curl -X POST "https://api.twilio.com/2010-04-01/Accounts/$TWILIO_ACCOUNT_SID/Messages/SMXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX/Feedback.json" \
--data-urlencode "Outcome=confirmed" \
-u $TWILIO_ACCOUNT_SID:$TWILIO_AUTH_TOKEN"#;

/// What Twilio shows as the answer.
const ANSWER: &str = r#"{
  "account_sid": "ACXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
  "date_created": "Thu, 30 Jul 2015 20:00:00 +0000",
  "date_updated": "Thu, 30 Jul 2015 20:00:00 +0000",
  "message_sid": "SMXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
  "outcome": "confirmed",
  "uri": "/2010-04-01/Accounts/ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Messages/MMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Feedback.json"
}"#;

/// The SID that stands for any other in what Twilio shows.
const ANY: &str = "SMXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX";

/// What curl says of itself that the example does not show: <https://curl.se/docs/manpage.html#-d>
const CURLS_CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

const PATIENCE: Duration = Duration::from_secs(20);

/// A request, taken apart; the names of its headers in lower case.
#[derive(Debug, PartialEq)]
struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Request {
    fn read(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let (line, headers) = head.split_once("\r\n").unwrap();
        let [method, path, version] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(version, "HTTP/1.1");
        let pairs: Vec<_> = headers.split("\r\n").map(|header| header.split_once(": ").unwrap()).collect();
        let headers: BTreeMap<_, _> =
            pairs.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect();
        assert_eq!(headers.len(), pairs.len(), "no header twice");
        Self { method: method.to_owned(), path: path.to_owned(), headers, body: body.to_owned() }
    }
}

/// The word after this one in the example, without quotes.
fn shown(after: &str) -> &'static str {
    CURL.split_once(after).unwrap().1.split_whitespace().next().unwrap().trim_matches('"')
}

fn signed_in(base_url: String, username: &str, password: &str) -> Account {
    let credential = Credential { username: username.to_owned(), password: SecretString::from(password) };
    Account { account_sid: account(1), base_url: base_url.parse().unwrap(), credentials: vec![credential] }
}

async fn sends(base_url: String, message_sid: &MessageSid) -> Reply {
    let account = signed_in(base_url, account(1).as_str(), TOKEN);
    let options = TwilioOptions {
        request_timeout: PATIENCE,
        connect_timeout: PATIENCE,
        longest_connection: Twilio::LONGEST_CONNECTION,
    };
    Twilio::new(&options).unwrap().send_feedback(&account, &account.credentials[0], message_sid).await
}

#[tokio::test]
async fn the_request_is_the_one_of_twilios_curl_example_field_by_field() {
    let mut peer = Peer::that_agrees(&ANSWER.replace(ANY, sid(1).as_str())).await;
    let reply = sends(peer.base_url(), &sid(1)).await;
    let request = Request::read(&peer.hears().await);

    let filled = |text: &str| {
        let account = account(1);
        text.replace("$TWILIO_ACCOUNT_SID", account.as_str())
            .replace("$TWILIO_AUTH_TOKEN", TOKEN)
            .replace(ANY, sid(1).as_str())
    };
    assert_eq!(request.method, shown("-X "));
    assert_eq!(request.path, filled(shown("-X POST ")).strip_prefix("https://api.twilio.com").unwrap());
    assert_eq!(request.body, shown("--data-urlencode "));
    let basic = base64::engine::general_purpose::STANDARD.encode(filled(shown("-u ")));
    let user_agent = format!("confirmd/{} ({} {})", env!("CARGO_PKG_VERSION"), env::consts::OS, env::consts::ARCH);
    let headers = [
        ("host", peer.address.to_string()),
        ("authorization", format!("Basic {basic}")),
        ("content-type", CURLS_CONTENT_TYPE.to_owned()),
        ("content-length", request.body.len().to_string()),
        // Where curl names itself and takes anything, confirmd names itself and asks for what the path says.
        ("user-agent", user_agent),
        ("accept", "application/json".to_owned()),
    ];
    let headers = BTreeMap::from(headers.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(request.headers, headers, "and nothing else");
    assert_eq!(peer.heard_more(), None);

    let updated = "2015-07-30T20:00:00Z".parse().unwrap();
    let Answer::Http { status: 200, agreement: Agreement::Agrees { date_updated }, code: None, .. } = reply.answer
    else {
        panic!("{reply:?}")
    };
    assert_eq!(date_updated, Some(updated), "the answer that Twilio shows is understood");
}

#[tokio::test]
async fn an_api_key_signs_in_for_the_account_of_the_path() {
    let mut peer = Peer::that_agrees("{}").await;
    let key = signed_in(peer.base_url(), "SK0123456789abcdef0123456789abcdef", "the secret: of a key");
    let mms: MessageSid = sid(1).as_str().replace("SM", "MM").try_into().unwrap();
    let options = TwilioOptions {
        request_timeout: PATIENCE,
        connect_timeout: PATIENCE,
        longest_connection: Twilio::LONGEST_CONNECTION,
    };
    Twilio::new(&options).unwrap().send_feedback(&key, &key.credentials[0], &mms).await;
    let request = Request::read(&peer.hears().await);
    assert_eq!(request.path, format!("/2010-04-01/Accounts/{}/Messages/{mms}/Feedback.json", account(1)));
    let basic = request.headers["authorization"].strip_prefix("Basic ").unwrap();
    let told = base64::engine::general_purpose::STANDARD.decode(basic).unwrap();
    assert_eq!(told, b"SK0123456789abcdef0123456789abcdef:the secret: of a key");
}

#[tokio::test]
async fn whatever_happens_twilio_only_ever_hears_confirmed() {
    let mut world = World::new().await;
    for rule in
        ["503;first=1", "429;first=1", "reset;applied=yes;first=1", "unconfirmed;first=1", "200;body=html;first=1"]
    {
        world.fault(rule);
    }
    for number in 1..=10 {
        world.owes(&format!("login-{number}"), number).await;
    }
    world.complete("never", "an-action-without-a-message").await;
    for _ in 0..10 {
        world.drain().await;
        world.travel(MINUTE);
    }
    world.travel(30 * 24 * HOUR);
    world.store.upkeep.expire_parked().await.unwrap();
    world.drain().await;
    let ledger = world.twilio.ledger();
    assert!(10 < ledger.len(), "{}", ledger.len());
    for entry in ledger {
        assert!(entry.path.ends_with("/Feedback.json"), "{}", entry.path);
        assert_eq!((entry.method.as_str(), entry.body.as_deref()), ("POST", Some(shown("--data-urlencode "))));
    }
}

#[tokio::test]
async fn no_redirect_is_followed() {
    for status in
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let mut elsewhere = Peer::that_agrees("{}").await;
        let location = format!("{}/2010-04-01/anything", elsewhere.base_url());
        let answer = format!("HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let mut peer = Peer::that(Says::This(answer.into_bytes())).await;
        let reply = sends(peer.base_url(), &sid(1)).await;
        let Answer::Http { status: told, agreement: Agreement::Unverifiable, .. } = reply.answer else {
            panic!("{reply:?}")
        };
        assert!(status.starts_with(&told.to_string()));
        peer.hears().await;
        assert_eq!((peer.heard_more(), elsewhere.heard_more()), (None, None), "{status}");
    }
}

#[tokio::test]
async fn an_answer_is_read_up_to_64_kib() {
    let padded = |length: usize| {
        let bare = json!({"message_sid": sid(1), "outcome": "confirmed", "uri": ""}).to_string();
        bare.replace("\"uri\":\"\"", &format!("\"uri\":\"{}\"", "x".repeat(length - bare.len())))
    };
    for (length, agrees) in [(64 * 1024, true), (64 * 1024 + 1, false), (1024 * 1024, false)] {
        let peer = Peer::that_agrees(&padded(length)).await;
        let reply = sends(peer.base_url(), &sid(1)).await;
        let Answer::Http { status: 200, agreement, .. } = reply.answer else { panic!("{reply:?}") };
        assert_eq!(matches!(agreement, Agreement::Agrees { .. }), agrees, "{length}");
    }
    let mut endless = Peer::that(Says::Endlessly).await;
    let reply = sends(endless.base_url(), &sid(1)).await;
    assert!(matches!(reply.answer, Answer::Http { status: 200, agreement: Agreement::Unverifiable, .. }), "{reply:?}");
    endless.is_left().await;
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_ends_at_the_time_limit() {
    let mut world = World::with(Setting { request_timeout: Duration::from_millis(300), ..Setting::default() }).await;
    // Never silent for long, and whole only after half a minute.
    world.fault("drip;pause=100ms");
    world.owes("login", 1).await;
    assert_eq!(world.drain().await, 1);
    let message = world.store.ledger.message(None, &sid(1)).await.unwrap().unwrap();
    let [attempt] = message.attempts.as_slice() else { panic!("{message:?}") };
    assert_eq!((attempt.status, attempt.error.as_deref()), (None, Some(Failure::Timeout.as_str())));
    assert!(attempt.took_ms.is_some_and(|took| (300..5000).contains(&took)), "{attempt:?}");
}

const TWILIO: &str = "CONFIRMD_TEST_TWILIO";

/// This test binary again, to do one thing in an environment whose every proxy variable names `proxy`.
async fn behind(proxy: &Peer, base_url: String, what: &'static str) -> bool {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([what, "--exact", "--ignored"]).env(TWILIO, base_url).env_remove("REQUEST_METHOD");
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env(name, proxy.base_url()).env(name.to_uppercase(), proxy.base_url());
    }
    command.env_remove("no_proxy").env_remove("NO_PROXY");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("1 passed") || !output.status.success(), "nothing was done: {told}");
    output.status.success()
}

#[tokio::test]
async fn no_request_goes_through_a_proxy_of_the_environment() {
    let (mut proxy, mut peer) = (Peer::that_agrees("{}").await, Peer::that_agrees("{}").await);
    assert!(behind(&proxy, peer.base_url(), "as_twilio_shows_it::sends_one_confirmation").await);
    assert!(peer.hears().await.starts_with(b"POST /2010-04-01/"));
    assert_eq!(proxy.heard_more(), None);

    // Over TLS a proxy would be told to CONNECT. The peer hears the handshake itself instead, and knows no TLS.
    let mut over_tls = Peer::that_agrees("{}").await;
    let base_url = format!("https://{}", over_tls.address);
    assert!(!behind(&proxy, base_url, "as_twilio_shows_it::sends_one_confirmation").await);
    assert_eq!(over_tls.hears().await[0], 0x16, "a handshake");
    assert_eq!(proxy.heard_more(), None);

    // That environment leads another client to the proxy, which has heard nothing before it.
    assert!(behind(&proxy, peer.base_url(), "as_twilio_shows_it::asks_as_another_client_would").await);
    assert!(proxy.hears().await.starts_with(format!("GET {}/ HTTP/1.1", peer.base_url()).as_bytes()));
    assert_eq!(peer.heard_more(), None);
}

#[tokio::test]
#[ignore = "a part of another test, which runs it in an environment of its own"]
async fn sends_one_confirmation() {
    let Ok(base_url) = env::var(TWILIO) else { return };
    let reply = sends(base_url, &sid(1)).await;
    assert!(matches!(reply.answer, Answer::Http { status: 200, .. }), "{reply:?}");
}

#[tokio::test]
#[ignore = "a part of another test, which runs it in an environment of its own"]
#[expect(clippy::disallowed_methods, reason = "a client as any other program would have it")]
async fn asks_as_another_client_would() {
    let Ok(base_url) = env::var(TWILIO) else { return };
    assert_eq!(reqwest::Client::new().get(base_url).send().await.unwrap().status(), 200);
}
