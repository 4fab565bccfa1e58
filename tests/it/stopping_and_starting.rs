//! Promises 1, 2 and 3 for whole processes: started, stopped, killed, cut off from Postgres, left by their callers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use sqlx::{Connection, Executor as _, PgConnection};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::harness::caller::{Answer, Caller, Unanswered, action_of, completed, event_of};
use crate::harness::far::{Far, target};
use crate::harness::outside::{eventually, while_watching};
use crate::harness::process::{Confirmd, Site};
use crate::harness::world::{World, account, sid};

/// How long a process may take beyond its deadline: this machine may be busy.
const GRACE: Duration = Duration::from_secs(3);

/// Sessions for readers in a [`World`].
const READERS: i64 = 3;

/// Callers who tell of one login after the other until they are told to stop.
struct Load {
    callers: JoinSet<()>,
    stopping: Arc<AtomicBool>,
    heard: Arc<Mutex<Heard>>,
}

/// What callers were answered.
#[derive(Default)]
struct Heard {
    /// Numbers of the messages and events that were taken.
    taken: BTreeSet<u32>,
    /// What was answered instead of a 2xx.
    statuses: BTreeSet<u16>,
    cut: Vec<Unanswered>,
}

impl Heard {
    fn note(&mut self, told: &Result<Answer, Unanswered>) -> bool {
        match told {
            Ok(answer) if answer.is_taken() => return true,
            Ok(answer) => drop(self.statuses.insert(answer.status)),
            Err(Unanswered::Refused) => self.cut.push(Unanswered::Refused),
            Err(Unanswered::Cut(what)) => self.cut.push(Unanswered::Cut(what.clone())),
        }
        false
    }
}

