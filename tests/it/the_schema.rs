//! The schema: migrated with rows in it, met by older binaries, and read as the queue needs it.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sqlx::migrate::{Migrate, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::process::Site;
use crate::harness::world::{World, account, sid};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Each migration in its order, and after it the rows that a database may hold by then.
async fn migrate_with_samples(url: &str) {
    let migrations = Migrator::new(Path::new(ROOT).join("migrations")).await.unwrap();
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.ensure_migrations_table("_sqlx_migrations").await.unwrap();
    for migration in migrations.iter() {
        connection.apply("_sqlx_migrations", migration).await.unwrap();
        let samples = Path::new(ROOT).join(format!("tests/it/samples/{:04}.sql", migration.version));
        if let Ok(rows) = std::fs::read_to_string(samples) {
            sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut connection).await.unwrap();
        }
    }
    connection.close().await.unwrap();
}

/// A database that has lived through every migration.
async fn seasoned() -> Site {
    let site = Site::bare().await;
    migrate_with_samples(&site.database.url).await;
    site
}

#[tokio::test]
async fn each_migration_bears_the_rows_that_are_there_before_it() {
    let site = seasoned().await;
    let mut connection = PgConnection::connect(&site.database.url).await.unwrap();
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public' order by 1")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    connection.close().await.unwrap();
    for table in &tables {
        assert!(0 < site.count(table).await, "{table} needs a row in tests/it/samples");
    }

    let migrated = site.run(&["migrate"]).await;
    assert_eq!((migrated.code, migrated.stdout.as_str()), (Some(0), "the schema is up to date\n"));
    site.is_lawful().await;
}

#[tokio::test]
async fn what_was_there_before_is_read_delivered_and_brought_back() {
    let site = seasoned().await;
    for name in ["event-1", "event-2", "event-3", "event-4", "login-4", "login-7", sid(5).as_str(), sid(6).as_str()] {
        let story = site.run(&["trace", name]).await;
        assert_eq!(story.code, Some(0), "{story:?}");
    }
    let process = site.serve().await;
    site.everything_is_settled().await;
    for event in ["event-5", "event-6"] {
        let receipt = process.caller.get(&format!("/v1/events/{event}")).await.unwrap();
        assert_eq!(receipt.body["state"], "confirmed", "{receipt:?}");
    }
    process.caller.register("login-2", 2).await.unwrap();
    let replayed = site.run(&["dead-letters", "replay", "--yes"]).await;
    assert!(replayed.stdout.contains("2 of 2 dead letters"), "{replayed:?}");
    site.everything_is_settled().await;
    assert_eq!(site.count("parked").await, 1, "the event that had expired waits anew");
    site.is_lawful().await;
}

/// As a newer schema would, which knows more words than this binary.
const WORDS_OF_TOMORROW: &str = "
    alter table account_lane drop constraint account_lane_paused_by_is_known,
                             drop constraint account_lane_only_faults_are_probed;
    alter table attempt drop constraint attempt_verdict_is_known;
    alter table dead_letter drop constraint dead_letter_reason_is_known;
    update account_lane set paused_reason = 'an audit', paused_by = 'regulator', paused_at = now()
    where account_sid = 'AC00000000000000000000000000000001';
    update attempt set verdict = 'vetoed', class = 'omen' where verdict <> 'confirmed';
    update dead_letter set reason = 'haunted';
    update event set state = 'pondered', resolve = 'newest' where event_id = 'event-1';";

