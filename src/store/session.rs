//! Connections to Postgres: what is set on each of them, and how a unit of work runs on one.
//!
//! A unit of work must not run in a future that somebody may drop: a dropped `begin` leaves its transaction open, and
//! the next user of that connection writes into it unknowingly
//! (<https://github.com/launchbadge/sqlx/issues/4385>). Writers and loops are tasks of their own; reads for callers
//! run in the task that intake spawns for each request. A connection whose work was cut off is closed, never reused.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Postgres};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::StoreError;

/// Limits of a pool and of each session in it. Every one of them is set on the session and then verified.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    pub connections: u32,
    /// How long to wait for a free connection.
    pub acquire_timeout: Duration,
    /// The server ends a longer statement; must be below `deadline`, or the connection stays taken.
    pub statement_timeout: Duration,
    /// The server ends a longer wait for a lock.
    pub lock_timeout: Duration,
    /// The server closes a session whose transaction does nothing for longer.
    pub idle_in_transaction_timeout: Duration,
    /// Whether statements are planned once, whatever is in their columns; or anew for what they are told.
    pub plans: Plans,
    /// Our own limit of a whole unit of work, for a Postgres that does not answer at all.
    pub deadline: Duration,
}

/// How a session plans its statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plans {
    /// Once, by indexes. For statements over columns of any length, whose plan does not depend on what is in them. Left to
    /// itself, Postgres plans these anew each time; a batch of seven then took 1.8 ms of its processor time.
    ///
    /// A plan that is kept may have been made while the table had next to nothing in it, as the queue has most of the time:
    /// then its index read from end to end, and hashed, merged or gone through for each row, costs no more than the looking
    /// up of a key, and goes on when there are a million. So these statements join a table as in
    /// `message.message_sid = any (array[told.message_sid])`, which Postgres can neither hash nor merge: looking each key up
    /// is the only plan there is, whatever the statistics say. The tests in `planned_once` hold those to it that an event
    /// and its message meet on their way; not those that give back, interrupt or bury.
    Once,
    /// As Postgres sees fit. For statements whose filters may or may not be given.
    AsPostgresSeesFit,
}

/// A pool for one purpose. Intake and delivery have one each, so that neither can starve the other.
#[derive(Clone)]
pub(super) struct Sessions {
    pool: PgPool,
    deadline: Duration,
    /// Not before this may a new connection be tried; one at a time.
    reconnect: Arc<Mutex<Instant>>,
}

/// Between tries to connect to a Postgres that refuses. Each unit of work would try at once otherwise, and hundreds a second
/// keep a server busy that has no room as it is.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// Tries of a unit of work that met a deadlock, a serialization failure or a broken connection.
const TRIES: u32 = 3;

impl Sessions {
    pub(super) fn new(connect: PgConnectOptions, name: &'static str, options: &SessionOptions) -> Self {
        let settings = Arc::new(Settings::from(options));
        let pool = PgPoolOptions::new()
            .max_connections(options.connections)
            .min_connections(0)
            .acquire_timeout(options.acquire_timeout)
            .max_lifetime(Duration::from_secs(30 * 60))
            .idle_timeout(Duration::from_secs(10 * 60))
            // A ping before each use would double the round trips; a broken connection is met by trying again.
            .test_before_acquire(false)
            .after_connect(move |session, _| {
                let settings = settings.clone();
                Box::pin(async move { settings.establish(session).await })
            })
            .connect_lazy_with(connect.application_name(&format!("confirmd-{name}")));
        Self { pool, deadline: options.deadline, reconnect: Arc::new(Mutex::new(Instant::now())) }
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Runs a unit of work in one transaction: `begin`, the work, `commit`.
    ///
    /// The work must bear being repeated from its start: it is, after a deadlock or when the connection broke, also
    /// when the commit's answer was lost.
    pub(super) async fn transaction<T, Work>(&self, work: Work) -> Result<T, StoreError>
    where
        Work: for<'s> FnMut(&'s mut PgConnection) -> BoxFuture<'s, Result<T, sqlx::Error>> + Send,
        T: Send,
    {
        self.tried(Unit::Transaction, work).await
    }

