//! A real Prometheus and a real Alertmanager, with the rules as they are deployed, in a time that runs sixty times faster.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::read;
use crate::harness::outside::eventually;
use crate::harness::process::Confirmd;
use crate::harness::process::tool;

/// A program that says where it listens. Killed when it is dropped.
pub(super) struct Program {
    pub(super) address: SocketAddr,
    http: reqwest::Client,
    process: Confirmd,
    folder: TempDir,
}

impl Program {
    /// `arguments` may speak of the folder as `FOLDER`, in which these files are.
    async fn start(path: &Path, files: &[(&str, String)], arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
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

    /// A Prometheus that scrapes these, and tells an Alertmanager. It gets its rules once it has asked each of them for the
    /// first time: before, all of them would be absent to it, and a second of that is a minute here.
    pub(super) async fn prometheus(scraped: &[SocketAddr], alertmanager: Option<SocketAddr>) -> Option<Self> {
        let path = tool("prometheus")?;
        let targets = |addresses: &[SocketAddr]| {
            addresses.iter().map(|address| format!("'{address}'")).collect::<Vec<_>>().join(", ")
        };
        let told = targets(alertmanager.as_slice());
        let config = format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}}\n\
             rule_files: ['rules*.yml']\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: [{told}]}}]}}]}}\n\
             scrape_configs: [{{job_name: confirmd, static_configs: [{{targets: [{}]}}]}}]\n",
            targets(scraped)
        );
        let files = [("prometheus.yml", config)];
        let arguments = [
            "--config.file=FOLDER/prometheus.yml",
            "--storage.tsdb.path=FOLDER/data",
            "--web.listen-address=127.0.0.1:0",
            "--rules.alert.resend-delay=1s",
        ];
        let prometheus = Self::start(&path, &files, &arguments).await;
        prometheus.comes_to_know(&format!("count(up) == {}", scraped.len())).await;
        std::fs::write(prometheus.folder.path().join("rules.yml"), hurried(&read("prometheus/rules.yml"))).unwrap();
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
        Some(Self::start(&path, &[("alertmanager.yml", config)], &arguments).await)
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
        eventually(expression, known).await
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests ask these programs with a client of their own")]
fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// The same rules with each minute for a second, so that what takes an hour in production takes a minute here.
fn hurried(rules: &str) -> String {
    let mut hurried = String::new();
    let mut rest = rules;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit = rest[digits..].chars().next().unwrap_or(' ');
        let after = rest[digits..].chars().nth(1).unwrap_or(' ');
        let seconds = match unit {
            'm' => Some(1),
            'h' => Some(60),
            'd' => Some(24 * 60),
            'w' => Some(7 * 24 * 60),
            _ => None,
        };
        match seconds {
            Some(each) if 0 < digits && !is_word(before) && !is_word(after) => {
                let count: u64 = rest[..digits].parse().unwrap();
                hurried += &format!("{}s", count * each);
                (rest, before) = (&rest[digits + 1..], unit);
            }
            _ => {
                hurried.push(c);
                (rest, before) = (&rest[c.len_utf8()..], c);
            }
        }
    }
    hurried
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[test]
fn a_minute_becomes_a_second_and_names_stay() {
    assert_eq!(hurried("for: 15m"), "for: 15s");
    assert_eq!(hurried("rate(x:ratio5m[1h] offset 1w) > 60 * 3"), "rate(x:ratio5m[60s] offset 10080s) > 60 * 3");
    assert_eq!(hurried("take 1 and 5 minutes"), "take 1 and 5 minutes");
}
