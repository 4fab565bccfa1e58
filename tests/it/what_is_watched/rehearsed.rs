//! The runbook, rehearsed: what an alert is about is made to happen, a real Prometheus tells it, the commands under its
//! heading are typed, and it is over. The times of each are printed.
//!
//! Not here: what takes a week ([ConfirmdCallerQuiet]), half an hour of real time ([ConfirmdOldTransaction]), or a Postgres
//! of one's own to mend ([ConfirmdNotDurable], [ConfirmdPostgresAway], [ConfirmdIntakeRefusing], [ConfirmdCommitSlow]).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::programs::Program;
use super::read;
use crate::harness::outside::eventually;
use crate::harness::process::{Confirmd, Ran, Site};
use crate::harness::world::{account, sid};

/// A site that is watched, by somebody who has the runbook open.
struct Rehearsal {
    site: Site,
    prometheus: Program,
    since: Instant,
}

impl Rehearsal {
    /// None where there is no Prometheus.
    async fn of(site: Site, replicas: &[&Confirmd]) -> Option<Self> {
        let addresses: Vec<SocketAddr> = replicas.iter().map(|replica| replica.caller.address).collect();
        let prometheus = Program::prometheus(&addresses, None).await?;
        Some(Self { site, prometheus, since: Instant::now() })
    }

    /// From here on the times are counted.
    fn it_happens(&mut self) {
        self.since = Instant::now();
    }

    async fn fires(&self, alert: &str) {
        assert!(read("RUNBOOK.md").contains(&format!("\n## {alert}\n")));
        self.prometheus.comes_to_know(&format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}")).await;
        eprintln!("{alert}: fires after {:.1} s", self.since.elapsed().as_secs_f64());
    }

    /// The alert is over, within what the longest of its windows and `for` takes.
    async fn is_over(&self, alert: &str) {
        let expression = format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
        let quiet =
            || async { self.prometheus.query(&expression).await.is_ok_and(|firing| firing.is_empty()).then_some(()) };
        eventually(&format!("{alert} is over"), quiet).await;
        eprintln!("{alert}: over after {:.1} s", self.since.elapsed().as_secs_f64());
    }

    /// A command of the runbook, as it stands under the alert's heading but for the name of what it is about.
    async fn typed(&self, alert: &str, command: &str, about: &[(&str, &str)]) -> Ran {
        let runbook = read("RUNBOOK.md");
        let (_, part) = runbook.split_once(&format!("\n## {alert}\n")).unwrap();
        let part = part.split("\n## ").next().unwrap();
        let written = part.lines().any(|line| line.split(" # ").next().unwrap().trim() == command);
        assert!(written, "{command} is not under {alert}");
        let command = about.iter().fold(command.to_owned(), |command, (from, to)| command.replace(from, to));
        let words = command.split('\'').enumerate().flat_map(|(quoted, part)| match quoted % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
            _ => vec![part.to_owned()],
        });
        let words: Vec<String> = words.skip(1).collect();
        let ran = self.site.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
        eprintln!("{alert}: {command}: {:?} after {:.1} s", ran.code, self.since.elapsed().as_secs_f64());
        ran
    }

    /// The same, and it goes well.
    async fn does(&self, alert: &str, command: &str, about: &[(&str, &str)]) -> String {
        let ran = self.typed(alert, command, about).await;
        assert_eq!(ran.code, Some(0), "{command}: {ran:?}");
        ran.stdout
    }

    /// Runs the SQL that mends it, as it stands under the alert's heading.
    async fn mends(&self, alert: &str) {
        let runbook = read("RUNBOOK.md");
        let (_, part) = runbook.split_once(&format!("\n## {alert}\n")).unwrap();
        let (_, sql) = part.split("\n## ").next().unwrap().split_once("```sql\n").unwrap();
        self.site.sql(sql.split("```").next().unwrap()).await;
    }

    /// The service again, where it was.
    async fn serve_at(&mut self, address: SocketAddr) -> Confirmd {
        self.site.set("server.listen", &address.to_string());
        self.site.serve().await
    }
}

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const MESSAGE: &str = "SM0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn what_is_on_call_for_twilio_is_mended_as_the_runbook_says() {
    let mut site = Site::new().await;
    // What was refused waits for as long, and a minute is long for a test.
    site.set("delivery.probe_every", "3s");
    let process = site.serve().await;
    let caller = &process.caller;
    let Some(mut on_call) = Rehearsal::of(site, &[&process]).await else { return };
    let ours = account(1);
    let this_account = [(ACCOUNT, ours.as_str())];

    on_call.it_happens();
    assert_eq!(on_call.site.run(&["lanes", "pause", ours.as_str(), "--reason", "forgotten"]).await.code, Some(0));
    on_call.fires("ConfirmdLanePaused").await;
    assert!(on_call.does("ConfirmdLanePaused", "confirmd lanes list", &[]).await.contains("operator: forgotten"));
    on_call.does("ConfirmdLanePaused", &format!("confirmd lanes resume {ACCOUNT}"), &this_account).await;
    on_call.is_over("ConfirmdLanePaused").await;

    on_call.it_happens();
    on_call.site.fault("401");
    caller.insist(1).await;
    on_call.fires("ConfirmdCredentialsRefused").await;
    let check = on_call.typed("ConfirmdCredentialsRefused", "confirmd check", &[]).await;
    assert!(check.code != Some(0) && check.stdout.contains("Twilio refuses its credential with 401"), "{check:?}");
    on_call.site.twilio.clear_faults();
    on_call.does("ConfirmdCredentialsRefused", &format!("confirmd lanes resume {ACCOUNT}"), &this_account).await;
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
    let Some(mut on_call) = Rehearsal::of(site, &[&intake]).await else { return };
    on_call.it_happens();
    on_call.fires("ConfirmdNobodyDelivers").await;
    for number in 1..=10 {
        caller.insist(number).await;
    }
    on_call.fires("ConfirmdPromiseBurnsFast").await;
    // As after a night.
    on_call.site.sql("update feedback set due_at = due_at - interval '10 minutes'").await;
    on_call.fires("ConfirmdOldestDueTooOld").await;
    for alert in ["ConfirmdNobodyDelivers", "ConfirmdPromiseBurnsFast", "ConfirmdOldestDueTooOld"] {
        assert!(on_call.does(alert, "confirmd lanes list", &[]).await.contains("10 pending"));
    }
    let _worker = on_call.site.serve_with(&["--role", "worker"]).await;
    on_call.site.everything_is_settled().await;
    for alert in ["ConfirmdNobodyDelivers", "ConfirmdOldestDueTooOld", "ConfirmdPromiseBurnsFast"] {
        on_call.is_over(alert).await;
    }
    on_call.site.is_lawful().await;
}