    /// Runs single statements, each its own transaction.
    pub(super) async fn run<T, Work>(&self, work: Work) -> Result<T, StoreError>
    where
        Work: for<'s> FnMut(&'s mut PgConnection) -> BoxFuture<'s, Result<T, sqlx::Error>> + Send,
        T: Send,
    {
        self.tried(Unit::Statements, work).await
    }

    /// A connection that is idle, or a new one; new ones are tried one at a time, and after a refusal not at once.
    async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let is_full = || self.pool.options().get_max_connections() <= self.pool.size();
        if let Some(session) = self.pool.try_acquire() {
            return Ok(session);
        }
        if is_full() {
            return self.pool.acquire().await;
        }
        let mut not_before = self.reconnect.lock().await;
        if is_full() {
            drop(not_before);
            return self.pool.acquire().await;
        }
        tokio::time::sleep_until(*not_before).await;
        // Where there is no room for a new one, somebody may have given one back meanwhile.
        if let Some(session) = self.pool.try_acquire() {
            return Ok(session);
        }
        let acquired = self.pool.acquire().await;
        if acquired.is_err() {
            *not_before = Instant::now() + RECONNECT_PAUSE;
        }
        acquired
    }

    /// As [`Self::acquire`], passing over the connections that are dead. What ends one ends all as a rule, a restart of
    /// Postgres for instance, and a unit of work would spend its tries on finding that out, one by one.
    async fn acquire_alive(&self) -> Result<Lent, sqlx::Error> {
        loop {
            let mut lent = Lent::from(self.acquire().await?);
            if lent.session.ping().await.is_ok() {
                return Ok(lent);
            }
        }
    }

    async fn tried<T, Work>(&self, unit: Unit, mut work: Work) -> Result<T, StoreError>
    where
        Work: for<'s> FnMut(&'s mut PgConnection) -> BoxFuture<'s, Result<T, sqlx::Error>> + Send,
        T: Send,
    {
        let deadline = Instant::now() + self.deadline;
        let mut tries = 0;
        let mut met_a_broken_one = false;
        loop {
            tries += 1;
            let acquire = async {
                if met_a_broken_one { self.acquire_alive().await } else { self.acquire().await.map(Lent::from) }
            };
            let acquired = tokio::time::timeout_at(deadline, acquire).await;
            let mut session = acquired.map_err(|_| StoreError::Deadline)?.map_err(StoreError::from)?;
            let done = tokio::time::timeout_at(deadline, unit.of(&mut session.session, &mut work)).await;
            match done {
                Ok(Ok(done)) => {
                    session.whole = true;
                    return Ok(done);
                }
                Ok(Err(error)) => {
                    let Fault { repeatable, broken } = Fault::of(&error);
                    session.whole = !broken;
                    met_a_broken_one |= broken;
                    if !repeatable || tries == TRIES {
                        return Err(error.into());
                    }
                    tracing::debug!(%error, tries, "Could not finish a unit of work; trying again");
                }
                Err(_elapsed) => return Err(StoreError::Deadline),
            }
        }
    }
}

/// A connection while a unit of work has it. It goes back to its pool only when the work came to an end.
struct Lent {
    session: PoolConnection<Postgres>,
    whole: bool,
}

impl From<PoolConnection<Postgres>> for Lent {
    fn from(session: PoolConnection<Postgres>) -> Self {
        Self { session, whole: false }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.whole {
            self.session.close_on_drop();
        }
    }
}

/// What is begun and ended together.
#[derive(Clone, Copy)]
enum Unit {
    Transaction,
    Statements,
}

impl Unit {
    async fn of<T, Work>(self, session: &mut PgConnection, work: &mut Work) -> Result<T, sqlx::Error>
    where
        Work: for<'s> FnMut(&'s mut PgConnection) -> BoxFuture<'s, Result<T, sqlx::Error>> + Send,
        T: Send,
    {
        match self {
            Self::Statements => work(session).await,
            Self::Transaction => {
                let mut transaction = session.begin().await?;
                let done = work(&mut transaction).await?;
                transaction.commit().await?;
                Ok(done)
            }
        }
    }
}

/// What to do about a database error.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    /// The same work may succeed at once.
    repeatable: bool,
    /// The connection must not be used again.
    broken: bool,
}

impl Fault {
    /// Source: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(refused) => match refused.code().as_deref() {
                // serialization_failure, deadlock_detected
                Some("40001" | "40P01") => Self { repeatable: true, broken: false },
                // admin_shutdown, crash_shutdown, cannot_connect_now, idle_in_transaction_session_timeout,
                // read_only_sql_transaction (an old primary), connection exceptions
                Some("57P01" | "57P02" | "57P03" | "25P03" | "25006") => Self { repeatable: true, broken: true },
                Some(code) if code.starts_with("08") => Self { repeatable: true, broken: true },
                _ => Self { repeatable: false, broken: false },
            },
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self { repeatable: true, broken: true }
            }
            _ => Self { repeatable: false, broken: false },
        }
    }
}

