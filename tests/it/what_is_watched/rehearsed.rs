//! The runbook, rehearsed: what an alert is about is made to happen, a real Prometheus tells it, the commands under its
//! heading are typed, and it is over. The times of each are printed.

mod intake;
mod postgres;
mod replicas;
mod twilio;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::programs::{LONGEST, Program, Watch};
use super::read;
use super::rules::values;
use crate::harness::outside::within;
use crate::harness::process::{Confirmd, Ran, Site};

/// As the runbook calls any message.
const MESSAGE: &str = "SM0123456789abcdef0123456789abcdef";

/// A site that is watched, by somebody who has the runbook open.
struct Rehearsal {
    site: Site,
    prometheus: Program,
    /// Where an administrator of Postgres asks.
    admin: String,
    since: Cell<Instant>,
    mended: Cell<Instant>,
    /// When that began which the alert tells of.
    began: RefCell<BTreeMap<String, Instant>>,
}

impl Rehearsal {
    /// None where there is no Prometheus.
    async fn of(site: Site, replicas: &[&Confirmd]) -> Option<Self> {
        let addresses: Vec<SocketAddr> = replicas.iter().map(|replica| replica.caller.address).collect();
        Self::watched(site, Watch::over(&addresses)).await
    }

    async fn watched(site: Site, watch: Watch<'_>) -> Option<Self> {
        let prometheus = Program::prometheus(watch).await?;
        let (admin, now) = (site.database.url.clone(), Instant::now());
        Some(Self { site, prometheus, admin, since: now.into(), mended: now.into(), began: RefCell::default() })
    }

    /// From here on the times are counted.
    fn it_happens(&self) {
        self.since.set(Instant::now());
    }

    /// From here on until it is over.
    fn it_is_mended(&self) {
        self.mended.set(Instant::now());
    }

    async fn fires(&self, alert: &str) {
        self.began.borrow_mut().insert(alert.to_owned(), self.since.get());
        assert!(read("RUNBOOK.md").contains(&format!("\n## {alert}\n")));
        let told = || async { self.annotations(alert).await };
        let says = within(LONGEST, &format!("{alert} fires"), told).await;
        assert_eq!(says["runbook"], format!("deploy/RUNBOOK.md#{}", alert.to_lowercase()));
        eprintln!("{alert}: fires after {}: {}", seconds(self.since.get()), says["summary"]);
    }

    /// What a firing alert says.
    async fn annotations(&self, alert: &str) -> Option<Value> {
        let alerts = self.prometheus.ask("alerts").await.ok()?;
        let fires = |one: &&Value| one["labels"]["alertname"] == alert && one["state"] == "firing";
        Some(alerts["alerts"].as_array()?.iter().find(fires)?["annotations"].clone())
    }

    /// The alert is over, within what the longest of its windows and `for` takes.
    async fn is_over(&self, alert: &str) {
        let expression = format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
        let quiet =
            || async { self.prometheus.query(&expression).await.is_ok_and(|firing| firing.is_empty()).then_some(()) };
        within(LONGEST, &format!("{alert} is over"), quiet).await;
        let began = self.began.borrow()[alert];
        eprintln!("{alert}: over after {}, {} after it was mended", seconds(began), seconds(self.mended.get()));
    }

    /// A command of the runbook, as it stands under the alert's heading but for the name of what it is about.
    async fn typed(&self, alert: &str, command: &str, about: &[(&str, &str)]) -> Ran {
        let written = under(alert).lines().any(|line| line.split(" # ").next().unwrap().trim() == command);
        assert!(written, "{command} is not under {alert}");
        let command = about.iter().fold(command.to_owned(), |command, (from, to)| command.replace(from, to));
        let words = command.split('\'').enumerate().flat_map(|(quoted, part)| match quoted % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
            _ => vec![part.to_owned()],
        });
        let words: Vec<String> = words.skip(1).collect();
        let ran = self.site.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
        eprintln!("{alert}: {command}: {:?} after {}", ran.code, seconds(self.since.get()));
        ran
    }

    /// The same, and it goes well.
    async fn does(&self, alert: &str, command: &str, about: &[(&str, &str)]) -> String {
        let ran = self.typed(alert, command, about).await;
        assert_eq!(ran.code, Some(0), "{command}: {ran:?}");
        ran.stdout
    }

    /// What an administrator sees who asks with the SQL under the alert's heading.
    async fn sees(&self, alert: &str) -> Vec<Value> {
        let mut postgres = PgConnection::connect(&self.admin).await.unwrap();
        let mut rows = Vec::new();
        for select in
            statements(alert).iter().filter(|statement| statement.split_whitespace().any(|word| word == "from"))
        {
            let each = format!("select to_jsonb(seen)::text from ({select}) as seen");
            let seen: Vec<String> = sqlx::query_scalar(AssertSqlSafe(each)).fetch_all(&mut postgres).await.unwrap();
            rows.extend(seen.iter().map(|row| serde_json::from_str::<Value>(row).unwrap()));
        }
        postgres.close().await.unwrap();
        rows
    }

    /// What an administrator does: SQL that stands under the alert's heading but for what it is about, one statement after
    /// the other as psql has it.
    async fn mends(&self, alert: &str, sql: &str, about: &[(&str, &str)]) {
        assert!(under(alert).contains(sql), "{sql} is not under {alert}");
        let sql = about.iter().fold(sql.to_owned(), |sql, (from, to)| sql.replace(from, to));
        let mut postgres = PgConnection::connect(&self.admin).await.unwrap();
        for statement in split(&sql) {
            postgres.execute(AssertSqlSafe(statement)).await.unwrap();
        }
        postgres.close().await.unwrap();
        eprintln!("{alert}: SQL that mends it after {}", seconds(self.since.get()));
    }

    /// The service again, where it was.
    async fn serve_at(&mut self, address: SocketAddr) -> Confirmd {
        self.site.set("server.listen", &address.to_string());
        self.site.serve().await
    }
}

fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}

/// What stands under the alert's heading.
fn under(alert: &str) -> String {
    let runbook = read("RUNBOOK.md");
    let (_, part) = runbook.split_once(&format!("\n## {alert}\n")).unwrap();
    part.split("\n## ").next().unwrap().to_owned()
}

/// The SQL that stands there in blocks, a statement each.
fn statements(alert: &str) -> Vec<String> {
    let part = under(alert);
    let blocks = part.split("```sql\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks.flat_map(split).collect()
}

fn split(sql: &str) -> Vec<String> {
    let statements = sql.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    statements.map(str::to_owned).collect()
}

#[test]
fn each_alert_is_rehearsed_from_its_firing_to_its_end() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/what_is_watched/rehearsed");
    let stories = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let stories = stories.collect::<Vec<_>>().join("\n");
    let named = |verb: &str| -> BTreeSet<String> {
        let told = stories.split(verb).skip(1).map(|rest| rest.split('"').next().unwrap());
        told.map(str::to_owned).collect()
    };
    let rules = read("prometheus/rules.yml");
    let alerts: BTreeSet<String> = values(&rules, "alert").into_iter().map(str::to_owned).collect();
    assert_eq!(named(".fires(\""), alerts);
    assert_eq!(named(".is_over(\""), alerts);
}
