//! What is on call for callers, and for what they tell.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::{Rehearsal, statements};
use crate::changed_while_it_runs::{new_token, reload};
use crate::harness::caller::Caller;
use crate::harness::outside::eventually;
use crate::harness::process::Site;
use crate::harness::world::account;
use crate::what_is_watched::programs::Watch;

#[tokio::test]
async fn events_whose_messages_do_not_come_and_a_feedback_that_is_gone_are_mended_as_the_runbook_says() {
    let site = Site::new().await;
    let process = site.serve().await;
    let (caller, address) = (process.caller.clone(), process.caller.address);
    // What expired is told for an hour, which takes a quarter of a minute.
    let scraped = [address];
    let watch = Watch { minute: Duration::from_millis(250), ..Watch::over(&scraped) };
    let Some(mut on_call) = Rehearsal::watched(site, watch).await else { return };

    on_call.it_happens();
    caller.complete("never", "login-8").await.unwrap();
    on_call.site.sql("update parked set parked_at = now() - interval '8 days'").await;
    // Upkeep comes once a minute, and at the start.
    process.kill().await;
    let process = on_call.serve_at(address).await;
    on_call.fires("ConfirmdEventsExpired").await;
    let list = "confirmd dead-letters list --reason expired --limit 20";
    assert!(on_call.does("ConfirmdEventsExpired", list, &[]).await.contains("never"));
    on_call.does("ConfirmdEventsExpired", "confirmd dead-letters replay --reason expired", &[]).await;
    on_call.does("ConfirmdEventsExpired", "confirmd dead-letters replay --reason expired --yes", &[]).await;
    caller.register("login-8", 2).await.unwrap();
    on_call.site.everything_is_settled().await;
    assert_eq!(on_call.site.count("confirmation").await, 1);
    let expired = Instant::now();

    // What expired was an old one until then.
    on_call.prometheus.comes_to_know("absent(ALERTS{alertname=\"ConfirmdParkedEventsAgeing\"})").await;
    on_call.it_happens();
    caller.complete("early", "login-7f3a").await.unwrap();
    on_call.site.sql("update parked set parked_at = now() - interval '2 days'").await;
    on_call.fires("ConfirmdParkedEventsAgeing").await;
    let trace = on_call.does("ConfirmdParkedEventsAgeing", "confirmd trace login-7f3a --namespace default", &[]).await;
    assert!(trace.contains("parked"), "{trace}");
    caller.register("login-7f3a", 1).await.unwrap();
    on_call.it_is_mended();
    on_call.is_over("ConfirmdParkedEventsAgeing").await;

    on_call.it_happens();
    assert_eq!(on_call.site.run(&["lanes", "pause", account(1).as_str(), "--reason", "a test"]).await.code, Some(0));
    on_call.prometheus.comes_to_know("confirmd_lane_paused == 1").await;
    caller.insist(3).await;
    assert_eq!(on_call.site.count("feedback").await, 1);
    on_call.site.sql("delete from feedback").await;
    process.kill().await;
    let process = on_call.serve_at(address).await;
    on_call.fires("ConfirmdConservationDrift").await;
    let audit = on_call.typed("ConfirmdConservationDrift", "confirmd audit", &[]).await;
    assert_eq!(audit.code, Some(1), "{audit:?}");
    let [owed_anew] = statements("ConfirmdConservationDrift").try_into().unwrap();
    on_call.mends("ConfirmdConservationDrift", &owed_anew, &[]).await;
    on_call.it_is_mended();
    assert_eq!(on_call.site.run(&["lanes", "resume", account(1).as_str()]).await.code, Some(0));
    eventually("it is confirmed", || async { (on_call.site.count("confirmation").await == 3).then_some(()) }).await;
    on_call.does("ConfirmdConservationDrift", "confirmd audit", &[]).await;
    process.kill().await;
    let _process = on_call.serve_at(address).await;
    on_call.is_over("ConfirmdConservationDrift").await;
    on_call.mended.set(expired);
    on_call.is_over("ConfirmdEventsExpired").await;
}

