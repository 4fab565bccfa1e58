//! What one would write first, kept to be measured beside: a handler that inserts in a transaction of its own through
//! a pool, and a worker that polls, leases, posts, and settles row by row. Same schema, same durability, same HTTP
//! library, same client. It checks neither tokens nor ids, resolves nothing, and knows no limits, retries or metrics:
//! all that it leaves out is in its favour.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::postgres::{PgPool, PgPoolOptions};

use super::ids;

/// What the obvious design is made of.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ObviousArgs {
    #[arg(long)]
    database_url: String,
    #[arg(long)]
    pool: u32,
    /// Where to post; it only takes events if left out.
    #[arg(long)]
    sink: Option<String>,
    /// Requests in flight, and rows leased at once.
    #[arg(long, default_value_t = 64)]
    concurrency: u32,
}

#[derive(Deserialize)]
struct Event {
    event_id: String,
    action_id: String,
}

/// How long its worker waits when nothing is due.
const POLL: Duration = Duration::from_millis(100);

/// Serves until it is killed.
pub(super) async fn run(args: ObviousArgs) -> anyhow::Result<()> {
    let pool = PgPoolOptions::new().max_connections(args.pool).connect(&args.database_url).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    let take = if args.sink.is_some() { post(take_and_owe) } else { post(take) };
    if let Some(sink) = args.sink.clone() {
        tokio::spawn(work(pool.clone(), sink, args.concurrency));
    }
    axum::serve(listener, Router::new().route("/v1/events", take).with_state(pool)).await.context("serving ended")
}

async fn take(State(pool): State<PgPool>, Json(event): Json<Event>) -> Result<(StatusCode, Json<Value>), StatusCode> {
    accept(&pool, &event, TAKE).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok((StatusCode::ACCEPTED, Json(json!({"event_id": event.event_id, "state": "parked", "message_sids": []}))))
}

async fn take_and_owe(
    State(pool): State<PgPool>,
    Json(event): Json<Event>,
) -> Result<(StatusCode, Json<Value>), StatusCode> {
    accept(&pool, &event, TAKE_AND_OWE).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok((StatusCode::ACCEPTED, Json(json!({"event_id": event.event_id, "state": "pending"}))))
}

async fn accept(pool: &PgPool, event: &Event, statement: &'static str) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query(statement)
        .bind(ids::NAMESPACE)
        .bind(&event.event_id)
        .bind(&event.action_id)
        .bind([0_u8; 32])
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

const TAKE: &str = "-- the obvious design: take
    insert into event (namespace, event_id, action_id, fingerprint, resolve, occurred_at, accepted_at, state, message_sids)
    values ($1, $2, $3, $4, 'latest', now(), now(), 'parked', '{}')
    on conflict do nothing";

const TAKE_AND_OWE: &str = "-- the obvious design: take and owe
    with mapped as (
        select message_sid, account_sid, registered_at from message where namespace = $1 and action_id = $3
    ),
    accepted as (
        insert into event (namespace, event_id, action_id, fingerprint, resolve, occurred_at, accepted_at, state, message_sids)
        select $1, $2, $3, $4, 'latest', now(), now(), 'pending', array[message_sid] from mapped
        on conflict do nothing
    )
    insert into feedback (message_sid, account_sid, known_at, owed_at, due_at)
    select message_sid, account_sid, registered_at, now(), now() from mapped
    on conflict do nothing";

async fn work(pool: PgPool, sink: String, concurrency: u32) {
    #[expect(clippy::disallowed_methods, reason = "the obvious design is not ours")]
    let http = reqwest::Client::new();
    loop {
        match round(&pool, &http, &sink, concurrency).await {
            Ok(0) => tokio::time::sleep(POLL).await,
            Ok(_) => {}
            Err(error) => eprintln!("the obvious design: {error:#}"),
        }
    }
}

async fn round(pool: &PgPool, http: &reqwest::Client, sink: &str, concurrency: u32) -> anyhow::Result<usize> {
    let leased: Vec<String> = sqlx::query_scalar(
        "-- the obvious design: lease
        with due as materialized (
            select message_sid from feedback
            where due_at <= now() and (lease_until is null or lease_until <= now())
            order by due_at limit $1 for update skip locked
        )
        update feedback
        set attempts = attempts + 1, lease_token = gen_random_uuid(), lease_until = now() + interval '1 minute'
        from due where feedback.message_sid = due.message_sid
        returning feedback.message_sid",
    )
    .bind(i64::from(concurrency))
    .fetch_all(pool)
    .await?;
    let done = join_all(leased.iter().map(|sid| deliver(pool, http, sink, sid))).await;
    done.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    Ok(leased.len())
}

async fn deliver(pool: &PgPool, http: &reqwest::Client, sink: &str, sid: &str) -> anyhow::Result<()> {
    let account = ids::ACCOUNT_SID;
    let url = format!("{sink}/2010-04-01/Accounts/{account}/Messages/{sid}/Feedback.json");
    let request = http.post(url).basic_auth(account, Some("token")).body("Outcome=confirmed");
    request.send().await?.error_for_status()?.bytes().await?;
    sqlx::query(
        "-- the obvious design: settle
        with done as (delete from feedback where message_sid = $1 returning message_sid, account_sid, attempts)
        insert into confirmation (message_sid, account_sid, attempts, confirmed_at)
        select message_sid, account_sid, attempts, now() from done",
    )
    .bind(sid)
    .execute(pool)
    .await?;
    Ok(())
}
