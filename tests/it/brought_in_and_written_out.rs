//! A backlog of past confirmations, taken in by the rules of live events; and what is known, written out as a whole.

use serde_json::{Value, json};

use crate::harness::outside::eventually;
use crate::harness::process::{Ran, Site};
use crate::harness::world::{account, sid};

/// The lines of a report or an export.
#[track_caller]
fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{ran:?}"))).collect()
}

/// What came of each line, in a word.
#[track_caller]
fn results(ran: &Ran) -> Vec<String> {
    lines(ran).iter().map(|line| format!("{} {}", line["line"], line["result"].as_str().unwrap())).collect()
}

/// A backlog of so many lines, each of a message of its own.
fn backlog(lines: u32) -> String {
    let line = |number: u32| format!("past-{number},{},2026-11-0{}T10:00:00Z\n", sid(number), 1 + number % 9);
    ["event_id,message_sid,occurred_at\n".to_owned()].into_iter().chain((1..=lines).map(line)).collect()
}

#[tokio::test]
async fn a_backlog_is_taken_line_by_line_and_each_line_has_its_result() {
    let site = Site::new().await;
    let file = [
        "event_id,message_sid,action_id,resolve,occurred_at".to_owned(),
        format!("past-1,{},,,2026-11-01T10:00:00Z", sid(1)),
        "past-2,SM2,,,yesterday".to_owned(),
        "\"past,3\",,login-3,all,".to_owned(),
        format!("past-1,{},,,2026-11-01T10:00:00Z", sid(1)),
        format!("past-1,{},,,2026-11-01T10:00:00Z", sid(4)),
        "+49 170 1234567,,login-5,,".to_owned(),
        format!("past-6,{},login-6,,", sid(6)),
        format!("past-7,{},login-7,,", sid(6)),
        "past-8".to_owned(),
        String::new(),
        ",,,,".to_owned(),
    ]
    .join("\r\n");
    let file = site.file("backlog.csv", &file);
    let ran = site.run(&["import", &file, "--rate", "10000"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let told = results(&ran);
    assert_eq!(
        told,
        [
            "2 taken",
            "3 invalid",
            "4 taken",
            "5 known",
            "6 idempotency-mismatch",
            "7 invalid",
            "8 taken",
            "9 message-conflict",
            "10 invalid",
            "12 invalid"
        ]
    );
    let report = lines(&ran);
    assert_eq!(
        report[0],
        json!({"line": 2, "result": "taken", "event_id": "past-1", "state": "pending", "message_sids": [sid(1)]})
    );
    let fields = |line: &Value| {
        line["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(fields(&report[1]), [json!("occurred_at"), json!("message_sid")]);
    assert_eq!(report[2]["state"], "parked");
    assert_eq!(fields(&report[5]), [json!("event_id")]);
    assert!(!ran.stdout.contains("1234567"), "{ran:?}");
    assert!(ran.stderr.contains("3 taken, 1 known before, 6 refused"), "{ran:?}");
    assert!(ran.stderr.contains("6 line(s) were refused"), "{ran:?}");

    let again = site.run(&["import", &file]).await;
    assert!(again.stderr.contains("0 taken, 4 known before, 6 refused"), "{again:?}");
    assert_eq!(site.count("event").await, 3);
    let _process = site.serve().await;
    site.everything_is_settled().await;
    assert_eq!((site.count("confirmation").await, site.twilio.ledger().len()), (2, 2));
    site.is_lawful().await;
}

#[tokio::test]
async fn lines_of_json_come_by_stdin_as_callers_would_post_them() {
    let site = Site::new().await;
    let lines = [
        json!({"event_id": "past-1", "message_sid": sid(1), "account_sid": account(1), "type": "otp.completed"}),
        json!({"event_id": "past-2", "message_sid": sid(2), "account_sid": account(2)}),
        json!({"event_id": "past-3", "action_id": "login-3", "phone": "1"}),
        json!(["past-4"]),
        json!({"event_id": "past-5", "action_id": "login-5"}),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect::<String>() + "{\"event_id\": \n";
    let ran = site.run_with(&text, &["import", "-", "--namespace", "signup"]).await;
    assert_eq!(results(&ran), ["1 taken", "2 invalid", "3 invalid", "4 invalid", "5 taken", "6 invalid"]);
    let report = self::lines(&ran);
    assert_eq!(report[1]["errors"][0]["field"], "account_sid");
    assert_eq!(report[2]["errors"][0]["field"], "phone");
    assert_eq!(report[3]["errors"], json!([{"detail": "must be an object"}]));
    assert_eq!(report[5]["errors"], json!([{"detail": "must be well-formed JSON"}]));
    assert_eq!(site.count("event where namespace = 'signup'").await, 2);
}

#[tokio::test]
async fn a_dry_run_says_what_would_come_of_each_line_and_takes_nothing() {
    let site = Site::new().await;
    let taken = site.file("one.csv", &backlog(1));
    assert_eq!(site.run(&["import", &taken]).await.code, Some(0));
    let other = format!("{}past-1,{},\npast-4,SM,\n", backlog(3), sid(9));
    let ran = site.run(&["import", &site.file("more.csv", &other), "--dry-run"]).await;
    assert_eq!(results(&ran), ["2 known", "3 valid", "4 valid", "5 idempotency-mismatch", "6 invalid"], "{ran:?}");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("2 could be taken, 1 known before, 2 refused"), "{ran:?}");
    assert_eq!((site.count("event").await, site.count("feedback").await), (1, 1));
}

#[tokio::test]
async fn an_import_that_is_killed_goes_on_when_it_is_run_again_and_takes_nothing_twice() {
    let site = Site::new().await;
    const LINES: u32 = 1500;
    let file = site.file("backlog.csv", &backlog(LINES));
    let process = site.begin(&["import", &file, "--rate", "500"]);
    process.prints("\"line\":301,\"result\":\"taken\"").await;
    process.kill().await;
    let taken = site.count("event").await;
    assert!((300..i64::from(LINES)).contains(&taken), "{taken}");

    let ran = site.run(&["import", &file, "--rate", "10000"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let known = results(&ran).iter().filter(|line| line.ends_with("known")).count();
    assert_eq!(known, usize::try_from(taken).unwrap(), "what had been taken is known, and nothing else");
    assert_eq!(site.count("event").await, i64::from(LINES));
    assert_eq!(site.count("feedback").await, i64::from(LINES));
    let last = site.run(&["import", &file, "--from-line", "1501"]).await;
    assert_eq!(results(&last), ["1501 known"]);
    site.is_lawful().await;
}

#[tokio::test]
async fn an_import_is_paced_and_stops_when_it_is_told_to() {
    let site = Site::new().await;
    let file = site.file("backlog.csv", &backlog(100));
    let mut process = site.begin(&["import", &file, "--rate", "1"]);
    process.prints("\"line\":2,").await;
    process.terminate();
    assert_eq!(process.ends_within(std::time::Duration::from_secs(10)).await, Some(75));
    process.logs("run the same again, and it goes on there").await;
    let taken = site.count("event").await;
    assert!(taken < 50, "one a second, and not {taken} at once");
}

#[tokio::test]
async fn what_an_import_cannot_begin_with_is_said_at_once() {
    let site = Site::new().await;
    for (args, code, words) in [
        (["import", "/nowhere.csv"], 75, "cannot read /nowhere.csv"),
        (["import", "/"], 64, "is a folder"),
        (["import", "--rate=0"], 64, "--rate"),
    ] {
        let ran = site.run(&args).await;
        assert!(ran.code == Some(code) && ran.stderr.contains(words), "{ran:?}");
    }
    let unknown = site.run(&["import", &site.file("x.csv", "sid,when\na,b\n")]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.stdout.contains("names a column that is none of event_id, type, action_id"), "{unknown:?}");
    let empty = site.run(&["import", &site.file("empty", "")]).await;
    assert_eq!((empty.code, empty.stdout.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn an_event_that_comes_live_and_by_import_is_one() {
    let site = Site::new().await;
    let process = site.serve().await;
    let live = json!({"event_id": "past-1", "message_sid": sid(1), "occurred_at": "2026-11-02T10:00:00Z"});
    assert_eq!(process.caller.post("/v1/events", &live).await.unwrap().status, 202);
    let ran = site.run(&["import", &site.file("b.csv", &backlog(2))]).await;
    assert_eq!(results(&ran), ["2 known", "3 taken"]);
    let posted = json!({"event_id": "past-2", "message_sid": sid(2), "occurred_at": "2026-11-03T10:00:00Z"});
    assert_eq!(process.caller.post("/v1/events", &posted).await.unwrap().status, 202);
    site.everything_is_settled().await;
    assert_eq!((site.count("event").await, site.twilio.ledger().len()), (2, 2));
}

#[tokio::test]
async fn everything_is_written_out_once_whatever_its_length() {
    let site = Site::new().await;
    // More than two pages, of three moments and of one.
    site.sql(
        "insert into message (message_sid, account_sid, namespace, action_id, registered_at, owed_at, last_event_at, country)
         select 'SM' || lpad(n::text, 32, '0'), 'AC00000000000000000000000000000001', case when n % 2 = 0 then 'even' else 'odd' end,
                'login-' || n, now(), now(), now(), 'DE'
         from generate_series(1, 2500) as n;
         insert into event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state, message_sids)
         select namespace, 'e' || action_id, '', action_id, 'latest', now(), ('2026-11-0' || 1 + length(action_id) % 3 || 'T00:00:00Z')::timestamptz,
                'pending', array[message_sid]
         from message;
         insert into confirmation (message_sid, account_sid, attempts, confirmed_at, request_id)
         select message_sid, account_sid, 1, '2026-11-10T00:00:00Z', 'RQ,\"1\"' from message where message_sid <= 'SM' || lpad('2100', 32, '0');
         insert into dead_letter (message_sid, account_sid, namespace, reason, attempts, last_status, known_at, owed_at, died_at)
         select message_sid, account_sid, namespace, 'rejected', 1, 400, now(), now(), '2026-11-12T00:00:00Z'
         from message where message_sid > 'SM' || lpad('2100', 32, '0');
         insert into event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state, message_sids)
         values ('odd', 'late', '', 'never', 'latest', now(), '2026-11-20T00:00:00Z', 'parked', '{}');
         insert into expired values ('odd', 'late', 'never', now(), '2026-11-27T00:00:00Z');",
    )
    .await;
    let export = async |args: &str| {
        let args: Vec<&str> = ["export"].into_iter().chain(args.split(' ')).collect();
        let ran = site.run(&args).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    };
    let keys = |ran: &Ran, key: &str| {
        let mut keys: Vec<String> = lines(ran).iter().map(|line| line[key].as_str().unwrap().to_owned()).collect();
        let whole = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), whole, "each once");
        whole
    };
    let events = export("events").await;
    assert_eq!(keys(&events, "event_id"), 2501);
    let of = |id: &str| lines(&events).into_iter().find(|line| line["event_id"] == id).unwrap();
    assert_eq!(of("elogin-1")["state"], "confirmed");
    assert_eq!(of("elogin-2500")["state"], "dead");
    assert_eq!(of("late")["state"], "expired");
    assert_eq!(of("elogin-1")["message_sids"], json!([sid(1)]));
    assert_eq!(keys(&export("events --namespace odd").await, "event_id"), 1251);
    assert_eq!(keys(&export("events --since 2026-11-20T00:00:00Z").await, "event_id"), 1);
    assert_eq!(keys(&export("events --until 2026-11-20T00:00:00Z").await, "event_id"), 2500);

    assert_eq!(keys(&export("confirmations").await, "message_sid"), 2100);
    assert_eq!(keys(&export("confirmations --namespace even").await, "message_sid"), 1050);
    assert_eq!(keys(&export("confirmations --until 2026-11-10T00:00:00Z").await, "message_sid"), 0);
    let letters = export("dead-letters").await;
    assert_eq!(lines(&letters).len(), 401);
    assert!(letters.stdout.starts_with("{\"message_sid\":null,\"event_id\":\"late\","), "{}", &letters.stdout[..200]);
    assert_eq!(lines(&export("dead-letters --since 2026-11-20T00:00:00Z").await).len(), 1);

    let csv = export("confirmations --format csv --namespace odd").await.stdout;
    assert_eq!(csv.lines().count(), 1051, "a line of names, and a line for each");
    let (names, first) = (csv.lines().next().unwrap(), csv.lines().nth(1).unwrap());
    assert!(names.starts_with("message_sid,account_sid,namespace,action_id,sent_at,owed_at,confirmed_at"), "{names}");
    assert!(first.starts_with(&format!("{},{},odd,login-1,,", sid(1), account(1))), "{first}");
    assert!(first.ends_with(",1,,\"RQ,\"\"1\"\"\",DE,,,"), "{first}");
}

#[tokio::test]
async fn whoever_reads_only_the_beginning_of_an_export_is_not_told_of_an_error() {
    let site = Site::new().await;
    let file = site.file("backlog.csv", &backlog(3000));
    assert_eq!(site.run(&["import", &file, "--rate", "10000"]).await.code, Some(0));
    let mut command = tokio::process::Command::new("sh");
    command.env_clear().args(["-c", "\"$0\" export events | head -1", env!("CARGO_BIN_EXE_confirmd")]);
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("DATABASE_URL", &site.database.url);
    command.env("CONFIRMD_DATABASE__ALLOW_INSECURE", "true");
    let ran = crate::harness::process::run(command).await;
    assert_eq!((ran.code, ran.stdout.lines().count(), ran.stderr.as_str()), (Some(0), 1, ""), "{ran:?}");
    eventually("the session of the export has ended", || async {
        (site
            .count("pg_stat_activity where application_name = 'confirmd-reads' and datname = current_database()")
            .await
            == 0)
            .then_some(())
    })
    .await;
}
