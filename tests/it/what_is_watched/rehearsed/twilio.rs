//! What is on call for Twilio, and for what is sent there.

use std::time::Duration;

use serde_json::json;

use super::{MESSAGE, Rehearsal};
use crate::changed_while_it_runs::{reload, with_account};
use crate::harness::caller::Caller;
use crate::harness::process::Site;
use crate::harness::world::{TOKEN, account, sid};
use crate::what_is_watched::programs::Watch;

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn what_is_on_call_for_twilio_is_mended_as_the_runbook_says() {
    let mut site = Site::new().await;
    // What was refused waits for as long, and a minute is long for a test.
    site.set("delivery.probe_every", "3s");
    let process = site.serve().await;
    let caller = &process.caller;
    let Some(on_call) = Rehearsal::of(site, &[&process]).await else { return };
    let ours = account(1);
    let this_account = [(ACCOUNT, ours.as_str())];

    on_call.it_happens();
    assert_eq!(on_call.site.run(&["lanes", "pause", ours.as_str(), "--reason", "forgotten"]).await.code, Some(0));
    on_call.fires("ConfirmdLanePaused").await;
    assert!(on_call.does("ConfirmdLanePaused", "confirmd lanes list", &[]).await.contains("operator: forgotten"));
    on_call.does("ConfirmdLanePaused", &format!("confirmd lanes resume {ACCOUNT}"), &this_account).await;
    on_call.it_is_mended();
    on_call.is_over("ConfirmdLanePaused").await;

    on_call.it_happens();
    on_call.site.fault("401");
    caller.insist(1).await;
    on_call.fires("ConfirmdCredentialsRefused").await;
    let check = on_call.typed("ConfirmdCredentialsRefused", "confirmd check", &[]).await;
    assert!(check.code != Some(0) && check.stdout.contains("Twilio refuses its credential with 401"), "{check:?}");
    on_call.site.twilio.clear_faults();
    on_call.does("ConfirmdCredentialsRefused", &format!("confirmd lanes resume {ACCOUNT}"), &this_account).await;
    on_call.it_is_mended();
    on_call.site.everything_is_settled().await;
    on_call.is_over("ConfirmdCredentialsRefused").await;

    on_call.it_happens();
    on_call.site.fault("503");
    for number in 2..=12 {
        caller.insist(number).await;
    }
    on_call.fires("ConfirmdTwilioTrouble").await;
    assert!(on_call.does("ConfirmdTwilioTrouble", "confirmd explain", &[]).await.contains("5xx"));
    let pause = format!("confirmd lanes pause {ACCOUNT} --reason 'room for sending'");
    on_call.does("ConfirmdTwilioTrouble", &pause, &this_account).await;
    on_call.site.twilio.clear_faults();
    on_call.does("ConfirmdTwilioTrouble", &format!("confirmd lanes resume {ACCOUNT}"), &this_account).await;
    on_call.it_is_mended();
    on_call.site.everything_is_settled().await;
    on_call.is_over("ConfirmdTwilioTrouble").await;

    on_call.it_happens();
    on_call.site.fault("404");
    caller.register("login-20", 20).await.unwrap();
    on_call
        .site
        .sql("update message set registered_at = now() - interval '2 days', sent_at = now() - interval '2 days'")
        .await;
    caller.complete("event-20", "login-20").await.unwrap();
    on_call.fires("ConfirmdDeadLetters").await;
    let list = "confirmd dead-letters list --reason message_not_found --limit 20";
    assert!(on_call.does("ConfirmdDeadLetters", list, &[]).await.contains(sid(20).as_str()));
    let trace = format!("confirmd trace {MESSAGE}");
    on_call.does("ConfirmdDeadLetters", &trace, &[(MESSAGE, sid(20).as_str())]).await;
    on_call.site.twilio.clear_faults();
    let not_found = [("gave_up", "message_not_found")];
    let dry = on_call.does("ConfirmdDeadLetters", "confirmd dead-letters replay --reason gave_up", &not_found).await;
    assert!(dry.starts_with("1 dead letters match"), "{dry}");
    let replay = "confirmd dead-letters replay --reason gave_up --rate 50 --yes";
    on_call.does("ConfirmdDeadLetters", replay, &not_found).await;
    on_call.it_is_mended();
    on_call.site.everything_is_settled().await;
    assert_eq!(on_call.site.count("dead_letter").await, 0);
    on_call.is_over("ConfirmdDeadLetters").await;
    on_call.site.is_lawful().await;
}

