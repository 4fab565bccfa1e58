//! The rules: each alert has a runbook that can be followed, and stories that show when it fires and when not.

use std::collections::BTreeSet;

use clap::Parser as _;
use confirmd::cli::Cli;
use confirmd::telemetry::METRICS;
use tokio::process::Command;

use super::{deploy, read};
use crate::harness::process::tool;

const STORIES: [&str; 7] = ["callers", "delivery", "intake", "postgres", "promise", "promise_by_day", "replicas"];

/// What stands behind this key, on each line that has it.
pub(super) fn values<'a>(yaml: &'a str, key: &str) -> Vec<&'a str> {
    let value =
        |line: &'a str| Some(line.trim().trim_start_matches("- ").strip_prefix(key)?.strip_prefix(": ")?.trim());
    yaml.lines().filter_map(value).collect()
}

#[test]
fn each_alert_has_its_heading_in_the_runbook_and_each_heading_its_alert() {
    let (rules, runbook) = (read("prometheus/rules.yml"), read("RUNBOOK.md"));
    let alerts = values(&rules, "alert");
    let headings: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let sorted = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(sorted(&alerts), sorted(&headings));

    let links = values(&rules, "runbook");
    let wanted: Vec<String> =
        alerts.iter().map(|alert| format!("deploy/RUNBOOK.md#{}", alert.to_lowercase())).collect();
    assert_eq!(links, wanted);
    for part in runbook.split("\n## ").skip(1) {
        for says in ["**It means.**", "**Look.**", "**Do.**"] {
            assert!(part.contains(says), "{says} is missing at {}", part.lines().next().unwrap());
        }
    }
}

#[test]
fn each_command_of_the_runbook_can_be_typed() {
    let runbook = read("RUNBOOK.md");
    let blocks = runbook.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let commands: Vec<&str> = blocks.flat_map(str::lines).filter(|line| !line.is_empty()).collect();
    assert!(30 < commands.len());
    for command in commands {
        let command = command.split(" # ").next().unwrap();
        let mut words = command.split('\'').enumerate().flat_map(|(quoted, part)| match quoted % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
            _ => vec![part.to_owned()],
        });
        assert_eq!(words.next().as_deref(), Some("confirmd"), "{command}");
        let typed = std::iter::once("confirmd".to_owned()).chain(words);
        if let Err(error) = Cli::try_parse_from(typed) {
            panic!("{command}: {error}");
        }
    }
}

#[test]
fn each_alert_has_a_story_in_which_it_fires_one_in_which_it_does_not_and_one_without_data() {
    let rules = read("prometheus/rules.yml");
    let stories = STORIES.map(|name| read(&format!("prometheus/tests/{name}.yml"))).join("\n");
    let mut told = Vec::new();
    for story in stories.split("\n  - name: ").skip(1) {
        let without_data = story.contains("input_series: []");
        for check in story.split("- alertname: ").skip(1) {
            let alert = check.lines().next().unwrap().to_owned();
            told.push((alert, check.contains("exp_labels"), without_data));
        }
    }
    for alert in values(&rules, "alert") {
        let has = |fires: bool, without_data: bool| told.contains(&(alert.to_owned(), fires, without_data));
        // That nobody answers is just what one of them is about.
        let without_data = has(false, true) || alert == "ConfirmdAbsent" && has(true, true);
        assert!(has(true, false) && has(false, false) && without_data, "{alert}: {told:?}");
    }
}

#[test]
fn rules_and_dashboard_name_no_metric_that_is_not_there() {
    let rules = read("prometheus/rules.yml");
    let recorded = values(&rules, "record");
    let known = |name: &str| {
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
        METRICS.iter().any(|metric| metric.name == name || Some(metric.name) == base)
    };
    for text in [&rules, &read("grafana/confirmd.json")] {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':') {
            let metric = ["confirmd_", "http_server_", "db_client_conn"].iter().any(|start| word.starts_with(start));
            let label = ["db_client_connection_pool_name", "db_client_connection_state"].contains(&word);
            assert!(!metric || label || known(word), "{word} is no metric");
            assert!(!word.starts_with("confirmd:") || recorded.contains(&word), "{word} is not recorded");
        }
    }
}

#[tokio::test]
async fn the_rules_hold_in_their_stories() {
    let Some(promtool) = tool("promtool") else { return };
    let mut check = Command::new(&promtool);
    check.args(["check", "rules"]).arg(deploy("prometheus/rules.yml"));
    let mut test = Command::new(&promtool);
    test.args(["test", "rules"]).args(STORIES.map(|name| deploy(&format!("prometheus/tests/{name}.yml"))));
    for mut command in [check, test] {
        let ran = command.kill_on_drop(true).output().await.unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}
