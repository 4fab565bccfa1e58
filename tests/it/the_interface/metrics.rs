//! `GET /metrics`: each metric moves, and none of them names a caller's thing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use confirmd::domain::AccountSid;
use confirmd::operate::housekeeping::{Housekeeper, HousekeepingOptions};
use confirmd::telemetry::METRICS;

use super::{completed, mapping, served};
use crate::harness::service::Service;
use crate::harness::world::{DAY, MINUTE, World, account, sid};

/// The values of a scrape, by name and labels. Other stories of this run move them, too, so they only grow.
async fn scraped(service: &Service) -> (String, BTreeMap<String, f64>) {
    let answer = service.by_nobody().get("/metrics").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let lines = answer.text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let value = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    let values = lines.map(value).collect();
    (answer.text, values)
}

fn housekeeper(world: &World) -> Housekeeper {
    let lanes = world.setting.accounts.iter().enumerate();
    let named = |(at, account): (usize, &AccountSid)| (account.clone(), format!("lane-{}", at + 1).try_into().unwrap());
    Housekeeper::new(world.store.clone(), lanes.map(named).collect(), HousekeepingOptions::new(DAY))
}

/// Everything that can happen to an event, once at least.
async fn everything_happens(world: &mut World, service: &Service) {
    for rule in ["503;first=1", "429;first=1", "200;body=html;first=1"] {
        world.fault(rule);
    }
    service.post("/v1/events", completed("canary-never", "canary-action-never")).await;
    world.travel(7 * DAY);
    housekeeper(world).tidy().await.unwrap();
    service.post("/v1/events", completed("canary-1", "canary-action")).await;
    service.post("/v1/messages", mapping("canary-action", 0xcafe)).await;
    service.post("/v1/messages", mapping("canary-action", 0xcafe)).await;
    service.post("/v1/messages", mapping("canary-other", 0xcafe)).await;
    service.post("/v1/events", completed("canary-1", "canary-action")).await;
    service.post("/v1/events", completed("canary-2", "canary-action")).await;
    for _ in 0..5 {
        world.drain().await;
        world.travel(5 * MINUTE);
    }
    service.post("/v1/events", completed("canary-3", "canary-action")).await;
    world.fault("400;first=1");
    service.post("/v1/messages", mapping("canary-action-2", 0xbeef)).await;
    service.post("/v1/events", completed("canary-4", "canary-action-2")).await;
    world.drain().await;
    service.post("/v1/events", completed("canary-5", "canary-action-2")).await;
    service.post("/v1/messages", mapping("canary-action-3", 0xfeed)).await;
    world.fault("401;first=1");
    service.post("/v1/events", completed("canary-6", "canary-action-3")).await;
    world.drain().await;
    service.get("/v1/events/canary-1").await;
    service.get("/v1/nothing/canary-path?canary=query").await;
    housekeeper(world).measure().await.unwrap();
    housekeeper(world).tidy().await.unwrap();
}

const MOVED: &[&str] = &[
    "http_server_request_duration_seconds_count{http_route=\"/v1/events\",http_request_method=\"POST\",http_response_status_code=\"202\"}",
    "http_server_request_duration_seconds_count{http_route=\"/v1/messages\",http_request_method=\"POST\",http_response_status_code=\"201\"}",
    "http_server_request_duration_seconds_count{http_route=\"/v1/messages\",http_request_method=\"POST\",http_response_status_code=\"200\"}",
    "http_server_request_duration_seconds_count{http_route=\"/v1/messages\",http_request_method=\"POST\",http_response_status_code=\"409\"}",
    "http_server_request_duration_seconds_count{http_route=\"/v1/events/{event_id}\",http_request_method=\"GET\",http_response_status_code=\"200\"}",
    "http_server_request_duration_seconds_count{http_route=\"none\",http_request_method=\"GET\",http_response_status_code=\"404\"}",
    "confirmd_caller_events_total{caller=\"login\",answer=\"taken\"}",
    "confirmd_caller_events_total{caller=\"login\",answer=\"replayed\"}",
    "confirmd_owed_total{lane=\"unconfigured\"}",
    "confirmd_credentials_refused_total{lane=\"lane-1\",credential=\"first\"}",
    "confirmd_events_accepted_total{outcome=\"parked\"}",
    "confirmd_events_accepted_total{outcome=\"pending\"}",
    "confirmd_events_accepted_total{outcome=\"confirmed\"}",
    "confirmd_events_accepted_total{outcome=\"dead\"}",
    "confirmd_events_replayed_total",
    "confirmd_events_parked_total",
    "confirmd_events_unparked_total",
    "confirmd_events_expired_total",
    "confirmd_messages_registered_total{outcome=\"created\"}",
    "confirmd_messages_registered_total{outcome=\"known\"}",
    "confirmd_messages_registered_total{outcome=\"conflict\"}",
    "confirmd_commits_total{outcome=\"committed\"}",
    "confirmd_commit_seconds_count",
    "confirmd_commit_batch_size_count",
    "confirmd_handed_off_total",
    "confirmd_claims_total{lane=\"lane-1\"}",
    "confirmd_claimed_total{lane=\"lane-1\"}",
    "confirmd_attempts_total{lane=\"lane-1\",class=\"confirmed\"}",
    "confirmd_attempts_total{lane=\"lane-1\",class=\"transient\"}",
    "confirmd_attempts_total{lane=\"lane-1\",class=\"throttled\"}",
    "confirmd_attempts_total{lane=\"lane-1\",class=\"ambiguous\"}",
    "confirmd_attempts_total{lane=\"lane-1\",class=\"account_fault\"}",
    "confirmd_attempts_total{lane=\"lane-1\",class=\"rejected\"}",
    "confirmd_attempt_seconds_count{lane=\"lane-1\"}",
    "confirmd_given_up_total{lane=\"unconfigured\",reason=\"rejected\"}",
    "confirmd_settle_batch_size_count",
    "confirmd_settle_seconds_count",
    "confirmd_confirmed_total{lane=\"unconfigured\"}",
    "confirmd_event_to_confirmed_seconds_count{lane=\"unconfigured\"}",
];

