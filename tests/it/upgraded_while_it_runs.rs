//! Replicas are exchanged one by one, across a migration and under load: no caller is turned away, nothing is lost, no
//! attempt is burnt.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::harness::outside::eventually;
use crate::harness::process::{Confirmd, Site};
use crate::harness::traffic::Traffic;
use crate::harness::world::{account, sid};

/// What a version of tomorrow may add: columns, a table, an index. Under the same lock limit as `confirmd migrate`.
pub(crate) const TOMORROW: &str = "
    set lock_timeout = '500ms';
    begin;
    alter table message add column colour text not null default 'blue';
    alter table event add column mood text;
    alter table feedback add column priority integer not null default 0;
    alter table confirmation add column seen boolean;
    create table tomorrow (id integer primary key);
    create index message_by_colour on message (colour);
    insert into _sqlx_migrations (version, description, success, checksum, execution_time)
    values (99990101000000, 'of tomorrow', true, '\\x00', 1);
    commit;";

/// How many replicas are exchanged for new ones: two, or as many as `CONFIRMD_EXCHANGES` says.
fn exchanges() -> u32 {
    std::env::var("CONFIRMD_EXCHANGES").map_or(2, |number| number.parse().unwrap())
}

/// As `confirmd migrate`: where a lock is not had in time, it lets those behind it pass, and tries again.
async fn migrate(site: &Site) {
    let migrated = || async {
        let mut connection = PgConnection::connect(&site.database.url).await.unwrap();
        match sqlx::raw_sql(TOMORROW).execute(&mut connection).await {
            Ok(_) => Some(()),
            Err(sqlx::Error::Database(refused)) if refused.code().as_deref() == Some("55P03") => None,
            Err(error) => panic!("{error}"),
        }
    };
    eventually("the schema is migrated", migrated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_exchanged_across_a_migration_under_load_and_no_caller_notices() {
    let mut site = Site::new().await;
    site.is_patient();
    let mut replicas = vec![site.serve().await, site.serve().await];
    let callers = |replicas: &[Confirmd]| replicas.iter().map(|replica| replica.caller.clone()).collect::<Vec<_>>();
    let traffic = Traffic::begin(callers(&replicas), 6);
    traffic.goes_on(100).await;
    migrate(&site).await;
    // Both are of yesterday, on the schema of tomorrow.
    traffic.goes_on(100).await;

    for _ in 0..exchanges() {
        let renewed = site.serve().await;
        let told = renewed.logs("The schema is newer than this binary").await;
        assert!(told.contains("99990101000000"), "{told}");
        replicas.push(renewed);
        replicas[0].terminate();
        // Callers go on to be sent to the one that leaves, too: nothing here looks at /readyz.
        traffic.turn_to(callers(&replicas));
        assert_eq!(replicas[0].ends_within(Duration::from_secs(30)).await, Some(0));
        replicas.remove(0);
        traffic.turn_to(callers(&replicas));
        traffic.goes_on(100).await;
    }
    let told = traffic.end().await;

    eprintln!("{} logins taken, {} connections refused or cut and told again", told.taken.len(), told.repeated);
    assert_eq!(told.failed, [0u16; 0], "whoever got an answer got a good one");
    site.everything_is_settled().await;
    let taken = i64::try_from(told.taken.len()).unwrap();
    assert_eq!(site.count("event").await, taken);
    assert_eq!(site.count("confirmation").await, taken, "nothing is lost");
    assert_eq!(site.count("confirmation where attempts <> 1").await, 0);
    assert_eq!(site.count("attempt where verdict <> 'confirmed'").await, 0, "no attempt is burnt");
    assert_eq!(site.twilio.ledger().len(), told.taken.len(), "each was sent once");
    assert!(told.taken.iter().all(|number| site.twilio.confirmed(&sid(*number)) == Some(1)));
    site.is_lawful().await;
}

#[tokio::test]
async fn migrate_says_what_is_pending_and_what_it_would_do_and_does_nothing() {
    let site = Site::bare().await;
    let check = site.run(&["migrate", "--check"]).await;
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.stdout.starts_with("pending: 1 what we remember\n"), "{check:?}");
    assert!(check.stderr.contains("are pending; run `confirmd migrate`"), "{check:?}");
    let dry = site.run(&["migrate", "--dry-run"]).await;
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert!(dry.stdout.contains("-- migration 3: what operators did") && dry.stdout.contains("create table operation"));
    assert_eq!(site.count("pg_tables where schemaname = 'public'").await, 0, "nothing was done");
    // It is SQL that runs as it stands.
    site.sql(&format!("begin; {} rollback;", dry.stdout)).await;

    assert_eq!(site.run(&["migrate"]).await.code, Some(0));
    let check = site.run(&["migrate", "--check"]).await;
    assert_eq!((check.code, check.stdout.as_str()), (Some(0), "the schema is up to date\n"));
    assert_eq!(site.run(&["migrate", "--dry-run"]).await.stdout, "-- the schema is up to date\n");
    assert_eq!(site.run(&["migrate", "--dry-run", "--check"]).await.code, Some(64));
}

#[tokio::test]
async fn a_schema_of_tomorrow_is_told_and_the_binary_of_yesterday_does_all_of_its_work_on_it() {
    let mut site = Site::new().await;
    site.sql(TOMORROW).await;
    let newer = "newer: 99990101000000 is not known to this binary, and does not stop it\n";
    let check = site.run(&["migrate", "--check"]).await;
    assert_eq!((check.code, check.stdout), (Some(0), format!("{newer}the schema is up to date\n")));
    let dry = site.run(&["migrate", "--dry-run"]).await;
    assert_eq!((dry.code, dry.stdout), (Some(0), format!("-- {newer}-- the schema is up to date\n")));
    let (owner, service) = (site.database.url.clone(), site.database.service_url.clone());
    site.set_variable("DATABASE_URL", &owner);
    let again = site.run(&["migrate"]).await;
    site.set_variable("DATABASE_URL", &service);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "the schema is up to date\n"), "{again:?}");
    assert!(site.run(&["check"]).await.stdout.contains("its schema is up to date"));

    let process = site.serve().await;
    site.fault("503;first=1");
    process.caller.complete("before-its-message", "login-4").await.unwrap();
    for number in 1..=3 {
        process.caller.insist(number).await;
    }
    process.caller.register("login-4", 4).await.unwrap();
    site.everything_is_settled().await;
    site.fault("400;first=1");
    process.caller.insist(5).await;
    site.everything_is_settled().await;
    let replayed = site.run(&["dead-letters", "replay", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    site.everything_is_settled().await;
    let account = account(1);
    for command in
        [&["lanes", "pause", account.as_str(), "--reason", "a test"][..], &["lanes", "resume", account.as_str()]]
    {
        let ran = site.run(command).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    assert_eq!(site.run(&["trace", "login-4"]).await.code, Some(0));
    assert_eq!(site.run(&["export", "events"]).await.stdout.lines().count(), 5);
    assert_eq!(site.count("confirmation").await, 5);
    site.is_lawful().await;
}
