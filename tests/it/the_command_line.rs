//! What operators type, and what they are told: every command of the real binary, and its exit code.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use confirmd::delivery::TABLE;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::net::{TcpListener, TcpStream};

use crate::embedded::story_folder;
use crate::harness::caller::Caller;
use crate::harness::database::{database, server_url};
use crate::harness::outside::eventually;
use crate::harness::process::{Confirmd, Ran, Site, confirmd, run};
use crate::harness::world::{account, sid};

/// How long a process may take to end that has nothing to finish: this machine may be busy.
const GRACE: Duration = Duration::from_secs(10);

/// Runs a command that needs no site.
async fn says(args: &[&str]) -> Ran {
    let mut command = confirmd(Path::new("/"));
    command.args(args);
    run(command).await
}

/// That the command said all of these, on either stream.
#[track_caller]
fn said(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    for word in words {
        assert!(ran.stdout.contains(word) || ran.stderr.contains(word), "{word:?} is not in {ran:?}");
    }
}

/// An address where nobody listens.
async fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_configuration_is_told_at_once_and_no_secret_with_it() {
    let mut site = Site::new().await;
    let listen = free_address().await;
    site.rewrite_config(|_| {
        format!(
            r#"
            coffee = "black"
            [server]
            listen = "{listen}"
            drain_delay = "1h"
            [intake]
            writers = 0
            [delivery]
            lease = "5s"
            base_url = "http://api.twilio.com"
            [retention]
            history = "a while"
            [[callers]]
            name = "login"
            scopes = ["everything"]
            tokens_sha256 = ["hunter2"]
            [[accounts]]
            account_sid = "AChunter2"
            auth_token = "hunter2"
            "#
        )
    });
    site.unset_variable("TWILIO_BASE_URL");
    site.unset_variable("TWILIO_ACCOUNT_SID");
    site.unset_variable("TWILIO_AUTH_TOKEN");
    site.set_variable("DATABASE_URL", "mysql://confirmd:hunter2@db/confirmd");
    site.set_variable("CONFIRMD_INTAKE__BATCHES", "hunter2");
    for command in ["serve", "check"] {
        let ran = site.run(&[command]).await;
        said(
            &ran,
            78,
            &[
                "coffee:",
                "server.drain_delay:",
                "intake.writers:",
                "delivery.lease:",
                "delivery.base_url:",
                "retention.history:",
                "callers[0].scopes",
                "callers[0].tokens_sha256",
                "accounts[0].account_sid:",
                "DATABASE_URL:",
                "CONFIRMD_INTAKE__BATCHES:",
            ],
        );
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
    assert!(TcpStream::connect(&listen).await.is_err());
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let mut site = Site::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    site.set("server.listen", &address);
    said(&site.run(&["serve"]).await, 75, &["cannot listen on", &address]);
}

#[tokio::test]
async fn check_finds_everything_that_is_wrong_in_one_go() {
    let mut site = Site::new().await;
    said(
        &site.run(&["check"]).await,
        0,
        &["ok    configuration", "ok    database", "ok    lane-1: Twilio lets its credential in"],
    );
    assert_eq!(site.count("event").await, 0);

    site.twilio.rotate_token(&account(1), "another".into());
    let refused = "WRONG lane-1: Twilio refuses its credential with 401, code 20003";
    said(&site.run(&["check"]).await, 75, &["ok    database", refused]);

    let nobody = free_address().await;
    site.set_variable("DATABASE_URL", &format!("postgres://confirmd:hunter2@{nobody}/confirmd"));
    let ran = site.run(&["check"]).await;
    said(&ran, 75, &["WRONG database: ", refused, "2 of these are wrong"]);
    assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");

    let unmigrated = Site::bare().await;
    said(&unmigrated.run(&["check"]).await, 75, &["WRONG database: ", "migration(s) are missing"]);
}

#[tokio::test]
async fn check_tells_when_a_library_has_changed_the_order_of_the_indexes() {
    let mut site = Site::new().await;
    said(&site.run(&["check"]).await, 0, &["ok    database: orders ids "]);

    let name = format!("{}_icu", site.database.name);
    let made = format!("create database {name} template template0 locale_provider icu icu_locale 'en' encoding 'UTF8'");
    let mut server = PgConnection::connect(&server_url().await).await.unwrap();
    if let Err(error) = server.execute(AssertSqlSafe(made)).await {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "continuous integration must run this: {error}");
        return eprintln!("skipped: this Postgres knows no ICU: {error}");
    }
    site.set_variable("DATABASE_URL", &site.database.url.replace(&site.database.name, &name));
    assert_eq!(site.run(&["migrate"]).await.code, Some(0));
    said(&site.run(&["check"]).await, 0, &["ok    database: orders ids as en does"]);

    let upgraded = format!("update pg_database set datcollversion = '1.0' where datname = '{name}'");
    server.execute(AssertSqlSafe(upgraded)).await.unwrap();
    let wrong = ["WRONG database: orders ids as en does", "that of version 1.0", "reindex database"];
    said(&site.run(&["check"]).await, 75, &wrong);

    let refreshed = format!("alter database {name} refresh collation version");
    server.execute(AssertSqlSafe(refreshed)).await.unwrap();
    said(&site.run(&["check"]).await, 0, &["ok    database: orders ids as en does"]);
    server.execute(AssertSqlSafe(format!("drop database {name} with (force)"))).await.unwrap();
}

