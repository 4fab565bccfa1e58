//! A real Prometheus and a real Alertmanager, with the rules as they are deployed, in a time that runs faster.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::read;
use crate::harness::outside::{eventually, within};
use crate::harness::process::Confirmd;
use crate::harness::process::tool;

/// Longest that an alert or a series may take: the longest of its windows, its `for`, and a busy machine.
pub(super) const LONGEST: Duration = Duration::from_secs(90);

/// How long a minute of the rules lasts: sixty times less.
pub(super) const A_SECOND: Duration = Duration::from_secs(1);

/// What a Prometheus watches, and how.
pub(super) struct Watch<'a> {
    pub(super) scraped: &'a [SocketAddr],
    pub(super) alertmanager: Option<SocketAddr>,
    /// Of the rules.
    pub(super) minute: Duration,
    /// What it knows from before, as OpenMetrics.
    pub(super) before: Option<String>,
}

impl<'a> Watch<'a> {
    pub(super) fn over(scraped: &'a [SocketAddr]) -> Self {
        Self { scraped, alertmanager: None, minute: A_SECOND, before: None }
    }
}

/// A program that says where it listens. Killed when it is dropped.
pub(super) struct Program {
    pub(super) address: SocketAddr,
    http: reqwest::Client,
    process: Confirmd,
    folder: TempDir,
}

impl Program {
    /// `arguments` may speak of the folder as `FOLDER`, in which these files are.
    async fn start(path: &Path, folder: TempDir, files: &[(&str, String)], arguments: &[&str]) -> Self {
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let here = folder.path().to_str().unwrap();
        let mut command = Command::new(path);
        command.args(arguments.iter().map(|argument| argument.replace("FOLDER", here)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let process = Confirmd::begin(command);
        let line = process.logs("Listening on").await;
        let address = line.split_once("address=").unwrap().1.trim().parse().unwrap();
        Self { address, http: client(), process, folder }
    }

    /// A Prometheus. It gets its rules once it has asked each of whom it scrapes for the first time: before, all of them
    /// would be absent to it, and a second of that is a minute here.
    pub(super) async fn prometheus(watch: Watch<'_>) -> Option<Self> {
        let path = tool("prometheus")?;
        let targets = |addresses: &[SocketAddr]| {
            addresses.iter().map(|address| format!("'{address}'")).collect::<Vec<_>>().join(", ")
        };
        let told = targets(watch.alertmanager.as_slice());
        // Half a minute of the rules, and not less than a busy machine takes to answer.
        let scrape = (watch.minute / 2).max(Duration::from_millis(200)).as_millis();
        let config = format!(
            "global: {{scrape_interval: {scrape}ms, scrape_timeout: {scrape}ms, evaluation_interval: {scrape}ms}}\n\
             rule_files: ['rules*.yml']\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: [{told}]}}]}}]}}\n\
             scrape_configs: [{{job_name: confirmd, static_configs: [{{targets: [{}]}}]}}]\n",
            targets(watch.scraped)
        );
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = &watch.before {
            recall(folder.path(), text).await?;
        }
        let arguments = [
            "--config.file=FOLDER/prometheus.yml",
            "--storage.tsdb.path=FOLDER/data",
            "--web.listen-address=127.0.0.1:0",
            "--rules.alert.resend-delay=1s",
        ];
        let prometheus = Self::start(&path, folder, &[("prometheus.yml", config)], &arguments).await;
        prometheus.comes_to_know(&format!("count(up) == {}", watch.scraped.len())).await;
        let rules = hurried(&read("prometheus/rules.yml"), watch.minute);
        std::fs::write(prometheus.folder.path().join("rules.yml"), rules).unwrap();
        prometheus.process.hang_up();
        let judges = || async {
            let rules = prometheus.ask("rules").await.ok()?;
            rules["groups"].as_array().is_some_and(|groups| !groups.is_empty()).then_some(())
        };
        eventually("Prometheus has its rules", judges).await;
        Some(prometheus)
    }

    /// An Alertmanager that tells each alert to a web hook, when it fires and when it is resolved.
    pub(super) async fn alertmanager(hook: &str) -> Option<Self> {
        let path = tool("prometheus-alertmanager")?;
        let config = format!(
            "route: {{receiver: hook, group_by: [alertname], group_wait: 100ms, group_interval: 500ms}}\n\
             receivers: [{{name: hook, webhook_configs: [{{url: '{hook}', send_resolved: true}}]}}]\n"
        );
        let arguments = [
            "--config.file=FOLDER/alertmanager.yml",
            "--storage.path=FOLDER/data",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        ];
        let folder = tempfile::tempdir().unwrap();
        Some(Self::start(&path, folder, &[("alertmanager.yml", config)], &arguments).await)
    }

    /// The data of an answer of Prometheus's interface, or what it complains about.
    pub(super) async fn ask(&self, path: &str) -> Result<Value, String> {
        let answer = self.http.get(format!("http://{}/api/v1/{path}", self.address)).send().await.unwrap();
        let text = answer.text().await.unwrap();
        // Before it is ready, it says so in plain text.
        let mut answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(format!("{}\n{}", answer["error"], self.process.log())),
        }
    }

    /// The series that an expression gives now.
    pub(super) async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let query: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let data = self.ask(&format!("query?query={query}")).await?;
        Ok(data["result"].as_array().unwrap().clone())
    }