/// Gauges: they are there, whatever they stand at after the other stories.
const SHOWN: &[&str] = &[
    "confirmd_build_info{",
    "confirmd_queue_waiting ",
    "confirmd_in_flight{lane=\"lane-1\"}",
    "confirmd_lane_limit{lane=\"lane-1\"}",
    "confirmd_lane_paused{lane=\"lane-1\"}",
    "confirmd_backlog{lane=\"lane-1\"}",
    "confirmd_oldest_due_seconds{lane=\"lane-1\"}",
    "confirmd_parked ",
    "confirmd_oldest_parked_seconds ",
    "confirmd_dead_letters{reason=\"expired\"}",
    "confirmd_dead_letters{reason=\"rejected\"}",
    "confirmd_lane_breaker_open{lane=\"lane-1\"}",
    "confirmd_replicas ",
    "confirmd_db_oldest_xmin_seconds ",
    "confirmd_db_oldest_xmin_transactions ",
    "db_client_connection_count{db_client_connection_pool_name=\"intake\",db_client_connection_state=\"used\"}",
    "db_client_connection_count{db_client_connection_pool_name=\"reads\",db_client_connection_state=\"idle\"}",
    "confirmd_db_durability{mode=\"local\"}",
    "confirmd_conservation_drift ",
];

#[tokio::test]
async fn what_happens_moves_its_metric_and_no_label_names_a_callers_thing() {
    let (mut world, service) = served().await;
    let (_, before) = scraped(&service).await;
    everything_happens(&mut world, &service).await;
    let (text, after) = scraped(&service).await;
    for name in MOVED {
        let (was, is) = (before.get(*name).copied().unwrap_or_default(), after.get(*name).copied().unwrap_or_default());
        assert!(was < is, "{name} did not move: {was}, {is}");
    }
    for name in SHOWN {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in {text}");
    }
    names_nobody(&text);
}

/// No SID, no id, no URL, no address.
fn names_nobody(text: &str) {
    for (at, _) in text.match_indices(|c: char| c.is_ascii_alphabetic()) {
        let rest = &text.as_bytes()[at..];
        let sid = 34 <= rest.len() && rest[2..34].iter().all(u8::is_ascii_hexdigit);
        let kind = [&b"SM"[..], b"MM", b"AC", b"RQ", b"SK", b"MG"].iter().any(|kind| rest.starts_with(kind));
        assert!(!(sid && kind), "{}", &text[at..at + 34]);
    }
    for told in ["canary", sid(0xcafe).as_str(), account(1).as_str(), "http:", "https:", "127.0.0.1"] {
        let labels = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('{'));
        for (_, labels) in labels {
            let labels = labels.rsplit_once('}').unwrap().0;
            assert!(!labels.contains(told), "{told} is in {labels}");
        }
    }
}

#[test]
fn every_metric_that_is_listed_is_moved_somewhere() {
    let source = rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let names = source.iter().find(|(path, _)| path.ends_with("telemetry/names.rs")).unwrap().1.clone();
    let listed: Vec<&str> = names
        .lines()
        .filter_map(|line| line.trim().strip_suffix("\";")?.split_once(" = \"")?.0.split_once(' '))
        .map(|(_kind, constant)| constant)
        .collect();
    assert_eq!(listed.len(), METRICS.len());
    let moved = |constant: &str| {
        let by = ["counter!", "gauge!", "histogram!"];
        let by = by.map(|with| [format!("{with}({constant},"), format!("{with}({constant})")]).concat();
        source.iter().any(|(_, text)| by.iter().any(|call| text.contains(call.as_str())))
    };
    let unmoved: Vec<_> = listed.into_iter().filter(|constant| !moved(constant)).collect();
    assert_eq!(unmoved, [""; 0], "listed, and never moved");
    // A moment that nobody tells of moves nothing either.
    let moments = &source.iter().find(|(path, _)| path.ends_with("telemetry/moments.rs")).unwrap().1;
    let moments =
        moments.lines().filter_map(|line| line.strip_prefix("pub fn ")?.split_once('(')).map(|(name, _)| name);
    let told = |moment: &str| source.iter().any(|(_, text)| text.contains(&format!("telemetry::{moment}(")));
    let untold: Vec<_> = moments.filter(|moment| !told(moment)).collect();
    assert_eq!(untold, [""; 0], "counted, and never told");
    // And nothing is counted that is not listed.
    let strays: Vec<_> = source
        .iter()
        .filter(|(path, text)| {
            !path.contains("/telemetry/")
                && ["counter!(", "gauge!(", "histogram!("].iter().any(|call| text.contains(call))
        })
        .map(|(path, _)| path)
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
}

/// Every source file below this folder: its path and its text.
fn rust_files(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((path.to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
    files
}