/// Connections that somebody opens, and forgets.
async fn hoards(caller: &Caller, connections: usize) -> Vec<TcpStream> {
    let mut hoarded = Vec::new();
    for _ in 0..connections {
        hoarded.push(caller.says("").await);
    }
    hoarded
}

#[tokio::test]
async fn connections_that_are_refused_are_let_in_where_there_may_be_more_of_them() {
    let mut site = Site::new().await;
    site.set("server.max_connections", "10");
    site.set("server.max_connections_per_peer", "10");
    let process = site.serve().await;
    let (caller, address) = (process.caller.clone(), process.caller.address);
    let Some(mut on_call) = Rehearsal::of(site, &[&process]).await else { return };
    on_call.it_happens();
    let _hoarded = hoards(&caller, 15).await;
    on_call.fires("ConfirmdConnectionsRefused").await;
    on_call.site.set("server.max_connections", "20");
    on_call.does("ConfirmdConnectionsRefused", "confirmd check", &[]).await;
    process.kill().await;
    let process = on_call.serve_at(address).await;
    on_call.it_is_mended();
    on_call.is_over("ConfirmdConnectionsRefused").await;

    on_call.it_happens();
    let _hoarded = hoards(&caller, 15).await;
    on_call.fires("ConfirmdPeerConnectionsRefused").await;
    on_call.site.set("server.max_connections_per_peer", "20");
    on_call.does("ConfirmdPeerConnectionsRefused", "confirmd check", &[]).await;
    process.kill().await;
    let _process = on_call.serve_at(address).await;
    on_call.it_is_mended();
    let _hoarded = hoards(&caller, 15).await;
    assert_eq!(caller.get("/v1/lanes").await.unwrap().status, 200);
    on_call.is_over("ConfirmdPeerConnectionsRefused").await;
}

#[tokio::test]
async fn a_caller_that_has_lost_its_token_gets_a_new_one_and_is_heard_again() {
    let site = Site::new().await;
    let process = site.serve().await;
    // What Prometheus recorded a week ago, of which each day takes 24 minutes here.
    let now = "select floor(extract(epoch from now()))::bigint::text";
    let week_ago = site.text(now).await.parse::<i64>().unwrap() - 7 * 24 * 60;
    let recorded = (week_ago - 300..week_ago + 300).step_by(15);
    let recorded = recorded.map(|at| format!("confirmd:caller_events:increase1h{{caller=\"login\"}} 100 {at}\n"));
    let before = format!("# TYPE confirmd:caller_events:increase1h gauge\n{}# EOF\n", recorded.collect::<String>());
    let scraped = [process.caller.address];
    let watch = Watch { before: Some(before), ..Watch::over(&scraped) };
    let Some(on_call) = Rehearsal::watched(site, watch).await else { return };

    on_call.it_happens();
    let (_, of_nobody) = new_token();
    let only = |digest: String| {
        move |config: String| {
            let (before, _) = config.split_once("tokens_sha256").unwrap();
            format!("{before}tokens_sha256 = [\"{digest}\"]\n")
        }
    };
    reload(&on_call.site, &process, "Reloaded the configuration", only(of_nobody)).await;
    let caller = process.caller.clone();
    assert_eq!(caller.complete("event-0", "login-0").await.unwrap().status, 401);
    on_call.fires("ConfirmdCallerQuiet").await;
    let refused = "http_server_request_duration_seconds_count{http_response_status_code=\"401\"} > 0";
    on_call.prometheus.comes_to_know(refused).await;
    let new = on_call.does("ConfirmdCallerQuiet", "confirmd token new", &[]).await;
    let token = new.split_whitespace().find(|word| word.starts_with("cfd_")).unwrap().to_owned();
    let digest = new.split_once("[\"").unwrap().1.split('"').next().unwrap().to_owned();
    reload(&on_call.site, &process, "Reloaded the configuration", only(digest)).await;
    on_call.it_is_mended();
    let renewed = Caller { token, ..caller };
    for number in 0..20 {
        assert!(renewed.complete(&format!("event-{number}"), "login-0").await.unwrap().is_taken());
    }
    on_call.is_over("ConfirmdCallerQuiet").await;
}