impl Load {
    fn begin(caller: &Caller, callers: u32) -> Self {
        let (stopping, heard) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Heard>>::default());
        let next = Arc::<AtomicU32>::default();
        let mut load = JoinSet::new();
        for _ in 0..callers {
            let (caller, stopping, heard, next) = (caller.clone(), stopping.clone(), heard.clone(), next.clone());
            load.spawn(async move {
                while !stopping.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let registered = caller.register(&action_of(number), number).await;
                    if !heard.lock().unwrap().note(&registered) {
                        continue;
                    }
                    let completed = caller.complete(&event_of(number), &action_of(number)).await;
                    let mut heard = heard.lock().unwrap();
                    if heard.note(&completed) {
                        heard.taken.insert(number);
                    }
                }
            });
        }
        Self { callers: load, stopping, heard }
    }

    /// Waits until so many more are taken.
    async fn goes_on(&self, logins: usize) {
        let taken = || self.heard.lock().unwrap().taken.len();
        let before = taken();
        let enough = || async { (before + logins <= taken()).then_some(()) };
        eventually("the callers have told enough", enough).await;
    }

    async fn end(self) -> Heard {
        self.stopping.store(true, Ordering::SeqCst);
        self.callers.join_all().await;
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

/// Everything that callers were told is taken stands in the database.
async fn has_all(site: &Site, taken: &BTreeSet<u32>) {
    let numbers: Vec<String> = taken.iter().map(u32::to_string).collect();
    let of = format!(
        "unnest('{{{}}}'::integer[]) as told (number) where not exists (select from event where event_id = 'event-' || number)
         or not exists (select from message where action_id = 'login-' || number)",
        numbers.join(",")
    );
    assert_eq!(site.count(&of).await, 0, "of {} that were acknowledged", taken.len());
}

/// Twilio has each of these, and heard no request for them that is not on record.
async fn has_confirmed_each(site: &Site, taken: &BTreeSet<u32>) {
    for number in taken {
        assert!(site.twilio.confirmed(&sid(*number)).is_some_and(|times| 0 < times), "login {number}");
    }
    let mut requests: BTreeMap<String, u32> = BTreeMap::new();
    for entry in site.twilio.ledger() {
        *requests.entry(entry.message_sid.unwrap().to_string()).or_default() += 1;
    }
    let (sids, times): (Vec<String>, Vec<String>) =
        requests.into_iter().map(|(sid, times)| (sid, times.to_string())).unzip();
    let off_record = format!(
        "unnest('{{{}}}'::text[], '{{{}}}'::integer[]) as heard (message_sid, requests)
         left join confirmation using (message_sid)
         where attempts is null or attempts < requests",
        sids.join(","),
        times.join(",")
    );
    assert_eq!(site.count(&off_record).await, 0, "requests that are not on record");
}

async fn is_not_ready(caller: &Caller) {
    let draining = || async { caller.get("/readyz").await.is_ok_and(|answer| answer.status == 503).then_some(()) };
    eventually("the process says that it is not ready", draining).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_with_a_hung_twilio_loses_nothing_and_ends_in_time() {
    let mut site = Site::new().await;
    site.set("server.drain_delay", "2s");
    site.set("server.drain_deadline", "8s");
    site.set("delivery.request_timeout", "20s");
    site.fault("hang");
    let mut process = site.serve().await;
    let caller = process.caller.clone();
    let load = Load::begin(&caller, 8);
    load.goes_on(100).await;
    site.twilio.requests(1).await;

    process.terminate();
    let told = Instant::now();
    is_not_ready(&caller).await;
    let while_draining = caller.register("late", 1_000_000).await;
    assert!(while_draining.is_ok_and(|answer| answer.is_taken()), "who comes while it drains is served");
    let heard = load.end().await;
    assert_eq!((heard.statuses.len(), heard.cut.len()), (0, 0), "nobody was turned away or cut off");

    assert_eq!(process.ends_within(Duration::from_secs(8) + GRACE).await, Some(0));
    assert!(Duration::from_secs(2) <= told.elapsed(), "it drained first");
    has_all(&site, &heard.taken).await;
    assert_eq!(site.count("feedback where lease_token is not null").await, 0, "no lease outlives the process");
    site.is_lawful().await;

    // Leases last a minute, and nobody waits for that.
    site.twilio.clear_faults();
    let _next = site.serve().await;
    site.everything_is_settled().await;
    has_confirmed_each(&site, &heard.taken).await;
    site.is_lawful().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_over_at_once_what_another_was_sending() {
    let mut site = Site::new().await;
    site.set("server.drain_deadline", "4s");
    site.fault("hang;first=8");
    let mut stopped = site.serve().await;
    for number in 0..8 {
        stopped.caller.insist(number).await;
    }
    site.twilio.requests(8).await;
    let _stays = site.serve().await;
    stopped.terminate();
    assert_eq!(stopped.ends_within(Duration::from_secs(4) + GRACE).await, Some(0));
    site.everything_is_settled().await;
    assert_eq!(site.count("confirmation where attempts = 2").await, 8);
    assert_eq!(site.count("attempt where verdict = 'interrupted'").await, 8);
    site.is_lawful().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_hangs_keeps_a_stop_beyond_its_deadline() {
    let mut site = Site::new().await;
    let far = Far::before(target(&site.database.url), Duration::ZERO).await;
    let url = far.url(&site.database.service_url);
    site.set_variable("DATABASE_URL", &url);
    site.set("server.drain_deadline", "4s");
    site.set("delivery.request_timeout", "20s");
    site.fault("hang");
    let mut process = site.serve().await;
    let caller = process.caller.clone();
    caller.insist(1).await;
    site.twilio.requests(1).await;
    let _slow_head = caller.says("GET /livez HT").await;
    let _slow_body = caller.says("POST /v1/events HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{").await;
    far.fall_silent();
    let mut unanswered = JoinSet::new();
    unanswered.spawn(async move { caller.complete("event-2", "login-2").await });

    process.terminate();
    assert_eq!(process.ends_within(Duration::from_secs(4) + GRACE).await, Some(0), "{}", process.log());
    let answer = unanswered.join_all().await.remove(0);
    assert!(!answer.is_ok_and(|answer| answer.is_taken()), "what is not committed is not acknowledged");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut site = Site::new().await;
    site.set("server.drain_delay", "50s");
    site.set("server.drain_deadline", "60s");
    let mut process = site.serve().await;
    process.terminate();
    process.logs("first signal").await;
    process.terminate();
    assert_eq!(process.ends_within(GRACE).await, Some(130));
}

#[tokio::test]
async fn an_idle_process_stops_at_once() {
    let site = Site::new().await;
    let mut process = site.serve().await;
    process.terminate();
    assert_eq!(process.ends_within(GRACE).await, Some(0));
    process.logs("Stopped").await;
}

#[tokio::test]
async fn a_service_does_not_start_on_a_schema_that_is_not_there_unless_it_may_make_it() {
    let site = Site::bare().await;
    let refused = site.run(&["serve"]).await;
    assert_eq!(refused.code, Some(75));
    assert!(refused.stderr.contains("run `confirmd migrate`"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("Ready"), "its port was never opened");
    assert_eq!(site.count("pg_tables where schemaname = 'public'").await, 0, "nothing was made");

    let process = site.serve_with(&["--migrate"]).await;
    process.caller.insist(1).await;
    site.everything_is_settled().await;
    site.is_lawful().await;
}

#[tokio::test]
async fn of_several_who_migrate_at_once_all_succeed() {
    let site = Site::bare().await;
    let migrate = || site.run(&["migrate"]);
    let (one, two, three) = tokio::join!(migrate(), migrate(), migrate());
    for ran in [one, two, three] {
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.contains("the schema is up to date"), "{ran:?}");
    }
    let again = migrate().await;
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "the schema is up to date\n"));
}

#[tokio::test]
async fn a_migration_that_is_killed_half_way_is_finished_by_the_next() {
    let site = Site::bare().await;
    // Somebody makes a table of a name that the third migration needs, and has not committed it.
    let mut other = PgConnection::connect(&site.database.url).await.unwrap();
    other.execute("begin; create table operation ()").await.unwrap();
    let killed = site.begin(&["migrate"]);
    let waits = "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually("the migration waits", || async { (site.count(waits).await == 1).then_some(()) }).await;
    killed.kill().await;
    other.execute("rollback").await.unwrap();
    let applied = site.count("_sqlx_migrations").await;
    assert!((2..8).contains(&applied), "{applied} were applied when it was killed");

    let again = site.run(&["migrate"]).await;
    assert_eq!((again.code, again.stdout.contains("the schema is up to date")), (Some(0), true), "{again:?}");
    let process = site.serve().await;
    process.caller.insist(1).await;
    site.everything_is_settled().await;
    site.is_lawful().await;
}

#[tokio::test]
async fn an_older_binary_works_on_a_newer_schema() {
    let mut site = Site::new().await;
    // Who migrates owns the tables.
    let owner = site.database.url_of("confirmd_migrate");
    site.set_variable("DATABASE_URL", &owner);
    site.sql(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (99990101000000, 'of tomorrow', true, '\\x00', 1);
         alter table message add column colour text not null default 'blue';
         alter table event add column mood text;
         alter table feedback add column priority integer not null default 0;
         create table tomorrow (id integer primary key)",
    )
    .await;
    let check = site.run(&["check"]).await;
    assert_eq!(check.code, Some(0), "{check:?}");
    assert_eq!(site.run(&["migrate"]).await.code, Some(0));
    let process = site.serve_with(&["--migrate"]).await;
    process.caller.insist(1).await;
    site.everything_is_settled().await;
    assert_eq!(site.count("message where colour = 'blue'").await, 1);
    site.is_lawful().await;
}

#[tokio::test]
async fn a_service_does_not_wait_for_ever_for_a_postgres_that_says_nothing() {
    let mut site = Site::new().await;
    let far = Far::before(target(&site.database.url), Duration::ZERO).await;
    far.fall_silent();
    let url = far.url(&site.database.service_url);
    site.set_variable("DATABASE_URL", &url);
    let mut waiting = ["serve", "migrate", "check", "audit"].map(|command| site.begin(&[command]));
    for process in &mut waiting {
        assert_eq!(process.ends_within(Duration::from_secs(20)).await, Some(75));
    }
}

/// Logins that callers tell of, in whatever order, until each is taken.
#[derive(Default)]
struct Logins {
    untold: Mutex<Vec<u32>>,
    taken: Mutex<BTreeSet<u32>>,
}

impl Logins {
    fn add(&self, numbers: impl Iterator<Item = u32>) {
        self.untold.lock().unwrap().extend(numbers);
    }

    /// Tells of what is untold, until nothing is, or nobody listens any more.
    async fn tell(self: Arc<Self>, caller: Caller) {
        let next = || self.untold.lock().unwrap().pop();
        while let Some(number) = next() {
            let registered = caller.register(&action_of(number), number).await;
            let told = match registered {
                Ok(answer) if answer.is_taken() => caller.complete(&event_of(number), &action_of(number)).await,
                not_taken => not_taken,
            };
            match told {
                Ok(answer) if answer.is_taken() => drop(self.taken.lock().unwrap().insert(number)),
                Ok(answer) => {
                    assert_eq!(answer.status, 503, "{answer:?}");
                    eprintln!("told again: {answer:?}");
                    self.add([number].into_iter());
                }
                Err(_killed) => return self.add([number].into_iter()),
            }
        }
    }

    fn tellers(self: &Arc<Self>, process: &Confirmd) -> JoinSet<()> {
        (0..6).map(|_| self.clone().tell(process.caller.clone())).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_every_kill() {
    let mut site = Site::new().await;
    // As short as may be, so that what the dead were sending comes due soon.
    site.set("delivery.request_timeout", "300ms");
    site.set("delivery.connect_timeout", "300ms");
    site.set("delivery.lease", "1700ms");
    site.set("delivery.poll_interval", "100ms");
    site.set("delivery.max_lost_leases", "100");
    site.fault("delay;time=30ms");
    let mut dice = StdRng::seed_from_u64(48);
    let logins = Arc::new(Logins::default());
    for round in 0..10 {
        logins.add(round * 40..(round + 1) * 40);
        let process = site.serve().await;
        let mut tellers = logins.tellers(&process);
        let life = Duration::from_millis(dice.random_range(5..300));
        let all_told = async {
            while let Some(teller) = tellers.join_next().await {
                teller.unwrap();
            }
        };
        let told = timeout(life, all_told).await;
        process.kill().await;
        if told.is_err() {
            tellers.join_all().await;
        }
        let taken = logins.taken.lock().unwrap().clone();
        has_all(&site, &taken).await;
        site.is_lawful().await;
    }

    let last = site.serve().await;
    logins.tellers(&last).join_all().await;
    let taken = logins.taken.lock().unwrap().clone();
    assert_eq!(taken.len(), 400);
    site.everything_is_settled().await;
    has_all(&site, &taken).await;
    has_confirmed_each(&site, &taken).await;
    site.is_lawful().await;
    assert_eq!(site.count("event").await, 400, "nothing was taken twice");
}

/// Sessions of confirmd that are in a transaction, or doing anything else.
const BUSY_SESSIONS: &str = "pg_stat_activity where datname = current_database()
    and application_name like 'confirmd-%' and state <> 'idle'";

/// Those that have stayed in a transaction without doing anything for longer than a second.
const FORGOTTEN_TRANSACTIONS: &str = "pg_stat_activity where datname = current_database()
    and application_name like 'confirmd-%' and state like 'idle in transaction%'
    and clock_timestamp() - state_change > interval '1 second'";

/// Does one of the things that callers do, and hangs up in the middle of it.
async fn asks_and_leaves(caller: Caller, number: u32, after: Duration) {
    match number % 5 {
        // Its transaction is on the pool of readers and operators.
        0..=2 => caller.hang_up(after, &format!("/v1/lanes/{}/resume", account(1)), &json!({})).await,
        3 => {
            let (action, event_id) = (format!("left-{number}"), format!("event-left-{number}"));
            caller.hang_up(after, "/v1/events", &completed(&event_id, &action)).await;
        }
        _ => drop(timeout(after, caller.get("/v1/lanes")).await),
    }
}

/// An operator who pauses a lane, and looks with another session whether what was acknowledged is committed.
struct Pauses {
    caller: Caller,
    other: PgConnection,
    acknowledged: u32,
}

impl Pauses {
    async fn begin(caller: &Caller, database_url: &str) -> Self {
        let other = PgConnection::connect(database_url).await.unwrap();
        Self { caller: caller.clone(), other, acknowledged: 0 }
    }

    /// Asks until one more is acknowledged. Those who have hung up stand in line for the connections before it, and a
    /// busy machine gets to the end of the line in its own time: until then, 503 is the right answer.
    async fn one_more(&mut self) {
        let (path, reason) = (format!("/v1/lanes/{}/pause", account(1)), format!("pause {}.", self.acknowledged));
        eventually("a pause is acknowledged", || async {
            let paused = self.caller.post(&path, &json!({"reason": reason})).await;
            paused.is_ok_and(|answer| answer.is_taken()).then_some(())
        })
        .await;
        self.acknowledged += 1;
        // Somebody else may have resumed the lane since, but it is on record.
        let on_record: i64 = sqlx::query_scalar("select count(*) from operation where strpos(reason, $1) > 0")
            .bind(&reason)
            .fetch_one(&mut self.other)
            .await
            .unwrap();
        assert!(0 < on_record, "{reason} was acknowledged, and is not on record");
    }
}

/// Five of them at once.
async fn five_leave(caller: &Caller, dice: &mut StdRng, batch: u32) {
    let leavers = (0..5).map(|one| {
        let after = Duration::from_millis(dice.random_range(0..60));
        asks_and_leaves(caller.clone(), batch * 5 + one, after)
    });
    leavers.collect::<JoinSet<_>>().join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_takes_nobody_elses_acknowledgement_along() {
    let mut site = Site::new().await;
    // A round trip of 10 ms: there is time to hang up between any two words to Postgres.
    let far = Far::before(target(&site.database.url), Duration::from_millis(5)).await;
    let url = far.url(&site.database.service_url);
    site.set_variable("DATABASE_URL", &url);
    // Postgres itself would clear up what is forgotten, and so hide it.
    site.set("database.idle_in_transaction_timeout", "1m");
    let process = site.serve().await;
    let caller = process.caller.clone();
    let mut dice = StdRng::seed_from_u64(4);

    // A login service and an operator who stay on the line.
    let events = Load::begin(&caller, 2);
    let mut pauses = Pauses::begin(&caller, &site.database.url).await;
    let leaving = async {
        for batch in 0..60 {
            // What they leave behind is what the next pause and the next login meet.
            tokio::join!(five_leave(&caller, &mut dice, batch), pauses.one_more());
        }
        events.goes_on(1).await;
    };
    let forgotten = while_watching(leaving, || site.count(FORGOTTEN_TRANSACTIONS)).await;
    let heard = events.end().await;
    assert_eq!(forgotten, 0, "sessions that stayed in a transaction");

    // With nobody on the line who would end their transactions with his own, they end by themselves.
    for batch in 60..80 {
        five_leave(&caller, &mut dice, batch).await;
        let idle = || async { (site.count(BUSY_SESSIONS).await == 0).then_some(()) };
        eventually("whatever was begun is ended", idle).await;
    }
    process.kill().await;

    assert!(heard.statuses.iter().all(|status| *status == 503), "{:?}", heard.statuses);
    assert_eq!(heard.cut, []);
    assert_eq!(pauses.acknowledged, 60);
    assert!(!heard.taken.is_empty());
    has_all(&site, &heard.taken).await;
    site.is_lawful().await;
}

/// What ends one session ends all of them as a rule; finding that out costs no tries.
#[tokio::test]
async fn however_many_sessions_are_dead_the_next_reader_is_answered() {
    let world = World::new().await;
    let mut holding = PgConnection::connect(&world.database.url).await.unwrap();
    holding.execute("begin; lock table account_lane").await.unwrap();
    let mut reading = JoinSet::new();
    for _ in 0..READERS {
        let ledger = world.store.ledger.clone();
        reading.spawn(async move { ledger.lanes().await });
    }
    let watching = tokio::sync::Mutex::new(PgConnection::connect(&world.database.url).await.unwrap());
    eventually("a session for each reader", || async {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and application_name = 'confirmd-reads' and wait_event_type = 'Lock'",
        )
        .fetch_one(&mut *watching.lock().await)
        .await
        .unwrap();
        (waiting == READERS).then_some(())
    })
    .await;
    holding.execute("commit").await.unwrap();
    while let Some(read) = reading.join_next().await {
        read.unwrap().unwrap();
    }
    // Waits until they have ended.
    let ended: i64 = sqlx::query_scalar(
        "select count(*) filter (where ended)
         from (select pg_terminate_backend(pid, 10000) as ended from pg_stat_activity
               where datname = current_database() and application_name = 'confirmd-reads') as session",
    )
    .fetch_one(&mut holding)
    .await
    .unwrap();
    assert_eq!(ended, READERS);
    world.store.ledger.ping(GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_postgres_ends_cost_a_503_at_most() {
    let site = Site::new().await;
    let process = site.serve().await;
    let load = Load::begin(&process.caller, 6);
    load.goes_on(20).await;
    for _ in 0..15 {
        let ended = site
            .count(
                "(select pg_terminate_backend(pid) from pg_stat_activity
                  where datname = current_database() and application_name like 'confirmd-%') as ended",
            )
            .await;
        assert!(0 < ended);
        load.goes_on(10).await;
    }
    let heard = load.end().await;
    assert!(heard.statuses.iter().all(|status| *status == 503), "{:?}", heard.statuses);
    assert_eq!(heard.cut, []);
    site.everything_is_settled().await;
    has_all(&site, &heard.taken).await;
    has_confirmed_each(&site, &heard.taken).await;
    site.is_lawful().await;
    assert!(process.caller.get("/readyz").await.is_ok_and(|answer| answer.status == 200));
}