/// Whether Postgres refused the data itself, as it would again: a data exception or a broken constraint.
pub(super) fn is_about_the_data(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(refused) = error else { return false };
    refused.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

impl StoreError {
    /// See [`is_about_the_data`].
    pub(super) fn is_about_the_data(&self) -> bool {
        matches!(self, Self::Postgres(error) if is_about_the_data(error))
    }
}

/// What a session must say of itself before it is used.
struct Settings(Vec<(&'static str, String)>);

impl From<&SessionOptions> for Settings {
    fn from(options: &SessionOptions) -> Self {
        let millis = |duration: Duration| format!("{}ms", duration.as_millis());
        let mut settings = vec![
            // A role or a database may have it off, and then a crash of Postgres loses what was acknowledged.
            ("synchronous_commit", "on".into()),
            ("statement_timeout", millis(options.statement_timeout)),
            ("lock_timeout", millis(options.lock_timeout)),
            ("idle_in_transaction_session_timeout", millis(options.idle_in_transaction_timeout)),
            ("client_connection_check_interval", "1s".into()),
            ("timezone", "UTC".into()),
        ];
        // A statement over a table that has grown since it was analyzed is compiled for seconds, to save milliseconds.
        settings.push(("jit", "off".to_owned()));
        if options.plans == Plans::Once {
            // A table that was empty when it was last analyzed is read whole, whatever it holds by now, until it is
            // analyzed again; each statement that is planned once has an index to go by.
            settings.extend(["enable_seqscan", "enable_bitmapscan"].map(|name| (name, "off".to_owned())));
            settings.push(("plan_cache_mode", "force_generic_plan".to_owned()));
        }
        Self(settings)
    }
}

impl Settings {
    async fn establish(&self, session: &mut PgConnection) -> Result<(), sqlx::Error> {
        // In one round trip, where this Postgres knows them all: who waits for the session waits for that, too.
        let (names, values): (Vec<&str>, Vec<&str>) =
            self.0.iter().map(|(name, value)| (*name, value.as_str())).unzip();
        let all = sqlx::query(
            "select set_config(name, value, false) from unnest($1::text[], $2::text[]) as told (name, value)",
        );
        match all.bind(names).bind(values).execute(&mut *session).await.map(|_set| ()) {
            Err(sqlx::Error::Database(_)) => self.set_each(session).await?,
            done => done?,
        }
        // set_config answers with what it was told; asking again shows what holds.
        let (synchronous, limited, read_only): (String, bool, bool) = sqlx::query_as(
            "-- Settings::establish
            select current_setting('synchronous_commit'),
                   (select bool_and(setting::bigint > 0) from pg_settings
                    where name in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')),
                   current_setting('transaction_read_only')::boolean",
        )
        .fetch_one(&mut *session)
        .await?;
        if synchronous != "on" || !limited {
            return Err(sqlx::Error::Protocol(
                "the session does not keep synchronous_commit and its time limits; is a transaction pooler between?"
                    .into(),
            ));
        }
        if read_only {
            return Err(sqlx::Error::Protocol("the server is read-only: a standby, or an old primary".into()));
        }
        Ok(())
    }

    async fn set_each(&self, session: &mut PgConnection) -> Result<(), sqlx::Error> {
        for (name, value) in &self.0 {
            // Not every system lets a session watch its client's socket; nothing that was promised depends on it.
            let optional = name.starts_with("enable_")
                || ["client_connection_check_interval", "jit", "plan_cache_mode"].contains(name);
            let set = sqlx::query("select set_config($1, $2, false)").bind(*name).bind(value).execute(&mut *session);
            match set.await.map(|_set| ()) {
                Err(sqlx::Error::Database(_)) if optional => {}
                done => done?,
            }
        }
        Ok(())
    }
}

/// Reads a database URL.
///
/// # Errors
/// Where it cannot be read. The text says what is wrong, and never the URL: it holds a password.
pub fn connect_options(url: &str) -> Result<PgConnectOptions, &'static str> {
    let options: PgConnectOptions = url.parse().map_err(|_| "is not a postgres:// URL")?;
    Ok(options.disable_statement_logging())
}
