//! Postgres: where it is, how many connections each kind of work has, and how long anything may take there.

use std::{str::FromStr, time::Duration};

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{host::is_loopback, table::Table};

/// `[database]`
#[derive(Clone, Debug)]
pub struct Database {
    /// `postgres://…`, parsable, and verified TLS unless local or `allow_insecure`.
    pub url: SecretString,
    /// Whether a connection without verified TLS may leave this machine.
    pub allow_insecure: bool,
    /// For taking events. At least as many as there are writers.
    pub intake_connections: u32,
    /// For claiming and settling.
    pub delivery_connections: u32,
    /// For reads, probes, operators' commands and housekeeping.
    pub read_connections: u32,
    /// How long to wait for a free connection.
    pub acquire_timeout: Duration,
    /// Postgres ends a statement that takes longer.
    pub statement_timeout: Duration,
    /// Postgres ends a statement that waits longer for a lock. At most `statement_timeout`.
    pub lock_timeout: Duration,
    /// Postgres closes a session that idles longer in a transaction.
    pub idle_in_transaction_timeout: Duration,
}

/// Parameters that sqlx knows, but for `options[…]`. It logs others with their values, and one may be a misspelt
/// password, so they never get there.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

impl Database {
    pub(super) fn read(table: &Table<'_>) -> Self {
        const TIME: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(5);
        let allow_insecure = table.flag("allow_insecure");
        Self {
            url: url(table, allow_insecure),
            allow_insecure,
            intake_connections: table.number("intake_connections", 1..=1_000),
            delivery_connections: table.number("delivery_connections", 2..=1_000),
            read_connections: table.number("read_connections", 1..=1_000),
            acquire_timeout: table.duration("acquire_timeout", Duration::from_millis(10)..=Duration::from_mins(1)),
            statement_timeout: table.duration("statement_timeout", TIME),
            lock_timeout: table.duration("lock_timeout", TIME),
            idle_in_transaction_timeout: table.duration("idle_in_transaction_timeout", TIME),
        }
    }
}

fn url(table: &Table<'_>, allow_insecure: bool) -> SecretString {
    let secret = table.secret("url", "url_file");
    table.findings.rule(
        &["database.url", "database.url_file"],
        secret.is_some(),
        "is missing: give it here, in database.url_file or in DATABASE_URL",
    );
    let Some(secret) = secret else { return SecretString::default() };
    let text = secret.value.expose_secret();
    // An empty one is a fault already.
    if let (false, Err(problem)) = (text.is_empty(), check_url(text, allow_insecure)) {
        table.fault(secret.key, problem);
    }
    secret.value
}

/// Reads it as sqlx will when it connects, so that what is checked here is what happens there.
fn check_url(text: &str, allow_insecure: bool) -> Result<(), String> {
    const SHAPE: &str = "must be postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full";
    let url = Url::parse(text).map_err(|_| SHAPE)?;
    if !["postgres", "postgresql"].contains(&url.scheme()) {
        return Err(SHAPE.to_owned());
    }
    let known = |key: &str| PARAMETERS.contains(&key) || key.starts_with("options[");
    if !url.query_pairs().all(|(key, _)| known(&key)) {
        return Err("has a parameter behind the ? that is unknown, or is misspelt".to_owned());
    }
    let options = PgConnectOptions::from_str(text).map_err(|_| SHAPE)?;
    let host = options.get_host();
    let local = options.get_socket().is_some() || host.starts_with('/') || is_loopback(host);
    match options.get_ssl_mode() {
        PgSslMode::VerifyFull => Ok(()),
        _ if local || allow_insecure => Ok(()),
        _ => Err("must have sslmode=verify-full, unless it is this machine or database.allow_insecure = true: any \
                  other mode can be made to send the password to a stranger"
            .to_owned()),
    }
}