#[tokio::test]
async fn where_nobody_delivers_a_worker_is_started_and_all_of_it_is_over() {
    let site = Site::new().await;
    let intake = site.serve_with(&["--role", "intake"]).await;
    let caller = intake.caller.clone();
    let Some(on_call) = Rehearsal::of(site, &[&intake]).await else { return };
    on_call.it_happens();
    on_call.fires("ConfirmdNobodyDelivers").await;
    for number in 1..=10 {
        caller.insist(number).await;
    }
    on_call.fires("ConfirmdPromiseBurnsFast").await;
    on_call.fires("ConfirmdOldestDueTooOld").await;
    for alert in ["ConfirmdNobodyDelivers", "ConfirmdPromiseBurnsFast", "ConfirmdOldestDueTooOld"] {
        assert!(on_call.does(alert, "confirmd lanes list", &[]).await.contains("10 pending"));
    }
    let _worker = on_call.site.serve_with(&["--role", "worker"]).await;
    on_call.it_is_mended();
    on_call.site.everything_is_settled().await;
    on_call.is_over("ConfirmdNobodyDelivers").await;
    on_call.is_over("ConfirmdOldestDueTooOld").await;
    on_call.is_over("ConfirmdPromiseBurnsFast").await;
    on_call.site.is_lawful().await;
}

#[tokio::test]
async fn a_promise_that_burns_slowly_is_read_in_the_story_of_a_late_message() {
    let site = Site::new().await;
    let process = site.serve().await;
    // Its windows are hours; six of them take half a minute.
    let scraped = [process.caller.address];
    let watch = Watch { minute: Duration::from_millis(100), ..Watch::over(&scraped) };
    let Some(on_call) = Rehearsal::watched(site, watch).await else { return };
    on_call.it_happens();
    let late = sid(2);
    on_call.site.fault(&format!("404;message={late}"));
    for number in 1..=5 {
        process.caller.insist(number).await;
    }
    on_call.fires("ConfirmdPromiseBurnsSlowly").await;
    on_call.site.twilio.clear_faults();
    on_call.site.everything_is_settled().await;
    on_call.it_is_mended();
    let story = on_call
        .does("ConfirmdPromiseBurnsSlowly", &format!("confirmd trace {MESSAGE}"), &[(MESSAGE, late.as_str())])
        .await;
    assert!(story.contains("status 404") && story.contains("confirmed"), "{story}");
    on_call.is_over("ConfirmdPromiseBurnsSlowly").await;
    on_call.site.is_lawful().await;
}

/// Events that name their messages, all at once.
async fn tells_of(caller: &Caller, numbers: std::ops::Range<u32>) {
    let event =
        |number| json!({"event_id": format!("event-{number}"), "type": "otp.completed", "message_sid": sid(number)});
    let batch = json!({"events": numbers.map(event).collect::<Vec<_>>()});
    assert_eq!(caller.post("/v1/events/batch", &batch).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_backlog_that_grows_is_worked_off_when_the_account_may_have_more_in_flight() {
    let mut site = Site::new().await;
    with_account(&mut site, &format!("auth_token = \"{TOKEN}\"\nmax_concurrency = 1"));
    let process = site.serve().await;
    let caller = process.caller.clone();
    let Some(on_call) = Rehearsal::of(site, &[&process]).await else { return };
    on_call.it_happens();
    on_call.site.fault("delay;time=200ms");
    tells_of(&caller, 0..600).await;
    tells_of(&caller, 600..1200).await;
    let grows = async {
        let mut next = 1200;
        loop {
            let known = on_call.prometheus.comes_to_know("confirmd:backlog:max > 1000").await;
            let known = known[0]["value"][1].as_str().unwrap().to_owned();
            tells_of(&caller, next..next + 100).await;
            next += 100;
            on_call.prometheus.comes_to_know(&format!("confirmd:backlog:max > {known}")).await;
        }
    };
    tokio::select! {
        () = on_call.fires("ConfirmdBacklogGrowing") => {}
        () = grows => {}
    }
    let lanes = on_call.does("ConfirmdBacklogGrowing", "confirmd lanes list", &[]).await;
    assert!(lanes.contains("limit 1"), "{lanes}");
    let more = |config: String| config.replace("max_concurrency = 1", "max_concurrency = 64");
    reload(&on_call.site, &process, "Reloaded the configuration", more).await;
    on_call.it_is_mended();
    on_call.is_over("ConfirmdBacklogGrowing").await;
    on_call.site.is_lawful().await;
}
