//! A Postgres of our own: it is there at once, it keeps what it was told, and it never stays behind.

use std::{
    env,
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    thread,
};

use confirmd::postgres::{EmbeddedError, EmbeddedOptions, EmbeddedPostgres};
use sqlx::{Connection, PgConnection, Row};
use tempfile::TempDir;

use crate::harness::{
    held::{Held, options, refusal},
    outside::eventually,
};

#[tokio::test]
async fn the_first_start_needs_nothing_but_a_folder() {
    let Some(folder) = story_folder() else { return };
    let postgres = start(folder.path());
    postgres.create_database_if_absent("confirmd").await.unwrap();
    postgres.create_database_if_absent("confirmd").await.unwrap();

    let mut connection = PgConnection::connect(&postgres.url("confirmd")).await.unwrap();
    let row = sqlx::raw_sql("select current_setting('listen_addresses'), current_setting('timezone')")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!((row.get(0), row.get(1)), ("127.0.0.1", "UTC"));
}

#[tokio::test]
async fn other_users_of_the_machine_cannot_read_the_data() {
    let Some(folder) = story_folder() else { return };
    let postgres = start(folder.path());
    let url = postgres.url("postgres");
    let password = fs::read_to_string(folder.path().join("password")).unwrap();

    for (name, mode) in [("password", 0o600), ("postgres.log", 0o600), ("lock", 0o600), ("cluster", 0o700)] {
        let found = fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    assert!(PgConnection::connect(&url.replace(&password, "guessed")).await.is_err());
    assert!(!format!("{postgres:?}").contains(&password));
}

#[tokio::test]
async fn a_restart_finds_the_data_of_yesterday() {
    let Some(folder) = story_folder() else { return };
    let yesterday = start(folder.path());
    write_note(&yesterday.url("postgres")).await;
    yesterday.stop().unwrap();

    let today = start(folder.path());
    assert_eq!(notes(&today.url("postgres")).await, 1);
}

#[tokio::test]
async fn a_server_does_not_outlive_a_killed_confirmd() {
    let Some(folder) = story_folder() else { return };
    let held = Held::start(folder.path());
    let url = held.url.clone();
    write_note(&url).await;
    held.kill();

    eventually("the server has stopped", || async { PgConnection::connect(&url).await.err() }).await;
    let next = start(folder.path());
    assert_eq!(notes(&next.url("postgres")).await, 1);
}

#[tokio::test]
async fn the_next_run_need_not_wait_for_the_end_of_a_killed_one() {
    let Some(folder) = story_folder() else { return };
    let held = Held::start(folder.path());
    write_note(&held.url).await;
    held.kill();

    let next = start(folder.path());
    assert_eq!(notes(&next.url("postgres")).await, 1);
}

#[tokio::test]
async fn a_server_that_was_left_behind_all_the_same_is_taken_over() {
    let Some(folder) = story_folder() else { return };
    let held = Held::start(folder.path());
    let url = held.url.clone();
    write_note(&url).await;
    held.kill_with_watchdog();
    assert_eq!(notes(&url).await, 1, "nothing is left to stop it");

    let next = start(folder.path());
    assert_eq!(notes(&next.url("postgres")).await, 1);
    assert!(PgConnection::connect(&url).await.is_err());
}

#[tokio::test]
async fn a_first_start_may_be_killed_at_any_moment() {
    for moment in ["cluster.unfinished", "cluster.unfinished/global/pg_control", "cluster", "cluster/postmaster.pid"] {
        let Some(folder) = story_folder() else { return };
        let begun = Held::begin(folder.path());
        let sign = folder.path().join(moment);
        eventually(moment, || async { sign.exists().then_some(()) }).await;
        begun.kill();

        let next = start(folder.path());
        write_note(&next.url("postgres")).await;
        assert!(!folder.path().join("cluster.unfinished").exists());
    }
}

#[tokio::test]
async fn a_process_that_got_the_number_of_a_crashed_server_is_left_alone() {
    let Some(folder) = story_folder() else { return };
    let yesterday = start(folder.path());
    yesterday.stop().unwrap();
    // As after a power cut: the file names a process, and by now that is someone else. Here it is us.
    let stale = format!("{}\n/nowhere\n1\n5432\n\n127.0.0.1\n  1 1\nready   \n", std::process::id());
    fs::write(folder.path().join("cluster/postmaster.pid"), stale).unwrap();

    let today = start(folder.path());
    write_note(&today.url("postgres")).await;
}

#[tokio::test]
async fn of_two_starts_at_once_one_is_told_of_the_other() {
    let Some(folder) = story_folder() else { return };
    let path = folder.path();
    let both = thread::scope(|scope| {
        let other = scope.spawn(|| EmbeddedPostgres::start(options(path)));
        (EmbeddedPostgres::start(options(path)), other.join().unwrap())
    });
    let (running, refused) = match both {
        (Ok(running), Err(refused)) | (Err(refused), Ok(running)) => (running, refused),
        both => panic!("exactly one should run: {both:?}"),
    };
    assert!(matches!(refused, EmbeddedError::AlreadyRunning { .. }), "{refused}");

    let refused = EmbeddedPostgres::start(options(path)).unwrap_err().to_string();
    assert!(refused.contains(&format!("another confirmd, process {}", std::process::id())), "{refused}");
    write_note(&running.url("postgres")).await;
}

#[test]
fn data_of_another_major_version_is_refused_and_left_as_it_is() {
    let Some(folder) = story_folder() else { return };
    let postgres = start(folder.path());
    postgres.stop().unwrap();
    fs::write(folder.path().join("cluster/PG_VERSION"), "12\n").unwrap();

    let refused = EmbeddedPostgres::start(options(folder.path())).unwrap_err().to_string();
    assert!(refused.contains("was made by PostgreSQL 12, and this machine has PostgreSQL"), "{refused}");
    assert!(refused.contains("or move that folder away"), "{refused}");
}

#[test]
fn a_folder_without_programs_is_named_to_whoever_chose_it() {
    let Some(folder) = story_folder() else { return };
    let told = refusal(folder.path(), "CONFIRMD_PG_BIN", "/usr/share");
    assert!(told.contains("CONFIRMD_PG_BIN is /usr/share, but initdb, pg_ctl and postgres"), "{told}");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was made");
}

#[tokio::test]
async fn root_may_keep_its_data_below_a_closed_home() {
    let Some(closed) = story_folder() else { return };
    if fs::metadata(closed.path()).unwrap().uid() != 0 {
        return skip("only root lends the server another user");
    }
    fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).unwrap();
    let asked = closed.path().join("clone/.confirmd/postgres");
    let first = start(&asked);
    let kept = first.data_dir().to_owned();
    write_note(&first.url("postgres")).await;
    first.stop().unwrap();
    assert_eq!(asked.canonicalize().unwrap(), kept, "a link tells where the data is");

    fs::remove_file(&asked).unwrap();
    let next = start(&asked);
    assert_eq!(next.data_dir(), kept, "it is found again without the link too");
    assert_eq!(notes(&next.url("postgres")).await, 1);
    next.stop().unwrap();

    fs::remove_dir_all(&kept).unwrap();
    start(&asked).stop().unwrap();
    fs::remove_dir_all(&kept).unwrap();
}

#[tokio::test]
async fn a_throwaway_folder_goes_with_its_server() {
    let Some(folder) = story_folder() else { return };
    let postgres = EmbeddedPostgres::start(EmbeddedOptions::throwaway(folder.path())).unwrap();
    postgres.stop().unwrap();
    assert!(!folder.path().exists());
}

/// `None` on a machine without Postgres, where these stories cannot be told; in CI there has to be one.
fn story_folder() -> Option<TempDir> {
    match EmbeddedPostgres::programs() {
        Ok(_) => Some(tempfile::tempdir().unwrap()),
        Err(missing) if env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{missing}"),
        Err(_) => {
            skip("no PostgreSQL on this machine");
            None
        }
    }
}

fn start(data_dir: &Path) -> EmbeddedPostgres {
    EmbeddedPostgres::start(options(data_dir)).unwrap()
}

/// Written past the test harness, which would hide it.
fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {}: {why}", thread::current().name().unwrap_or("a test"));
}

async fn write_note(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql("create table if not exists note (text text); insert into note values ('kept')")
        .execute(&mut connection)
        .await
        .unwrap();
}

async fn notes(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar("select count(*) from note").fetch_one(&mut connection).await.unwrap()
}
