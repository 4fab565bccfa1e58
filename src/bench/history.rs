//! The same again over a long history: ten million confirmed messages and a million dead letters.

use std::time::{Duration, Instant};

use super::burst::{Bench, Burst};
use super::rig::Database;
use super::runs::Runs;
use super::table::{Figure, Goal};
use super::{drain, ids, intake, whole};

const ROUND: &str = "history: the same over many confirmed messages and dead letters";
const WITHOUT: &str = "the figure without";

pub(super) async fn round(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let (old, new) = (bench.rig.database("history").await?, bench.rig.database("no_history").await?);
    let (messages, letters) = (bench.plan.history, bench.plan.dead_letters);
    bench.tell(&format!("making a history of {messages} confirmed messages and {letters} dead letters"));
    let from = bench.numbers(messages + letters);
    make(&old, from, messages, letters).await?;
    bench.tell("on the way to the next checkpoint");
    for database in [&old, &new] {
        on_the_way(bench, database).await?;
    }
    let mut runs = Runs::new(ROUND);
    for run in 1..=bench.plan.runs {
        bench.tell(&format!("beside the history, run {run} of {}", bench.plan.runs));
        let (without, with) = (intake::at_256(bench, &new).await?, intake::at_256(bench, &old).await?);
        runs.add("without, intake", without.accepted_per_second);
        runs.add("intake at 256 connections", with.accepted_per_second);
        runs.add("without, log", without.wal_bytes);
        runs.add("intake at 256 connections, log", with.wal_bytes);
        for (who, measured) in [("without, ", &without), ("intake at 256 connections, ", &with)] {
            if let Some(pages) = measured.full_pages {
                runs.add(format!("{who}whole pages in the log"), pages);
            }
            if let Some(postgres) = measured.postgres_us {
                runs.add(format!("{who}Postgres"), postgres);
            }
        }
        for database in [&new, &old] {
            // What intake alone has left behind.
            database.execute("truncate feedback").await?;
        }
        runs.add("without, drain", drain::at_once(bench, &new, 64, bench.plan.small_backlog).await?.per_second);
        runs.add(
            "drain, 0 ms sink, 64 in flight",
            drain::at_once(bench, &old, 64, bench.plan.small_backlog).await?.per_second,
        );
        runs.add("without, whole", whole::at_saturation(bench, &new).await?);
        runs.add("whole path at saturation", whole::at_saturation(bench, &old).await?);
    }
    looks(bench, &old, from, messages, &mut runs).await?;
    Ok(figures(&runs))
}

fn figures(runs: &Runs) -> Vec<Figure> {
    let nearly = Some(Goal::AtLeast(0.9));
    let soon = Some(Goal::AtMost(20.0));
    let figures = [
        runs.ratio("intake at 256 connections", "events/s", "without, intake", WITHOUT, nearly),
        runs.ratio("intake at 256 connections, log", "bytes/event", "without, log", WITHOUT, None),
        runs.figure("intake at 256 connections, whole pages in the log", "/event", None),
        runs.figure("without, whole pages in the log", "/event", None),
        runs.figure("intake at 256 connections, Postgres", "µs of CPU/event", None),
        runs.figure("without, Postgres", "µs of CPU/event", None),
        runs.ratio("drain, 0 ms sink, 64 in flight", "/s", "without, drain", WITHOUT, nearly),
        runs.ratio("whole path at saturation", "events/s", "without, whole", WITHOUT, nearly),
        runs.figure("list of 100 dead letters, by HTTP", "ms", soon),
        runs.figure("list of 100 dead letters of a reason, by HTTP", "ms", soon),
        runs.figure("count of dead letters, by HTTP", "ms", soon),
        runs.figure("a receipt, by HTTP", "ms", None),
    ];
    figures.into_iter().flatten().collect()
}

/// Takes as many events as it needs until most pages of the indexes have been touched since the checkpoint. The first touch
/// writes a page to the log whole, and an event's key is random, so right after a checkpoint many an event does that, and the
/// fewer the longer ago it was.
async fn on_the_way(bench: &mut Bench, database: &Database) -> anyhow::Result<()> {
    let mut confirmd = bench.confirmd(database, "intake", 64).await?;
    let most = bench.plan.history / 50;
    let during = Duration::from_secs(120);
    let burst =
        Burst { database, connections: 8, during, most, batch: 1000, rate: None, map: true, until_confirmed: false };
    bench.burst(&mut confirmd, &burst).await?;
    database.execute("truncate feedback").await?;
    confirmd.stop().await
}

