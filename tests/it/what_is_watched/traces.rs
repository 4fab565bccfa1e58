//! A login's trace goes on in confirmd: through the row, into the attempt, in another process and later, as a real collector
//! sees it. Logs bear the same ids.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::harness::caller::{Caller, completed};
use crate::harness::outside::eventually;
use crate::harness::process::{Confirmd, Site, installed};

const COLLECTOR: &str = "rotel==0.0.1a15";

/// A collector that prints each span it is sent. Killed when it is dropped.
struct Collector {
    endpoint: String,
    process: Confirmd,
}

#[derive(Clone, Debug, Default)]
struct Span {
    trace: String,
    parent: String,
    id: String,
    name: String,
    kind: String,
}

impl Collector {
    /// None where it cannot be had.
    async fn start() -> Option<Self> {
        let python = installed("collector", COLLECTOR).await?;
        let find = "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'), end='')";
        let found = Command::new(python).args(["-c", find]).output().await.unwrap();
        let program = PathBuf::from(String::from_utf8(found.stdout).unwrap());
        // It does not tell which port it was given; nobody else is given this one so soon.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(program);
        command.args(["start", "--otlp-http-endpoint", &address.to_string(), "--otlp-grpc-endpoint", "127.0.0.1:0"]);
        command.args(["--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let process = Confirmd::begin(command);
        let listens = || async { tokio::net::TcpStream::connect(address).await.ok() };
        eventually("the collector listens", listens).await;
        Some(Self { endpoint: format!("http://{address}"), process })
    }

    /// The spans of a trace, so far.
    fn spans(&self, trace: &str) -> Vec<Span> {
        let said = self.process.printed() + &self.process.log();
        let mut spans: Vec<Span> = Vec::new();
        for line in said.lines() {
            if line.starts_with("Span #") {
                spans.push(Span::default());
            }
            let (Some(span), Some((what, value))) = (spans.last_mut(), line.split_once(':')) else { continue };
            let value = value.trim().to_owned();
            match what.trim() {
                "Trace ID" => span.trace = value,
                "Parent ID" => span.parent = value,
                "ID" => span.id = value,
                "Name" => span.name = value,
                "Kind" => span.kind = value,
                _ => {}
            }
        }
        spans.retain(|span| span.trace == trace);
        spans
    }

    /// Waits for the span of a request and that of an attempt, the one a part of the other.
    async fn sees_a_login(&self, trace: &str, parent: &str) {
        let find = || async {
            let spans = self.spans(trace);
            let request = spans.iter().find(|span| span.name == "POST /v1/events")?;
            let attempt = spans.iter().find(|span| span.name == "POST Feedback.json")?;
            Some((request.clone(), attempt.clone()))
        };
        let (request, attempt) = eventually(&format!("the collector has both spans of {trace}"), find).await;
        assert_eq!((request.parent.as_str(), attempt.parent.as_str()), (parent, request.id.as_str()), "{attempt:?}");
        // As this collector numbers and names them.
        assert_ne!(request.kind, attempt.kind);
    }
}

const PARENT: &str = "00f067aa0ba902b7";

fn trace_of(number: u32) -> String {
    format!("4bf92f3577b34da6a3ce929d{number:08x}")
}

/// Tells of an event, as a part of the trace with its number.
async fn complete(caller: &Caller, number: u32) {
    let body = completed(&format!("event-{number}"), &format!("login-{number}")).to_string();
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nhost: confirmd\r\nauthorization: Bearer {}\r\ntraceparent: 00-{}-{PARENT}-01\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        caller.token,
        trace_of(number),
        body.len()
    );
    let mut answer = String::new();
    caller.says(&request).await.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

/// The trace that a log's line about a message bears.
fn logged_trace(process: &Confirmd, what: &str, field: &str, value: &str) -> Option<String> {
    let lines = process.log();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut about = lines.filter(|line| {
        line["message"].as_str().is_some_and(|said| said.contains(what)) && line[field].as_str() == Some(value)
    });
    about.next().map(|line| line["trace_id"].as_str().unwrap_or("none").to_owned())
}

fn sid_of(number: u32) -> String {
    crate::harness::world::sid(number).to_string()
}

#[tokio::test]
async fn a_login_is_traced_through_the_row_to_its_confirmation() {
    let Some(collector) = Collector::start().await else { return };
    let mut site = Site::new().await;
    site.set_variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint);
    site.set_variable("OTEL_BSP_SCHEDULE_DELAY", "100");
    site.set("log.filter", "info,confirmd::delivery=debug");
    let intake = site.serve_with(&["--role", "intake"]).await;
    // In the queue before anybody delivers; and an event that comes before its message.
    intake.caller.register("login-1", 1).await.unwrap();
    complete(&intake.caller, 1).await;
    complete(&intake.caller, 2).await;
    let with_its_event = "feedback join event on event.message_sids[1] = feedback.message_sid
        where feedback.traceparent is not null and feedback.xmin::text = event.xmin::text";
    assert_eq!(site.count(with_its_event).await, 1, "who claims it a moment later knows its trace");
    let worker = site.serve_with(&["--role", "worker"]).await;
    collector.sees_a_login(&trace_of(1), PARENT).await;
    assert_eq!(collector.spans(&trace_of(2)).len(), 1, "it is parked");
    intake.caller.register("login-2", 2).await.unwrap();
    collector.sees_a_login(&trace_of(2), PARENT).await;
    // Handed over in memory, and spoken of as one of a batch.
    let both = site.serve().await;
    both.caller.register("login-3", 3).await.unwrap();
    complete(&both.caller, 3).await;
    collector.sees_a_login(&trace_of(3), PARENT).await;
    site.everything_is_settled().await;

    for number in [1, 2] {
        let trace = logged_trace(&worker, "Confirmed", "message_sid", &sid_of(number));
        assert_eq!(trace, Some(trace_of(number)), "{}", worker.log());
    }
    site.is_lawful().await;
}

#[tokio::test]
async fn the_last_spans_are_sent_before_the_process_ends() {
    let Some(collector) = Collector::start().await else { return };
    let mut site = Site::new().await;
    site.set_variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint);
    site.set_variable("OTEL_BSP_SCHEDULE_DELAY", "600000");
    let mut process = site.serve().await;
    process.caller.register("login-1", 1).await.unwrap();
    complete(&process.caller, 1).await;
    site.everything_is_settled().await;
    assert_eq!(collector.spans(&trace_of(1)).len(), 0, "nothing is sent before its time");
    process.terminate();
    assert_eq!(process.ends_within(std::time::Duration::from_secs(10)).await, Some(0));
    collector.sees_a_login(&trace_of(1), PARENT).await;
}