    /// Waits until an expression gives something.
    pub(super) async fn comes_to_know(&self, expression: &str) -> Vec<Value> {
        let known = || async { self.query(expression).await.ok().filter(|series| !series.is_empty()) };
        within(LONGEST, expression, known).await
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests ask these programs with a client of their own")]
fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Puts what is known from before where a Prometheus of this folder looks for it.
async fn recall(folder: &Path, text: &str) -> Option<()> {
    let (from, to) = (folder.join("before.txt"), folder.join("data"));
    std::fs::write(&from, text).unwrap();
    let mut promtool = Command::new(tool("promtool")?);
    promtool.args(["tsdb", "create-blocks-from", "openmetrics"]).args([&from, &to]);
    let ran = promtool.kill_on_drop(true).output().await.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Some(())
}

/// The same rules with a shorter minute, so that what takes an hour in production takes a minute here, or less: each time,
/// and each bound on what is measured in seconds, but for the day after which an event that waits is old.
fn hurried(rules: &str, minute: Duration) -> String {
    let mut hurried = String::new();
    let mut rest = rules;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit = rest[digits..].chars().next().unwrap_or(' ');
        let after = rest[digits..].chars().nth(1).unwrap_or(' ');
        let minutes = match unit {
            'm' => Some(1),
            'h' => Some(60),
            'd' => Some(24 * 60),
            'w' => Some(7 * 24 * 60),
            _ => None,
        };
        match minutes {
            Some(each) if 0 < digits && !is_word(before) && !is_word(after) => {
                let count: u128 = rest[..digits].parse().unwrap();
                hurried += &format!("{}ms", count * each * minute.as_millis());
                (rest, before) = (&rest[digits + 1..], unit);
            }
            _ => {
                hurried.push(c);
                (rest, before) = (&rest[c.len_utf8()..], c);
            }
        }
    }
    for (measured, bound) in [("confirmd:oldest_due_seconds:max", 300), ("max(confirmd_db_oldest_xmin_seconds)", 1800)]
    {
        let written = format!("{measured} > {bound}");
        assert!(hurried.contains(&written), "{written}");
        let shorter = Duration::from_secs(bound).mul_f64(minute.as_secs_f64() / 60.0).as_secs_f64();
        hurried = hurried.replace(&written, &format!("{measured} > {shorter}"));
    }
    hurried
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[test]
fn a_minute_becomes_a_second_and_names_stay() {
    let rules = "for: 15m, rate(x:ratio5m[1h] offset 1w) > 60 * 3, take 1 and 5 minutes,
        confirmd:oldest_due_seconds:max > 300, max(confirmd_db_oldest_xmin_seconds) > 1800";
    let wanted = "for: 15000ms, rate(x:ratio5m[60000ms] offset 10080000ms) > 60 * 3, take 1 and 5 minutes,
        confirmd:oldest_due_seconds:max > 5, max(confirmd_db_oldest_xmin_seconds) > 30";
    assert_eq!(hurried(rules, A_SECOND), wanted);
}