/// Asks what an operator asks, over HTTP.
async fn looks(
    bench: &mut Bench,
    database: &Database,
    from: u32,
    messages: u32,
    runs: &mut Runs,
) -> anyhow::Result<()> {
    let confirmd = bench.confirmd(database, "intake", 64).await?;
    for n in 0..20 {
        let event: String = sqlx::query_scalar("select bench_event($1)")
            .bind(i64::from(from + messages / 20 * n))
            .fetch_one(&database.pool)
            .await?;
        let replay = r#"{"filter": {"reason": "rejected"}, "dry_run": true}"#;
        let asked = [
            ("list of 100 dead letters, by HTTP", "GET", "/v1/dead-letters?limit=100".to_owned(), ""),
            (
                "list of 100 dead letters of a reason, by HTTP",
                "GET",
                "/v1/dead-letters?reason=rejected&limit=100".to_owned(),
                "",
            ),
            ("count of dead letters, by HTTP", "POST", "/v1/dead-letters/replay".to_owned(), replay),
            ("a receipt, by HTTP", "GET", format!("/v1/events/{event}"), ""),
        ];
        for (name, method, path, body) in asked {
            let began = Instant::now();
            super::service::ask(confirmd.address, &bench.token, method, &path, body).await?;
            // The first answers come from empty pools and unplanned statements.
            if 2 < n {
                runs.add(name, began.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    confirmd.stop().await
}

/// Fills the tables as a long life would have, by the quickest way there is: without indexes, which are made afterwards,
/// as nobody waits for it and nothing of it is measured.
async fn make(database: &Database, from: u32, messages: u32, letters: u32) -> anyhow::Result<()> {
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "select format('alter table %I drop constraint %I', t.relname, c.conname),
                format('alter table %I add constraint %I %s', t.relname, c.conname, pg_get_constraintdef(c.oid))
         from pg_constraint c join pg_class t on t.oid = c.conrelid
         where c.contype = 'p' and t.relname in ('action', 'message', 'event', 'confirmation', 'dead_letter')
         union all
         select format('drop index %I', i.relname), pg_get_indexdef(i.oid)
         from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid
         where not x.indisprimary and t.relname in ('message', 'event', 'dead_letter')",
    )
    .fetch_all(&database.pool)
    .await?;
    for (drop, _) in &indexes {
        database.execute(drop).await?;
    }
    database.execute(GENERATOR).await?;
    let (confirmed, all) = (from + messages, from + messages + letters);
    let (ns, account) = (ids::NAMESPACE, ids::ACCOUNT_SID);
    let past = "now() - interval '80 days' * random()";
    // Two clients, each with tables of its own: as many as there are processors.
    let one = format!(
        "begin; truncate event, dead_letter;
         insert into event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state, message_sids,
                            at_message)
         select '{ns}', bench_event(n), decode('00', 'hex'), bench_action(n), 'latest', {past}, {past}, 'pending',
                array[bench_sid(n)], true
         from generate_series({from}::bigint, {all} - 1) n;
         insert into dead_letter (message_sid, account_sid, namespace, reason, attempts, last_status, last_code, known_at, owed_at, died_at)
         select bench_sid(n), '{account}', '{ns}', case when n % 3 = 0 then 'rejected' else 'message_not_found' end, 1, 404, 20404,
                {past}, {past}, {past}
         from generate_series({confirmed}::bigint, {all} - 1) n; commit;"
    );
    let two = format!(
        "begin; truncate action, message, confirmation;
         insert into action (namespace, action_id, first_seen_at)
         select '{ns}', bench_action(n), {past} from generate_series({from}::bigint, {all} - 1) n;
         insert into message (message_sid, account_sid, namespace, action_id, sent_at, registered_at, owed_at, last_event_at,
                              first_event_id)
         select bench_sid(n), '{account}', '{ns}', bench_action(n), {past}, {past}, {past}, {past}, bench_event(n)
         from generate_series({from}::bigint, {all} - 1) n;
         insert into confirmation (message_sid, account_sid, attempts, confirmed_at, number, status, took_ms)
         select bench_sid(n), '{account}', 1, {past}, 1, 201, 90 from generate_series({from}::bigint, {confirmed} - 1) n; commit;"
    );
    tokio::try_join!(database.execute(one), database.execute(two))?;
    let (these, those): (Vec<_>, Vec<_>) =
        indexes.iter().map(|(_, create)| create).partition(|sql| sql.contains("event"));
    let create = async |some: Vec<&String>| {
        for sql in some {
            database.execute(sql).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(create(these), create(those))?;
    // Or autovacuum would, beside what is measured.
    let tidy = async |tables: &[&str]| {
        for table in tables {
            database.execute(format!("vacuum analyze {table}")).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(tidy(&["message", "action"]), tidy(&["event", "confirmation", "dead_letter"]))?;
    database.execute("analyze").await?;
    database.execute("checkpoint").await
}

/// Names as random as those of `ids.rs`, made where they are needed: ten million need not be sent.
const GENERATOR: &str = "
    create or replace function bench_sid(n bigint) returns text language sql immutable parallel safe
        as $$ select 'SM' || left(md5(n::text), 24) || lpad(to_hex(n), 8, '0') $$;
    create or replace function bench_action(n bigint) returns text language sql immutable parallel safe
        as $$ select 'old-' || left(md5('a' || n), 16) $$;
    create or replace function bench_event(n bigint) returns text language sql immutable parallel safe
        as $$ select md5('e' || n)::uuid::text $$;
";
