//! Three roles, each of which may do what it needs and nothing else. All other stories run as `confirmd_app`.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::database::{ROLES, database, empty_database};
use crate::harness::process::Site;

const GRANTED: &str = "tests/it/samples/privileges.txt";

/// What the roles were granted, a line for each.
const PRIVILEGES: &str = "
    select format('%s %s %s', grantee, lower(privilege_type), table_name)
    from information_schema.role_table_grants
    where grantee in ('confirmd_app', 'confirmd_read', 'PUBLIC') and table_schema = 'public'
    union
    select format('%s %s %s (%s)', grantee, lower(privilege_type), table_name, column_name)
    from information_schema.role_column_grants c
    where grantee in ('confirmd_app', 'confirmd_read', 'PUBLIC') and table_schema = 'public'
      and not exists (select from information_schema.role_table_grants t
                      where (t.grantee, t.privilege_type, t.table_name) = (c.grantee, c.privilege_type, c.table_name))
    union
    select format('%s %s %s()', grantee, lower(privilege_type), routine_name)
    from information_schema.role_routine_grants
    where grantee in ('confirmd_app', 'confirmd_read', 'PUBLIC') and routine_schema = 'public'
    union
    select format('%s owns %s', tableowner, tablename) from pg_tables where schemaname = 'public'
    order by 1";

#[tokio::test]
async fn the_roles_may_do_what_is_listed_and_nothing_else() {
    let database = database().await;
    let mut admin = PgConnection::connect(&database.url).await.unwrap();
    let granted: Vec<String> = sqlx::query_scalar(PRIVILEGES).fetch_all(&mut admin).await.unwrap();
    let granted = granted.join("\n") + "\n";
    let list = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(GRANTED);
    if std::env::var_os("CONFIRMD_WRITE_REFERENCE").is_some() {
        std::fs::write(&list, &granted).unwrap();
    }
    let listed = std::fs::read_to_string(&list).unwrap();
    assert_eq!(granted, listed, "if that is meant, write {GRANTED} anew with CONFIRMD_WRITE_REFERENCE=1");
}

#[tokio::test]
async fn what_a_role_may_not_do_is_refused() {
    let database = database().await;
    // A database that is made as a copy of another does not take over who may enter it.
    let mut admin = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql(ROLES).execute(&mut admin).await.unwrap();
    let never = [
        ("confirmd_app", "create table mine (a int)"),
        ("confirmd_app", "create temporary table mine (a int)"),
        ("confirmd_app", "drop table event"),
        ("confirmd_app", "truncate event"),
        ("confirmd_app", "alter table event add column note text"),
        ("confirmd_app", "create index on event (state)"),
        ("confirmd_app", "update event set state = 'confirmed'"),
        ("confirmd_app", "update attempt set status = 200"),
        ("confirmd_app", "update confirmation set confirmed_at = now()"),
        ("confirmd_app", "update operation set done_by = 'nobody'"),
        ("confirmd_app", "update dead_letter set reason = 'rejected'"),
        ("confirmd_app", "delete from account_lane"),
        ("confirmd_app", "insert into _sqlx_migrations select * from _sqlx_migrations"),
        ("confirmd_app", "create function mine() returns int language sql as 'select 1'"),
        ("confirmd_app", "set role confirmd_migrate"),
        ("confirmd_app", "select pg_read_file('/etc/passwd')"),
        ("confirmd_read", "insert into action values ('a', 'b', now())"),
        ("confirmd_read", "update feedback set due_at = now()"),
        ("confirmd_read", "delete from event"),
        ("confirmd_read", "select from feedback for update"),
        ("confirmd_read", "create table mine (a int)"),
        ("confirmd_migrate", "create role mine"),
        ("confirmd_migrate", "create database mine"),
        ("confirmd_migrate", "copy action to program 'cat'"),
    ];
    for (role, statement) in never {
        let mut session = PgConnection::connect(&database.url_of(role)).await.unwrap();
        let refused = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut session).await;
        let code = refused.err().and_then(|error| error.as_database_error()?.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("42501"), "{role}: {statement}");
    }
}

#[tokio::test]
async fn who_only_reads_can_use_the_commands_that_only_read() {
    let mut site = Site::new().await;
    let process = site.serve().await;
    process.caller.insist(1).await;
    site.everything_is_settled().await;
    let reader = site.database.url_of("confirmd_read");
    site.set_variable("DATABASE_URL", &reader);
    for command in [&["audit"][..], &["lanes", "list"], &["dead-letters", "list"], &["trace", "event-1"]] {
        let ran = site.run(command).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

#[tokio::test]
async fn from_an_empty_database_to_a_service_as_it_is_deployed() {
    let mut site = Site::bare().await;
    let mut admin = PgConnection::connect(&site.database.url).await.unwrap();
    for _again in 0..2 {
        sqlx::raw_sql(ROLES).execute(&mut admin).await.unwrap();
    }
    let service = site.database.url_of("confirmd_app");
    site.set_variable("DATABASE_URL", &service);
    let too_early = site.run(&["migrate"]).await;
    assert_eq!(too_early.code, Some(78), "the service cannot make its tables: {too_early:?}");
    assert!(too_early.stderr.contains("confirmd_migrate may"), "{too_early:?}");
    let migrate = site.database.url_of("confirmd_migrate");
    site.set_variable("DATABASE_URL", &migrate);
    let migrated = tokio::join!(site.run(&["migrate"]), site.run(&["migrate"]));
    assert_eq!((migrated.0.code, migrated.1.code), (Some(0), Some(0)), "two at once: {migrated:?}");
    site.set_variable("DATABASE_URL", &service);
    let process = site.serve().await;
    process.caller.insist(1).await;
    site.everything_is_settled().await;
    site.is_lawful().await;
}

#[tokio::test]
async fn nobody_else_enters_a_database_that_was_given_its_roles() {
    let database = empty_database().await;
    let mut admin = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql(ROLES).execute(&mut admin).await.unwrap();
    let public: bool = sqlx::query_scalar(
        "select exists (select from pg_database, aclexplode(datacl) as acl
                        where datname = current_database() and acl.grantee = 0)",
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert!(!public);
}

#[tokio::test]
async fn the_service_sees_how_old_the_oldest_transaction_of_anybody_is_and_nothing_else_of_it() {
    let database = database().await;
    let mut somebody = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql("begin isolation level repeatable read; select count(*) from event")
        .execute(&mut somebody)
        .await
        .unwrap();
    let mut service = PgConnection::connect(&database.url_of("confirmd_app")).await.unwrap();
    let age: f64 =
        sqlx::query_scalar("select age_seconds from oldest_snapshot()").fetch_one(&mut service).await.unwrap();
    assert!(0.0 < age);
    let hidden: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity where datname = current_database() and query like 'begin isolation%'",
    )
    .fetch_one(&mut service)
    .await
    .unwrap();
    assert_eq!(hidden, 0);
}