#[tokio::test]
async fn check_live_asks_the_process_on_this_machine() {
    let mut site = Site::new().await;
    let listen = free_address().await;
    site.set("server.listen", &listen);
    said(&site.run(&["check", "--live"]).await, 75, &["WRONG", "does not answer"]);
    let process = site.serve().await;
    said(&site.run(&["check", "--live"]).await, 0, &["is live"]);
    process.kill().await;
    said(&site.run(&["check", "--live"]).await, 75, &["does not answer"]);
}

#[tokio::test]
async fn every_command_that_needs_the_database_says_so_when_it_is_not_there() {
    let mut site = Site::new().await;
    let nobody = free_address().await;
    site.set_variable("DATABASE_URL", &format!("postgres://confirmd:hunter2@{nobody}/confirmd"));
    let lane = account(1);
    let commands: [&[&str]; 10] = [
        &["serve"],
        &["migrate"],
        &["audit"],
        &["trace", "login-1"],
        &["dead-letters", "list"],
        &["dead-letters", "replay"],
        &["lanes", "list"],
        &["lanes", "pause", lane.as_str()],
        &["import", "-"],
        &["export", "events"],
    ];
    for ran in futures_util::future::join_all(commands.iter().map(|command| site.run(command))).await {
        said(&ran, 75, &["confirmd: "]);
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
}

#[tokio::test]
async fn audit_names_what_was_lost() {
    let site = Site::new().await;
    let process = site.serve().await;
    process.caller.insist(1).await;
    process.caller.complete("event-2", "login-2").await.unwrap();
    site.everything_is_settled().await;
    said(
        &site.run(&["audit"]).await,
        0,
        &[
            "events accepted 2 = parked 1 + resolved 1 + expired 0",
            "feedback owed   1 = pending 0 + confirmed 1 + dead 0",
            "no drift",
        ],
    );

    let losses = [
        ("delete from confirmation", "DRIFT: 1 owed messages are not exactly one of pending, confirmed and dead"),
        ("delete from parked", "DRIFT: 1 events are not exactly one of parked, resolved and expired"),
        ("delete from message", "DRIFT: 1 resolved events name a message that is not owed"),
        ("delete from event where state = 'parked'", "DRIFT: 1 rows belong to no event or message"),
    ];
    let tables = ["event", "message", "parked", "confirmation"];
    site.sql(&tables.map(|table| format!("create table kept_{table} as table {table};")).concat()).await;
    let put_back = tables.map(|table| format!("truncate {table}; insert into {table} table kept_{table};")).concat();
    for (loss, drift) in losses {
        site.sql(loss).await;
        said(&site.run(&["audit"]).await, 1, &[drift, "the conservation law does not hold"]);
        site.sql(&put_back).await;
        site.is_lawful().await;
    }
}

#[tokio::test]
async fn trace_tells_the_story_of_a_message_an_action_and_an_event() {
    let site = Site::new().await;
    site.fault("503;first=1");
    let process = site.serve().await;
    process.caller.insist(1).await;
    site.everything_is_settled().await;

    let message = format!("message {} of {}: feedback confirmed", sid(1), account(1));
    let story = [
        "event event-1 in default: confirmed",
        "occurred",
        "accepted",
        message.as_str(),
        "registered for action login-1",
        "attempt 1  status 503",
        "attempt 2  status 200",
    ];
    for name in [sid(1).as_str(), "event-1"] {
        said(&site.run(&["trace", name]).await, 0, &story);
    }
    let action = site.run(&["trace", "login-1"]).await;
    said(&action, 0, &["action login-1 in default: 1 message(s), 1 event(s)", &message]);

    said(&site.run(&["trace", "login-2"]).await, 1, &["nothing is known of login-2 in the namespace default"]);
    said(&site.run(&["trace", "login-1", "--namespace", "other"]).await, 1, &["in the namespace other"]);
    said(&site.run(&["trace", "login-1", "--namespace", "a b"]).await, 64, &["--namespace"]);
}

#[tokio::test]
async fn trace_names_the_replica_that_is_sending_where_it_can_be_known() {
    let mut site = Site::new().await;
    site.set("delivery.request_timeout", "20s");
    site.fault("hang");
    let process = site.serve().await;
    process.caller.insist(1).await;
    let trace = async || site.run(&["trace", sid(1).as_str()]).await;
    // It tells of itself every few seconds.
    eventually("the story names who holds the lease", || async {
        let story = trace().await;
        (story.stdout.contains("the lease of ") && story.stdout.contains("-") && !story.stdout.contains("has not told"))
            .then_some(())
    })
    .await;
    let replica = site.text("select replica from lane_report").await;
    said(&trace().await, 0, &["feedback pending", &format!("the lease of {replica} ends")]);
    site.sql(
        "insert into lane_report (account_sid, replica, in_flight, lane_limit, breaker, reported_at)
         select account_sid, 'host-2', 3, 8, 'closed', now() from lane_report;
         update lane_report set in_flight = 1, reported_at = now()",
    )
    .await;
    let story = trace().await;
    said(&story, 0, &["the lease of one of ", "host-2 (1 in flight)", &format!("{replica} (1 in flight)")]);
    site.sql("update lane_report set reported_at = now() - interval '1 minute' where replica = 'host-2'").await;
    said(&trace().await, 0, &[&format!("the lease of {replica} ends")]);
}

#[tokio::test]
async fn dead_letters_are_listed_and_brought_back_only_when_asked_to() {
    let site = Site::new().await;
    site.fault("400");
    let process = site.serve().await;
    for number in 1..=3 {
        process.caller.insist(number).await;
    }
    site.everything_is_settled().await;
    let list = site.run(&["dead-letters", "list", "--reason", "rejected", "--limit", "2"]).await;
    said(&list, 0, &["rejected after 1  status 400 code 20400  action login-", "2 of 3 dead letters"]);
    assert_eq!(list.stdout.lines().count(), 2, "{list:?}");
    said(&site.run(&["dead-letters", "list", "--reason", "gave_up"]).await, 0, &["0 of 0 dead letters"]);
    said(&site.run(&["dead-letters", "list", "--reason", "boredom"]).await, 64, &["--reason must be"]);

    site.twilio.clear_faults();
    let dry = site.run(&["dead-letters", "replay", "--rate", "100"]).await;
    said(&dry, 0, &["3 dead letters match; with --yes, 3 would be brought back, 100 a second"]);
    assert_eq!(site.count("dead_letter").await, 3, "it only counted");
    let one = site.run(&["dead-letters", "replay", "--message", sid(1).as_str(), "--yes"]).await;
    said(&one, 0, &["1 of 1 dead letters brought back"]);
    let rest = site.run(&["dead-letters", "replay", "--yes"]).await;
    said(&rest, 0, &["2 of 2 dead letters brought back"]);
    site.everything_is_settled().await;
    assert_eq!(site.count("confirmation where attempts = 2").await, 3);
    site.is_lawful().await;
}

#[tokio::test]
async fn lanes_are_listed_paused_and_resumed() {
    let mut site = Site::new().await;
    site.set("delivery.poll_interval", "50ms");
    let lane = account(1);
    said(&site.run(&["lanes", "list"]).await, 0, &[&format!("{lane}  running"), "0 pending"]);
    let pause = ["lanes", "pause", lane.as_str(), "--reason", "moving to eu"];
    said(&site.run(&pause).await, 0, &["PAUSED since", "operator: moving to eu"]);

    let process = site.serve().await;
    process.caller.insist(1).await;
    let listed = site.run(&["lanes", "list"]).await;
    said(&listed, 0, &["operator: moving to eu", "1 pending, 0 of them being sent, 0 dead"]);
    assert_eq!(site.twilio.ledger().len(), 0, "a paused lane sends nothing");

    said(&site.run(&["lanes", "resume", lane.as_str()]).await, 0, &["running"]);
    site.everything_is_settled().await;
    said(&site.run(&["lanes", "pause", "AC1"]).await, 64, &["the account must be"]);
}

#[tokio::test]
async fn explain_prints_each_row_of_the_table() {
    let explained = says(&["explain"]).await;
    for row in TABLE {
        said(&explained, 0, &[row.answer, row.class.as_str(), row.then]);
    }
}

#[tokio::test]
async fn a_new_token_opens_the_door_with_the_line_that_is_shown() {
    let mut site = Site::new().await;
    let shown = says(&["token", "new"]).await;
    said(&shown, 0, &["cfd_", "tokens_sha256 = ["]);
    let line = |what: &str| shown.stdout.lines().map(str::trim).find(|line| line.starts_with(what)).unwrap();
    let caller = format!("\n[[callers]]\nname = \"signup\"\nscopes = [\"ingest\"]\n{}\n", line("tokens_sha256"));
    site.rewrite_config(|config| config + &caller);
    let _first = site.serve().await.caller.insist(1).await;
    site.token = line("cfd_").to_owned();
    let process = site.serve().await;
    process.caller.insist(2).await;
    let forbidden = process.caller.get("/v1/lanes").await.unwrap();
    assert_eq!(forbidden.status, 403);
    let stranger = Caller { token: "cfd_of_a_stranger".to_owned(), ..process.caller.clone() };
    assert_eq!(stranger.register("login-3", 3).await.unwrap().status, 401);
}

#[tokio::test]
async fn the_simulator_says_which_variables_it_needs() {
    said(&says(&["twilio-sim"]).await, 64, &["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"]);
}

#[tokio::test]
async fn the_help_of_every_command_shows_an_example() {
    let commands = [
        "dev",
        "serve",
        "migrate",
        "check",
        "audit",
        "trace",
        "dead-letters",
        "dead-letters list",
        "dead-letters replay",
        "operations",
        "import",
        "export",
        "lanes",
        "lanes list",
        "lanes pause",
        "lanes resume",
        "twilio-sim",
        "explain",
        "token",
        "token new",
    ];
    for command in commands {
        let args: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = says(&args).await;
        let example = format!("confirmd {command}");
        let examples = help.stdout.split_once("Example").map_or("", |(_, examples)| examples);
        assert!(help.code == Some(0) && examples.contains(&example), "{help:?}");
    }
    said(&says(&["--help"]).await, 0, &["confirmd dev"]);
}

#[tokio::test]
async fn what_makes_no_sense_on_the_command_line_is_answered_with_64() {
    for args in
        [&[][..], &["confirm"], &["serve", "--port", "1"], &["trace"], &["dead-letters", "replay", "--rate", "0"]]
    {
        said(&says(args).await, 64, &["--help"]);
    }
}

/// Does what `confirmd dev` shows: maps a message, posts its event, and reads the receipt until it says `confirmed`.
async fn as_shown(lines: &[String]) {
    let [message, event, receipt] = lines else { panic!("three lines should be shown: {lines:?}") };
    assert_eq!(Caller::as_shown(message).await.status, 201);
    assert_eq!(Caller::as_shown(event).await.status, 202);
    eventually("the receipt says confirmed", || is_confirmed(receipt)).await;
}

async fn is_confirmed(receipt: &str) -> Option<()> {
    let answer = Caller::as_shown(receipt).await;
    (answer.body["state"] == "confirmed").then_some(())
}

fn token_in(line: &str) -> &str {
    line.split('\'').find_map(|piece| piece.strip_prefix("Authorization: Bearer ")).unwrap()
}

fn processes_with(folder: &Path) -> String {
    let listed = std::process::Command::new("ps").args(["-A", "-ww", "-o", "args="]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().filter(|line| line.contains(&*folder.to_string_lossy())).collect()
}

#[tokio::test]
async fn first_contact_works_as_it_is_shown_today_tomorrow_and_after_a_crash() {
    let Some(folder) = story_folder() else { return };
    // As root the server runs as another user, who must be able to enter.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();

    let (mut dev, today) = Confirmd::dev(folder.path(), None).await;
    as_shown(&today).await;
    dev.prints("/Feedback.json  Outcome=confirmed  200").await;
    dev.interrupt();
    assert_eq!(dev.ends_within(GRACE).await, Some(0), "{}", dev.log());
    assert_eq!(processes_with(folder.path()), "", "nothing is left of it");

    let (dev, tomorrow) = Confirmd::dev(folder.path(), None).await;
    assert_eq!(token_in(&today[2]), token_in(&tomorrow[2]), "yesterday's scripts work today");
    let (yesterdays, todays) = (today[2].split("/v1").last().unwrap(), tomorrow[2].split("/v1").last().unwrap());
    let receipt = tomorrow[2].replace(todays, yesterdays);
    is_confirmed(&receipt).await.expect("yesterday's receipt is kept");
    as_shown(&tomorrow).await;
    dev.kill().await;

    let (mut dev, later) = Confirmd::dev(folder.path(), None).await;
    as_shown(&later).await;
    dev.interrupt();
    assert_eq!(dev.ends_within(GRACE).await, Some(0), "{}", dev.log());
    assert_eq!(processes_with(folder.path()), "", "nothing is left of it");
}

#[tokio::test]
async fn first_contact_uses_the_database_that_it_is_given() {
    let (folder, database) = (tempfile::tempdir().unwrap(), database().await);
    let (mut dev, lines) = Confirmd::dev(folder.path(), Some(&database.url)).await;
    as_shown(&lines).await;
    dev.terminate();
    assert_eq!(dev.ends_within(GRACE).await, Some(0), "{}", dev.log());
    assert!(!folder.path().join(".confirmd/postgres").exists());
}
