//! What is on call for Postgres.

use std::time::Duration;

use confirmd::postgres::{Afterwards, EmbeddedOptions, EmbeddedPostgres};
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::Rehearsal;
use crate::harness::far::{Far, target};
use crate::harness::process::Site;
use crate::harness::traffic::Traffic;

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_holds_the_tables_is_found_and_ended_and_all_of_it_is_over() {
    let site = Site::new().await;
    let process = site.serve().await;
    let Some(on_call) = Rehearsal::of(site, &[&process]).await else { return };
    let traffic = Traffic::begin(vec![process.caller.clone()], 2);
    traffic.goes_on(20).await;

    let mut somebody = PgConnection::connect(&on_call.admin).await.unwrap();
    somebody
        .execute("set application_name = 'somebody'; begin; lock table event, feedback in exclusive mode; select txid_current()")
        .await
        .unwrap();
    on_call.it_happens();
    on_call.fires("ConfirmdIntakeRefusing").await;
    on_call.does("ConfirmdIntakeRefusing", "confirmd check", &[]).await;
    assert!(process.log().contains("lock timeout"));

    on_call.fires("ConfirmdCommitSlow").await;
    let seen = on_call.sees("ConfirmdCommitSlow").await;
    let is_somebody = |row: &&serde_json::Value| row["application_name"] == "somebody";
    let holder = seen.iter().find(is_somebody).unwrap();
    assert_eq!((&holder["state"], &holder["waits_for"]), (&"idle in transaction".into(), &serde_json::json!([])));
    let waits = |row: &serde_json::Value| row["waits_for"] == serde_json::json!([holder["pid"]]);
    assert!(seen.iter().any(waits), "{seen:#?}");

    on_call.fires("ConfirmdLoopStandsStill").await;
    let lane = "ALERTS{alertname=\"ConfirmdLoopStandsStill\", alertstate=\"firing\", loop=\"lane\"}";
    on_call.prometheus.comes_to_know(lane).await;
    on_call.does("ConfirmdLoopStandsStill", "confirmd lanes list", &[]).await;
    assert!(process.log().contains("Could not claim"));

    on_call.fires("ConfirmdOldTransaction").await;
    let seen = on_call.sees("ConfirmdOldTransaction").await;
    let oldest = seen.iter().find(is_somebody).unwrap();
    let pid = oldest["pid"].to_string();
    assert_eq!(pid, holder["pid"].to_string());
    on_call.mends("ConfirmdOldTransaction", "select pg_terminate_backend(PID);", &[("PID", &pid)]).await;
    on_call.it_is_mended();
    on_call.is_over("ConfirmdIntakeRefusing").await;
    on_call.is_over("ConfirmdCommitSlow").await;
    on_call.is_over("ConfirmdLoopStandsStill").await;
    on_call.is_over("ConfirmdOldTransaction").await;
    let told = traffic.end().await;
    assert!(told.failed.iter().all(|status| *status == 503), "{told:?}");
    on_call.site.everything_is_settled().await;
    assert_eq!(on_call.site.count("confirmation").await as usize, told.taken.len());
    on_call.site.is_lawful().await;
}

/// A server of one's own, with a database that is migrated.
async fn postgres_of_its_own(site: &mut Site) -> EmbeddedPostgres {
    let started = tokio::task::spawn_blocking(|| {
        let folder = tempfile::Builder::new().prefix("confirmd-tests-").tempdir().unwrap().keep();
        let options = EmbeddedOptions { afterwards: Afterwards::Remove, ..EmbeddedOptions::lasting(folder) };
        EmbeddedPostgres::start(options).unwrap()
    });
    let postgres = started.await.unwrap();
    postgres.create_database_if_absent("confirmd").await.unwrap();
    site.set_variable("DATABASE_URL", &postgres.url("confirmd"));
    let migrated = site.run(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    postgres
}

#[tokio::test]
async fn a_postgres_that_is_away_or_not_durable_is_mended_as_the_runbook_says() {
    let mut site = Site::new().await;
    let postgres = postgres_of_its_own(&mut site).await;
    let admin = postgres.url("confirmd");
    let far = Far::before(target(&admin), Duration::ZERO).await;
    site.set_variable("DATABASE_URL", &far.url(&admin));
    let process = site.serve().await;
    let caller = &process.caller;
    let Some(mut on_call) = Rehearsal::of(site, &[&process]).await else { return };
    on_call.admin = admin.clone();
    on_call.prometheus.comes_to_know("confirmd_db_durability{mode=\"local\"} == 1").await;
    caller.insist(1).await;

    let mut somebody = PgConnection::connect(&admin).await.unwrap();
    somebody.execute("alter system set fsync = off").await.unwrap();
    somebody.execute("select pg_reload_conf()").await.unwrap();
    on_call.it_happens();
    on_call.fires("ConfirmdNotDurable").await;
    let seen = on_call.sees("ConfirmdNotDurable").await;
    assert!(seen[0]["sourcefile"].as_str().unwrap().ends_with("postgresql.auto.conf"), "{seen:?}");
    let mends = "alter system set fsync = on;\nselect pg_reload_conf();";
    on_call.mends("ConfirmdNotDurable", mends, &[]).await;
    on_call.it_is_mended();
    on_call.is_over("ConfirmdNotDurable").await;
    on_call.does("ConfirmdNotDurable", "confirmd audit", &[]).await;

    on_call.it_happens();
    far.is_cut();
    on_call.fires("ConfirmdPostgresAway").await;
    let check = on_call.typed("ConfirmdPostgresAway", "confirmd check", &[]).await;
    assert!(check.code != Some(0) && check.stdout.contains("WRONG database"), "{check:?}");
    assert_eq!(caller.complete("event-2", "login-1").await.unwrap().status, 503);
    far.is_mended();
    on_call.it_is_mended();
    on_call.is_over("ConfirmdPostgresAway").await;
    caller.insist(2).await;
    on_call.does("ConfirmdPostgresAway", "confirmd audit", &[]).await;

    // A standby that must have it, too.
    somebody.execute("alter system set synchronous_standby_names = 'nobody'").await.unwrap();
    somebody.execute("select pg_reload_conf()").await.unwrap();
    on_call.prometheus.comes_to_know("confirmd_db_durability{mode=\"standby\"} == 1").await;
    somebody.execute("alter system reset synchronous_standby_names").await.unwrap();
    somebody.execute("select pg_reload_conf()").await.unwrap();
    on_call.prometheus.comes_to_know("confirmd_db_durability{mode=\"local\"} == 1").await;
}
