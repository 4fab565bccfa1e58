//! The tests' own ground: each has a database that nobody else sees, and leaves none behind.

use sqlx::{Connection, PgConnection};

use crate::harness::database::{TestDatabase, database, server_url};

#[tokio::test]
async fn what_one_test_writes_no_other_sees() {
    let (mine, yours) = tokio::join!(database(), database());
    let mut connection = PgConnection::connect(&mine.url).await.unwrap();
    sqlx::raw_sql("create table note (text text)").execute(&mut connection).await.unwrap();

    assert_eq!(notes(&mine).await, 1);
    assert_eq!(notes(&yours).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tests_may_begin_at_once() {
    let beginning: Vec<_> = (0..8).map(|_| tokio::spawn(database())).collect();
    for begun in beginning {
        let database = begun.await.unwrap();
        assert_eq!(notes(&database).await, 0);
    }
}

#[tokio::test]
async fn a_database_goes_away_with_its_test_even_while_connected() {
    let database = database().await;
    let name = database.name.clone();
    let _still_connected = PgConnection::connect(&database.url).await.unwrap();
    drop(database);

    let mut admin = PgConnection::connect(&server_url().await).await.unwrap();
    let there: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert!(!there);
}

async fn notes(database: &TestDatabase) -> i64 {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    sqlx::query_scalar("select count(*) from pg_tables where tablename = 'note'")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}
