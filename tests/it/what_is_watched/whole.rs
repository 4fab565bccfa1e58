//! The whole picture: a service, what scrapes it, what judges it, and who is told.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::{Json, Router, routing::post};
use serde_json::Value;
use tokio::net::TcpListener;

use super::programs::{Program, Watch};
use super::read;
use crate::harness::outside::eventually;
use crate::harness::process::Site;

/// What each panel of the dashboard asks, as Prometheus would be asked.
fn asked_by_the_dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("grafana/confirmd.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expression = |target: &Value| target["expr"].as_str().unwrap().to_owned();
    let asked: Vec<String> = targets.map(expression).collect();
    assert!(50 < asked.len());
    asked.into_iter().map(|asked| asked.replace("$lane", ".*").replace("$__rate_interval", "5s")).collect()
}

/// Names that are ours, or that we use as others do, and are no labels.
fn metrics_of(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let ours = |word: &&str| {
        let starts = ["confirmd_", "confirmd:", "http_server_", "db_client_connection_count"];
        starts.iter().any(|start| word.starts_with(start))
    };
    words.filter(ours).collect()
}

#[tokio::test]
async fn a_prometheus_that_scraped_the_service_has_an_answer_to_each_rule_and_each_panel() {
    let site = Site::new().await;
    let process = site.serve().await;
    let Some(prometheus) = Program::prometheus(Watch::over(&[process.caller.address])).await else { return };
    prometheus.comes_to_know("up == 1").await;
    for rule in ["503;first=1", "429;first=1", "400;first=1"] {
        site.fault(rule);
    }
    for number in 1..=20 {
        process.caller.insist(number).await;
    }
    site.everything_is_settled().await;
    prometheus.comes_to_know("confirmd:owed:rate5m").await;
    prometheus.comes_to_know("sum(confirmd_confirmed_total) == 19").await;
    prometheus.comes_to_know("max(confirmd_db_durability)").await;
    prometheus.comes_to_know("confirmd_backlog").await;

    let names = prometheus.ask("label/__name__/values").await.unwrap();
    let names: BTreeSet<&str> = names.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let rules = prometheus.ask("rules").await.unwrap();
    let rules: Vec<&Value> =
        rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(30 < rules.len());
    for rule in &rules {
        assert_eq!((&rule["health"], rule["lastError"].as_str()), (&"ok".into(), None), "{rule:#}");
    }
    let of_rules = rules.iter().map(|rule| rule["query"].as_str().unwrap().to_owned());
    let asked: Vec<String> = of_rules.chain(asked_by_the_dashboard()).collect();
    for expression in &asked {
        for name in metrics_of(expression) {
            assert!(names.contains(name), "{name} of {expression} was never scraped");
        }
        if let Err(error) = prometheus.query(expression).await {
            panic!("{expression}: {error}");
        }
    }
    // What has happened shows.
    for expression in asked_by_the_dashboard() {
        let of_another_time = ["ratio", "offset", "ALERTS"].iter().any(|word| expression.contains(word));
        let answer = prometheus.query(&expression).await.unwrap();
        assert!(of_another_time || !answer.is_empty(), "{expression} shows nothing");
    }
}

/// What Alertmanager has told, as it came: name, whether it fires, and what it says.
type Told = Arc<Mutex<Vec<(String, bool, Value)>>>;

/// Somebody on call: the address that tells them, and what they were told.
async fn on_call() -> (String, Told) {
    let told = Told::default();
    let heard = told.clone();
    let hear = post(move |Json(message): Json<Value>| async move {
        for alert in message["alerts"].as_array().unwrap() {
            let name = alert["labels"]["alertname"].as_str().unwrap().to_owned();
            heard.lock().unwrap().push((name, alert["status"] == "firing", alert["annotations"].clone()));
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", hear)).await });
    (hook, told)
}

async fn is_told(told: &Told, name: &str, firing: bool) -> Value {
    let find = || async {
        let told = told.lock().unwrap();
        told.iter().find(|(alert, fires, _)| alert == name && *fires == firing).map(|(_, _, says)| says.clone())
    };
    eventually(&format!("on call is told of {name}, firing: {firing}"), find).await
}

#[tokio::test]
async fn on_call_is_told_when_twilio_refuses_us_and_when_it_is_mended() {
    let mut site = Site::new().await;
    site.set("delivery.probe_every", "200ms");
    let replicas = [site.serve().await, site.serve().await];
    let (hook, told) = on_call().await;
    let Some(alertmanager) = Program::alertmanager(&hook).await else { return };
    let scraped = replicas.each_ref().map(|replica| replica.caller.address);
    let watch = Watch { alertmanager: Some(alertmanager.address), ..Watch::over(&scraped) };
    let Some(prometheus) = Program::prometheus(watch).await else { return };
    prometheus.comes_to_know("count(up == 1) == 2").await;
    for number in 1..=3 {
        replicas[0].caller.insist(number).await;
    }
    site.everything_is_settled().await;
    // The tests' Postgres runs without fsync, and that is told.
    let told_of_others = |(name, ..): &&(String, bool, Value)| name != "ConfirmdNotDurable";
    assert_eq!(told.lock().unwrap().iter().find(told_of_others), None, "all is well");

    site.fault("401");
    for number in 4..=6 {
        replicas[1].caller.insist(number).await;
    }
    let says = is_told(&told, "ConfirmdCredentialsRefused", true).await;
    assert_eq!(says["summary"], "lane-1: Twilio refuses the first credential");
    assert_eq!(says["runbook"], "deploy/RUNBOOK.md#confirmdcredentialsrefused");
    let says = is_told(&told, "ConfirmdLanePaused", true).await;
    assert_eq!(says["summary"], "lane-1: the lane is paused");
    assert_eq!(site.count("feedback").await, 3, "the work waits");

    site.twilio.clear_faults();
    site.everything_is_settled().await;
    is_told(&told, "ConfirmdLanePaused", false).await;
    is_told(&told, "ConfirmdCredentialsRefused", false).await;
    assert_eq!(site.count("confirmation").await, 6);
    site.is_lawful().await;
}