#[tokio::test]
async fn a_word_that_this_binary_does_not_know_stops_nothing_and_is_left_alone() {
    let mut site = seasoned().await;
    site.set("delivery.poll_interval", "50ms");
    site.sql(WORDS_OF_TOMORROW).await;
    let commands: [&[&str]; 5] =
        [&["audit"], &["lanes", "list"], &["dead-letters", "list"], &["trace", "event-1"], &["trace", "login-4"]];
    let mut told = String::new();
    for command in commands {
        let ran = site.run(command).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        told += &ran.stdout;
    }
    for word in ["PAUSED", "an audit", "haunted", "vetoed"] {
        assert!(told.contains(word), "{word} is not in {told}");
    }

    let process = site.serve().await;
    let caller = &process.caller;
    for path in [
        "/v1/lanes",
        "/v1/dead-letters",
        "/v1/events/event-1",
        "/v1/events/event-4",
        "/v1/actions/login-4",
        &format!("/v1/messages/{}", sid(4)),
        "/metrics",
    ] {
        let answer = caller.get(path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    caller.insist(100).await;
    let listed = site.run(&["lanes", "list"]).await;
    assert!(listed.stdout.contains("3 pending, 0 of them being sent"), "{listed:?}");
    assert_eq!(site.twilio.ledger().len(), 0, "a pause by whomever is a pause");
    site.sql("update account_lane set paused_reason = null, paused_by = null, paused_at = null").await;
    site.everything_is_settled().await;
    assert_eq!(site.count("dead_letter where reason = 'haunted'").await, 2);
    assert_eq!(site.count("event where state = 'pondered'").await, 1);
    site.is_lawful().await;
}

#[tokio::test]
async fn a_pause_by_a_word_of_tomorrow_is_not_taken_for_a_fault_of_the_account() {
    let world = World::new().await;
    let mut connection = PgConnection::connect(&world.database.url).await.unwrap();
    sqlx::raw_sql(
        "alter table account_lane drop constraint account_lane_paused_by_is_known;
         insert into account_lane (account_sid, paused_reason, paused_by, paused_at)
         values ('AC00000000000000000000000000000001', 'an audit', 'regulator', now())",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let outbox = &world.store.outbox;
    // A request that was under way comes back with 401.
    outbox.pause_for_fault(&account(1), "Twilio answered 401", Duration::ZERO).await.unwrap();
    assert!(!outbox.take_probe(&account(1), Duration::from_secs(60)).await.unwrap());
    outbox.resume_after_fault(&account(1)).await.unwrap();
    let paused_by: String =
        sqlx::query_scalar("select paused_by from account_lane").fetch_one(&mut connection).await.unwrap();
    assert_eq!(paused_by, "regulator");
}

/// The statement as the code has it.
fn claim() -> &'static str {
    let source = include_str!("../../src/store/outbox.rs");
    let (_, statement) = source.split_once("const CLAIM: &str = \"").unwrap();
    statement.split_once("\";").unwrap().0
}

/// Every node of a plan, with its parents before it.
fn nodes<'a>(plan: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(plan);
    for child in plan["Plans"].as_array().into_iter().flatten() {
        nodes(child, found);
    }
}

#[tokio::test]
async fn a_claim_reads_its_index_in_order_however_long_the_queue() {
    let world = World::new().await;
    let mut connection = PgConnection::connect(&world.database.url).await.unwrap();
    let more = |from: u32, to: u32| {
        format!(
            "insert into feedback (message_sid, account_sid, known_at, owed_at, due_at, tried, failures)
             select 'SM' || md5(number::text), 'AC' || lpad((1 + number % 2)::text, 32, '0'), now(), now(),
                    now() - number * interval '1 second', number % 3 = 0, number % 3
             from generate_series({from}, {to}) as number;"
        )
    };
    // As on a quiet day, when the statistics were taken; then Twilio is away.
    let quiet = format!("{}; analyze feedback; {}", more(1, 100), more(101, 20_000));
    sqlx::raw_sql(AssertSqlSafe(quiet)).execute(&mut connection).await.unwrap();
    let prepare = format!("prepare claim (text, bigint, bigint, float8, integer, boolean, timestamptz) as {}", claim());
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection).await.unwrap();
    let explain = format!("explain (format json) execute claim ('{}', 32, 8, 60, 5, false, null)", account(1));
    for setting in [
        "set plan_cache_mode = force_custom_plan",
        "set plan_cache_mode = force_generic_plan",
        "analyze feedback",
        "set plan_cache_mode = force_custom_plan",
    ] {
        sqlx::raw_sql(setting).execute(&mut connection).await.unwrap();
        let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain.clone())).fetch_one(&mut connection).await.unwrap();
        let mut all = Vec::new();
        nodes(&plan[0]["Plan"], &mut all);
        let of_the_queue = |node: &&&Value| node["Relation Name"] == "feedback";
        let by_due = all.iter().filter(|node| node["Index Name"] == "feedback_due").count();
        assert_eq!(by_due, 2, "fresh work and retries: {plan:#}");
        assert!(!all.iter().filter(of_the_queue).any(|node| node["Node Type"] == "Seq Scan"), "{plan:#}");
        for sort in all.iter().filter(|node| node["Node Type"] == "Sort") {
            let mut below = Vec::new();
            nodes(sort, &mut below);
            assert!(below.iter().filter(of_the_queue).count() == 0, "the queue is sorted: {plan:#}");
        }
    }
}

/// Statements of the upkeep that look for what is old.
fn forgetting() -> Vec<&'static str> {
    let source = include_str!("../../src/store/upkeep.rs");
    let statement = |name| source.split_once(name).unwrap().1.split_once('"').unwrap().0;
    vec![
        statement("\"-- Upkeep::forget_actions\n"),
        statement("\"-- Upkeep::forget_events\n"),
        statement("\"-- Upkeep::forget_messages\n"),
    ]
}

