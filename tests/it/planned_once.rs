//! A statement is planned once by each session, and the plan is kept: one that was made while there was next to nothing may
//! not read everything for each event once there is much.

use std::collections::BTreeMap;

use confirmd::domain::Resolve;
use confirmd::store::Accepted;
use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::outside::eventually;
use crate::harness::world::{MINUTE, World, exact, noon};

/// What was told by somebody else meanwhile, by the row.
const MANY: i64 = 20_000;
/// How much of it the stories may read of each table and index, all together.
const FEW: i64 = MANY / 2;

/// Messages are told, events of all kinds, both of them twice, and before each other; what is owed is confirmed at once, or
/// at the second attempt.
async fn tells_everything(world: &mut World, day: u32) {
    const ROUNDS: u32 = 12;
    let first = day * 1000;
    let each = |number| {
        let world = &*world;
        let name = move |what: &str| format!("{what}-{day}-{number}");
        async move {
            let (one, two, three, four) =
                (first + number, first + 100 + number, first + 200 + number, first + 300 + number);
            for _twice in 0..2 {
                world.register(&name("login"), one).await;
                world.complete(&name("e"), &name("login")).await;
            }
            world.register_sent(&name("login"), one, Some(noon())).await;
            world.complete(&name("early"), &name("signup")).await;
            world.register(&name("signup"), two).await;
            world.register(&name("reset"), three).await;
            world.complete_by(&name("all"), &name("reset"), Resolve::All).await;
            world.register(&name("named"), four).await;
            let unknown = first + 400 + number;
            for named in [four, unknown] {
                world.accept(exact(&format!("{}-{named}", name("exact")), named)).await.unwrap();
            }
            assert_eq!(world.accept(exact(&name("e"), one)).await, Ok(Accepted::Mismatch));
            world.complete(&name("never"), &name("nothing")).await;
        }
    };
    join_all((0..ROUNDS).map(each)).await;
    world.fault("503;first=3");
    let requests = world.drain().await;
    world.travel(MINUTE);
    let messages = 5 * usize::try_from(ROUNDS).unwrap();
    assert_eq!(requests + world.drain().await, messages + 3, "all are confirmed, three at the second attempt");
}

/// Rows and index entries that sessions have read so far, by table and index. A session tells when it ends.
async fn read(observer: &mut PgConnection) -> BTreeMap<String, i64> {
    let told: Vec<(String, i64)> = sqlx::query_as(
        "select relname::text, coalesce(seq_tup_read, 0) from pg_stat_user_tables
         union all
         select indexrelname::text, idx_tup_read from pg_stat_user_indexes",
    )
    .fetch_all(observer)
    .await
    .unwrap();
    told.into_iter().collect()
}

/// A history, and a queue that is not due yet.
const GROWTH: &str = "
    insert into action (namespace, action_id, first_seen_at)
    select 'others', 'a' || number, now() from generate_series(1, 20000) as number;
    insert into message (message_sid, account_sid, namespace, action_id, registered_at, owed_at)
    select 'MM' || md5(number::text), 'AC' || lpad('1', 32, '0'), 'others', 'a' || number, now(),
           case when number % 2 = 0 then now() end
    from generate_series(1, 20000) as number;
    insert into event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state, message_sids)
    select 'others', 'e' || number, '\\x00', 'a' || number, 'latest', now(), now(), 'parked', '{}'
    from generate_series(1, 20000) as number;
    insert into parked (namespace, event_id, action_id, resolve, occurred_at, parked_at)
    select 'others', 'e' || number, 'p' || number, 'latest', now(), now() from generate_series(1, 20000) as number;
    insert into feedback (message_sid, account_sid, known_at, owed_at, due_at, tried, failures)
    select message_sid, account_sid, now(), now(), now() + interval '1 year', true, 1 from message where namespace = 'others';
    insert into confirmation (message_sid, account_sid, attempts, confirmed_at)
    select 'MM' || md5('c' || number), 'AC' || lpad('1', 32, '0'), 1, now() from generate_series(1, 20000) as number;
    insert into dead_letter (message_sid, account_sid, namespace, reason, attempts, known_at, owed_at, died_at)
    select 'MM' || md5('d' || number), 'AC' || lpad('1', 32, '0'), 'others', 'rejected', 1, now(), now(), now()
    from generate_series(1, 20000) as number;";

/// When the statistics were taken by which everything is planned.
#[derive(Clone, Copy)]
enum Analyzed {
    Never,
    Empty,
    Small,
}

async fn serves_a_full_one(analyzed: Analyzed) {
    let mut world = World::new().await;
    let mut observer = PgConnection::connect(&world.database.url).await.unwrap();
    if let Analyzed::Small = analyzed {
        tells_everything(&mut world, 1).await;
    }
    if let Analyzed::Empty | Analyzed::Small = analyzed {
        sqlx::raw_sql("analyze").execute(&mut observer).await.unwrap();
    }
    tells_everything(&mut world, 2).await;

    let mut others = PgConnection::connect(&world.database.url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(GROWTH)).execute(&mut others).await.unwrap();
    others.close().await.unwrap();
    let before = {
        let observer = tokio::sync::Mutex::new(&mut observer);
        eventually("what was inserted is counted", || async {
            let counted = "select n_tup_ins >= $1 from pg_stat_user_tables where relname = 'dead_letter'";
            let counted: bool =
                sqlx::query_scalar(counted).bind(MANY).fetch_one(&mut **observer.lock().await).await.unwrap();
            counted.then_some(())
        })
        .await;
        read(*observer.lock().await).await
    };

    tells_everything(&mut world, 3).await;
    world.store.close().await;
    let observer = tokio::sync::Mutex::new(&mut observer);
    eventually("the sessions of the store end", || async {
        let others = "select count(*) from pg_stat_activity
                      where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'";
        let others: i64 = sqlx::query_scalar(others).fetch_one(&mut **observer.lock().await).await.unwrap();
        (others == 0).then_some(())
    })
    .await;
    let after = read(*observer.lock().await).await;
    for key in ["message_pkey", "feedback_pkey", "event_pkey", "parked_of_action"] {
        assert!(before[key] < after[key], "what the sessions have read by {key} is counted");
    }
    let read_whole: BTreeMap<_, _> =
        after.iter().map(|(name, read)| (name, read - before[name])).filter(|(_, read)| FEW < *read).collect();
    assert_eq!(read_whole, BTreeMap::new(), "read by the row");
}

#[tokio::test]
async fn a_plan_of_a_table_that_was_never_analyzed_serves_a_full_one() {
    serves_a_full_one(Analyzed::Never).await;
}

#[tokio::test]
async fn a_plan_of_a_table_that_was_analyzed_while_it_was_empty_serves_a_full_one() {
    serves_a_full_one(Analyzed::Empty).await;
}

#[tokio::test]
async fn a_plan_of_a_table_that_was_analyzed_while_it_was_small_serves_a_full_one() {
    serves_a_full_one(Analyzed::Small).await;
}