#[tokio::test]
async fn replicas_that_are_gone_are_started_again_and_all_of_it_is_over() {
    let site = Site::new().await;
    let (one, other) = (site.serve().await, site.serve().await);
    let (here, there) = (one.caller.address, other.caller.address);
    let Some(mut on_call) = Rehearsal::of(site, &[&one, &other]).await else { return };
    on_call.it_happens();
    other.kill().await;
    on_call.fires("ConfirmdReplicaAbsent").await;
    on_call.site.set("server.listen", &there.to_string());
    let live = on_call.typed("ConfirmdReplicaAbsent", "confirmd check --live", &[]).await;
    assert!(live.code != Some(0) && live.stdout.starts_with("WRONG"), "{live:?}");
    on_call.fires("ConfirmdNoSpareReplica").await;
    on_call.does("ConfirmdNoSpareReplica", "confirmd lanes list", &[]).await;
    let other = on_call.serve_at(there).await;
    on_call.is_over("ConfirmdReplicaAbsent").await;
    on_call.is_over("ConfirmdNoSpareReplica").await;

    on_call.it_happens();
    one.kill().await;
    other.kill().await;
    on_call.fires("ConfirmdAbsent").await;
    assert!(on_call.typed("ConfirmdAbsent", "confirmd check --live", &[]).await.code != Some(0));
    on_call.does("ConfirmdAbsent", "confirmd check", &[]).await;
    let _one = on_call.serve_at(here).await;
    on_call.is_over("ConfirmdAbsent").await;
}

#[tokio::test]
async fn events_whose_messages_do_not_come_and_a_feedback_that_is_gone_are_mended_as_the_runbook_says() {
    let site = Site::new().await;
    let process = site.serve().await;
    let (caller, address) = (process.caller.clone(), process.caller.address);
    let Some(mut on_call) = Rehearsal::of(site, &[&process]).await else { return };

    on_call.it_happens();
    caller.complete("early", "login-7f3a").await.unwrap();
    on_call.site.sql("update parked set parked_at = now() - interval '2 days'").await;
    on_call.fires("ConfirmdParkedEventsAgeing").await;
    let trace = on_call.does("ConfirmdParkedEventsAgeing", "confirmd trace login-7f3a --namespace default", &[]).await;
    assert!(trace.contains("parked"), "{trace}");
    caller.register("login-7f3a", 1).await.unwrap();
    on_call.is_over("ConfirmdParkedEventsAgeing").await;

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
    assert_eq!(on_call.site.count("confirmation").await, 2);

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
    on_call.mends("ConfirmdConservationDrift").await;
    assert_eq!(on_call.site.run(&["lanes", "resume", account(1).as_str()]).await.code, Some(0));
    eventually("it is confirmed", || async { (on_call.site.count("confirmation").await == 3).then_some(()) }).await;
    on_call.does("ConfirmdConservationDrift", "confirmd audit", &[]).await;
    process.kill().await;
    let _process = on_call.serve_at(address).await;
    on_call.is_over("ConfirmdConservationDrift").await;
    assert!(on_call.since.elapsed() < Duration::from_secs(120));
}