#[tokio::test]
async fn what_is_old_is_found_by_its_age_however_much_there_is() {
    let world = World::new().await;
    let mut connection = PgConnection::connect(&world.database.url).await.unwrap();
    let recent = format!(
        "insert into action (namespace, action_id, first_seen_at)
         select 'n', 'a' || number, now() - number * interval '1 second' from generate_series(1, 20000) as number;
         insert into message (message_sid, account_sid, namespace, action_id, registered_at)
         select 'SM' || md5(number::text), '{}', 'n', 'a' || number, now() - number * interval '1 second'
         from generate_series(1, 20000) as number;
         insert into event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state,
                            message_sids)
         select 'n', 'e' || number, '\\x00', 'a' || number, 'latest', now(), now() - number * interval '1 second', 'parked', '{{}}'
         from generate_series(1, 20000) as number;
         insert into parked (namespace, event_id, action_id, resolve, occurred_at, parked_at)
         select namespace, event_id, action_id, resolve, occurred_at, accepted_at from event;
         insert into feedback (message_sid, account_sid, known_at, owed_at, due_at)
         select message_sid, account_sid, registered_at, registered_at, registered_at from message where random() < 0.5;
         insert into confirmation (message_sid, account_sid, attempts, confirmed_at)
         select message_sid, account_sid, 1, registered_at from message;
         insert into dead_letter (message_sid, account_sid, namespace, reason, attempts, known_at, owed_at, died_at)
         select message_sid, account_sid, namespace, 'rejected', 1, registered_at, registered_at, registered_at from message;
         analyze;",
        account(1)
    );
    sqlx::raw_sql(AssertSqlSafe(recent)).execute(&mut connection).await.unwrap();
    for (number, statement) in forgetting().into_iter().enumerate() {
        let prepare = format!("prepare old_{number} (timestamptz, float8, bigint, float8) as {statement}");
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection).await.unwrap();
        let explain = format!("explain (format json) execute old_{number} (null, 7776000, 1000, 7776000)");
        let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_one(&mut connection).await.unwrap();
        let mut all = Vec::new();
        nodes(&plan[0]["Plan"], &mut all);
        // What is deleted then are a thousand at most.
        let looks = *all.iter().find(|node| node["Subplan Name"] == "CTE old").unwrap();
        let mut all = Vec::new();
        nodes(looks, &mut all);
        let by_age = |node: &&&Value| node["Index Name"].as_str().is_some_and(|name| name.ends_with("_by_age"));
        assert_eq!(all.iter().filter(by_age).count(), 1, "{plan:#}");
        for whole in ["action", "message", "event", "confirmation", "dead_letter", "feedback", "parked"] {
            let read_whole = |node: &&&Value| node["Relation Name"] == whole && node["Node Type"] == "Seq Scan";
            assert_eq!(all.iter().filter(read_whole).count(), 0, "{whole} is read whole: {plan:#}");
        }
    }
}

#[tokio::test]
async fn every_session_keeps_its_limits_whatever_the_database_says() {
    let mut world = World::new().await;
    let mut connection = PgConnection::connect(&world.database.url).await.unwrap();
    let spoilt = format!(
        "alter database {name} set synchronous_commit = off;
         alter database {name} set statement_timeout = 0;
         alter database {name} set lock_timeout = 0;
         alter database {name} set idle_in_transaction_session_timeout = 0;
         alter database {name} set timezone = 'Asia/Kathmandu';
         create table witness (who text, synchronous_commit text, statement_timeout text, lock_timeout text, idle text, timezone text);
         grant insert on witness to confirmd_app;
         create function bear_witness() returns trigger language plpgsql as $$
         begin
             insert into witness values (
                 current_setting('application_name'), current_setting('synchronous_commit'),
                 current_setting('statement_timeout'), current_setting('lock_timeout'),
                 current_setting('idle_in_transaction_session_timeout'), current_setting('timezone'));
             return null;
         end $$;
         create trigger of_intake after insert on event execute function bear_witness();
         create trigger of_delivery after insert on confirmation execute function bear_witness();
         create trigger of_operators after insert on account_lane execute function bear_witness();",
        name = world.database.name
    );
    sqlx::raw_sql(AssertSqlSafe(spoilt)).execute(&mut connection).await.unwrap();
    // Sessions from before the database was spoilt prove nothing.
    sqlx::raw_sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
        .execute(&mut connection)
        .await
        .unwrap();
    world.owes("login", 1).await;
    world.drain().await;
    world.store.operator.pause(&account(1), "to be seen").await.unwrap();

    let seen: Vec<(String, String, String, String, String, String)> =
        sqlx::query_as("select distinct * from witness order by who").fetch_all(&mut connection).await.unwrap();
    let kept = |who: &str| {
        let [who, on, statement, lock, idle, utc] = [who, "on", "15s", "10s", "15s", "UTC"].map(str::to_owned);
        (who, on, statement, lock, idle, utc)
    };
    assert_eq!(seen, [kept("confirmd-delivery"), kept("confirmd-intake"), kept("confirmd-reads")]);
}
