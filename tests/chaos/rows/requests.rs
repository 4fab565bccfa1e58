//! Requests that are too large, ill formed, or full of what nobody should write.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::shared::only_503;
use crate::harness::figures::Figures;
use crate::harness::http::say;
use crate::harness::run::Run;
use crate::harness::world::{BOTH, PLAIN, Setting, World};

const PATIENCE: Duration = Duration::from_secs(15);

/// Every wrong size and shape is refused with the status that is documented for it.
pub(super) async fn shapes(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F56", &PLAIN).await;
    let (at, token) = (world.replicas[0].address, world.other.clone());
    let (mut longest, mut wrong, mut cases) = (Duration::ZERO, Vec::new(), 0);
    for (name, bytes, statuses) in cases_of_shape(&token) {
        let mut fastest = PATIENCE;
        cases += 1;
        // The fastest of three: how busy the machine is does not matter.
        for _ in 0..3 {
            let begun = Instant::now();
            let told = say(at, &bytes, PATIENCE).await;
            fastest = fastest.min(begun.elapsed());
            if !statuses.contains(&told.unwrap_or(0)) {
                wrong.push(format!("{name}: {told:?} instead of {statuses:?}"));
            }
        }
        longest = longest.max(fastest);
    }
    figures.did(format!("{cases} requests, three times each"));
    figures.show(format!("{} with another status than is documented {wrong:?}", wrong.len()), wrong.is_empty());
    figures.no_longer_than("longest until one is refused", longest, Duration::from_millis(run.form.pick(1000, 100)));
    let live = say(at, b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n", PATIENCE).await;
    figures.show(format!("/livez says {live:?} after it"), live == Some(200));
    let stored = world.cluster.number("select count(*) from event").await;
    figures.at_most("events that were stored", usize::try_from(stored).unwrap(), 1);
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

/// What is said, and the statuses that are documented for it; 0: the connection is closed without a word.
type Case = (&'static str, Vec<u8>, &'static [u16]);

fn cases_of_shape(token: &str) -> Vec<Case> {
    let post = |path: &str, headers: &str, body: &[u8]| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n{headers}\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    let event = |body: &[u8]| post("/v1/events", &format!("content-length: {}\r\n", body.len()), body);
    let batch = |body: &[u8]| post("/v1/events/batch", &format!("content-length: {}\r\n", body.len()), body);
    let claimed = |length: &str| post("/v1/events", &format!("content-length: {length}\r\n"), b"{");
    let chunked = |chunks: &str| post("/v1/events", "transfer-encoding: chunked\r\n", chunks.as_bytes());
    let get = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n").into_bytes();
    let digits = "7".repeat(5000);
    let good = br#"{"event_id": "good", "type": "otp.completed", "action_id": "good"}"#;
    let many: Vec<Value> = (0..10_000).map(|n| json!({"event_id": format!("many-{n}"), "action_id": "a"})).collect();
    let many = json!({"events": many}).to_string();
    vec![
        ("one that is right", event(good), &[202]),
        ("1 MB", event(&vec![b' '; 1_000_000]), &[413]),
        ("1 MB of one id", event(format!("{{\"event_id\": \"{}\"}}", "a".repeat(1_000_000)).as_bytes()), &[413]),
        ("one byte too many", event(format!("{}{{}}", " ".repeat((16 << 10) - 1)).as_bytes()), &[413]),
        ("1 GB, claimed", claimed("1000000000"), &[413]),
        ("1 TB, claimed", claimed("1000000000000"), &[413]),
        ("more than 64 bits, claimed", claimed("99999999999999999999999"), &[400]),
        ("a batch of 10,000", batch(many.as_bytes()), &[413, 422]),
        ("a batch above 1 MiB", batch(&vec![b' '; (1 << 20) + 1]), &[413]),
        ("100,000 arrays deep", event(&vec![b'['; 100_000]), &[413]),
        ("16,000 arrays deep", event(&vec![b'['; 16_000]), &[400]),
        ("100,000 arrays deep, as a batch", batch(&vec![b'['; 100_000]), &[400]),
        ("a number of 5,000 digits", event(format!("{{\"event_id\": {digits}}}").as_bytes()), &[400, 422]),
        ("1e400", event(b"{\"event_id\": 1e400}"), &[400, 422]),
        ("a byte order mark", event(b"\xef\xbb\xbf{}"), &[400]),
        ("nothing", event(b""), &[400]),
        ("no type of content", post("/v1/events", "content-type: text/plain\r\ncontent-length: 2\r\n", b"{}"), &[400, 415, 422]),
        ("XML", format!("POST /v1/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-type: text/xml\r\ncontent-length: 4\r\n\r\n<a/>").into_bytes(), &[415]),
        ("200 headers", get("/livez", &"x: 1\r\n".repeat(200)), &[431]),
        ("a header of 500 kB", get("/livez", &format!("x: {}\r\n", "a".repeat(500_000))), &[431]),
        ("a path of 100 kB", get(&format!("/{}", "a".repeat(100_000)), ""), &[414, 431]),
        ("a length and chunks", post("/v1/events", "content-length: 5\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n"), &[400]),
        ("two lengths", post("/v1/events", "content-length: 5\r\ncontent-length: 6\r\n", b"aaaaa"), &[400]),
        ("a coding that nobody knows", post("/v1/events", "transfer-encoding: xchunked\r\n", b""), &[400]),
        ("a chunk of nonsense", chunked("zz\r\n"), &[400]),
        ("a chunk of 2^64", chunked("ffffffffffffffffff\r\na"), &[400]),
        ("chunks above the limit", chunked(&"400\r\n".to_owned().into_bytes().iter().map(|byte| char::from(*byte)).chain(" ".repeat(1024).chars()).chain("\r\n".chars()).collect::<String>().repeat(20)), &[413]),
        ("an expectation", post("/v1/events", "expect: 100-continue\r\ncontent-length: 1000000\r\n", b""), &[100, 413, 417]),
        ("an expectation of nonsense", post("/v1/events", &format!("expect: miracles\r\ncontent-length: {}\r\n", good.len()), good), &[202, 417]),
        ("two at once", [get("/livez", ""), get("/livez", "")].concat(), &[200]),
        ("HTTP/0.9", b"GET /livez\r\n\r\n".to_vec(), &[400]),
        ("HTTP/2 without having asked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[0]),
        ("another protocol", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), &[400]),
        ("a method that nobody knows", b"BREW /v1/events HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(), &[405]),
        ("no host", b"GET /livez HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        ("a folded header", get("/livez", "x: 1\r\n 2\r\n"), &[400]),
    ]
}

const TALKATIVE: Setting = Setting { roles: BOTH, with: &[("LOG__FILTER", "debug")], postgres: &[] };

/// One string a line, as JSON: what breaks programs that do not expect it.
const NAUGHTY: &str = include_str!("naughty.txt");

/// What an id may be.
const STRANGE: &str =
    "select (select count(*) from event where event_id !~ '^[!-~]{1,200}$' or action_id !~ '^[!-~]{1,200}$')
    + (select count(*) from message where message_sid !~ '^(SM|MM)[0-9a-fA-F]{32}$' or action_id !~ '^[!-~]{1,200}$')";

pub(super) async fn content(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F57", &TALKATIVE).await;
    let (at, token) = (world.replicas[0].address, world.other.clone());
    let naughty: Vec<&str> = NAUGHTY.lines().filter(|line| !line.is_empty()).collect();
    let (mut statuses, mut failed, mut number) = (BTreeMap::<u16, usize>::new(), Vec::new(), 0_usize);
    for string in &naughty {
        for field in FIELDS {
            number += 1;
            let bytes = request(field, string, number, &token);
            let told = say(at, &bytes, PATIENCE).await.unwrap_or(0);
            *statuses.entry(told).or_default() += 1;
            if !(200..500).contains(&told) {
                failed.push(format!("{string} as {field}: {told}"));
            }
        }
    }
    figures.did(format!("{} strings at {} places: statuses {statuses:?}", naughty.len(), FIELDS.len()));
    failed.truncate(5);
    figures.show(format!("{} without an answer, or with 5xx {failed:?}", failed.len()), failed.is_empty());
    let taken = statuses.range(200..300).map(|(_, count)| count).sum::<usize>();
    figures.show(format!("{taken} were taken (some are ids like any other)"), 0 < taken && taken < number / 2);
    let strange = usize::try_from(world.cluster.number(STRANGE).await).unwrap();
    figures.none("ids that were stored and may not be", strange);
    let log = world.replicas[0].log();
    let broken = log.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).count();
    figures.show(format!("{} lines were logged", log.lines().count()), number < log.lines().count());
    figures.none("lines of the log that are not JSON", broken);
    let raw = log.chars().filter(|c| c.is_control() && *c != '\n').count();
    figures.none("control characters in the log", raw);
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

const FIELDS: &[&str] = &[
    "event_id",
    "action_id",
    "message_sid",
    "account_sid",
    "type",
    "occurred_at",
    "resolve",
    "a member's name",
    "a member twice",
    "country",
    "template",
    "sender",
    "idempotency-key",
    "x-request-id",
    "authorization",
    "traceparent",
    "a path",
    "a query",
];

/// `string` is JSON; where it goes into a header or a path, it goes as its bytes, as far as that can be.
fn request(field: &str, string: &str, number: usize, token: &str) -> Vec<u8> {
    let id = format!("naughty-{number}");
    let member = |name: &str| {
        let others = format!("\"event_id\": \"{id}\", \"action_id\": \"{id}\", \"type\": \"otp.completed\"");
        match name {
            "event_id" => format!("{{\"event_id\": {string}, \"action_id\": \"{id}\"}}"),
            "action_id" => format!("{{\"event_id\": \"{id}\", \"action_id\": {string}}}"),
            "type" => format!("{{\"event_id\": \"{id}\", \"action_id\": \"{id}\", \"type\": {string}}}"),
            "a member's name" => format!("{{{others}, {string}: 1}}"),
            "a member twice" => format!("{{{others}, \"event_id\": {string}}}"),
            name => format!("{{{others}, \"{name}\": {string}}}"),
        }
    };
    let raw: Vec<u8> = serde_json::from_str::<String>(string).map_or_else(|_| string.into(), String::into_bytes);
    let header: Vec<u8> = raw.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
    let post = |path: &str, name: &str, value: &[u8], body: &str| {
        let mut said = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n").into_bytes();
        if name != "authorization" {
            said.extend(format!("authorization: Bearer {token}\r\n").bytes());
        }
        if !name.is_empty() {
            said.extend(name.bytes().chain(*b": ").chain(value.iter().copied()).chain(*b"\r\n"));
        }
        said.extend(format!("content-length: {}\r\n\r\n{body}", body.len()).bytes());
        said
    };
    let get =
        |path: String| format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n").into_bytes();
    let encoded: String = raw.iter().map(|byte| format!("%{byte:02X}")).collect();
    match field {
        "country" | "template" | "sender" => {
            let sid = format!("MM{number:032x}");
            let body = format!(
                "{{\"action_id\": \"{id}\", \"message_sid\": \"{sid}\", \"labels\": {{\"{field}\": {string}}}}}"
            );
            post("/v1/messages", "", b"", &body)
        }
        "idempotency-key" | "x-request-id" | "authorization" | "traceparent" => {
            post("/v1/events", field, &header, &member(""))
        }
        "a path" => get(format!("/v1/events/{encoded}")),
        "a query" => get(format!("/v1/dead-letters?cursor={encoded}&reason={encoded}")),
        field => post("/v1/events", "", b"", &member(field)),
    }
}