#[tokio::test]
async fn without_a_collector_a_caller_s_trace_is_still_in_the_log_and_who_does_not_trace_writes_nothing() {
    let mut site = Site::new().await;
    site.set("log.filter", "info,confirmd::delivery=debug");
    let process = site.serve().await;
    site.sql(
        "create table seen as select message_sid, traceparent from feedback limit 0;
              grant insert on seen to confirmd_app;
              create function keep() returns trigger language plpgsql as $$
              begin insert into seen values (old.message_sid, old.traceparent); return null; end $$;
              create trigger kept after delete on feedback for each row execute function keep();",
    )
    .await;
    process.caller.register("login-1", 1).await.unwrap();
    complete(&process.caller, 1).await;
    process.caller.insist(2).await;
    site.everything_is_settled().await;
    let confirmed = || async { logged_trace(&process, "Confirmed", "message_sid", &sid_of(1)) };
    assert_eq!(eventually("it is logged", confirmed).await, trace_of(1));
    let untraced = || async { logged_trace(&process, "Confirmed", "message_sid", &sid_of(2)) };
    assert_eq!(eventually("it is logged", untraced).await, "none");
    assert_eq!(site.count(&format!("seen where traceparent like '00-{}-%'", trace_of(1))).await, 1);
    assert_eq!(site.count("seen where traceparent is null").await, 1);
}

#[tokio::test]
async fn a_collector_that_is_away_changes_nothing() {
    let mut site = Site::new().await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.set_variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{nobody}"));
    let mut process = site.serve().await;
    for number in 1..=20 {
        process.caller.insist(number).await;
    }
    site.everything_is_settled().await;
    process.terminate();
    assert_eq!(process.ends_within(std::time::Duration::from_secs(30)).await, Some(0));
    site.is_lawful().await;
}
