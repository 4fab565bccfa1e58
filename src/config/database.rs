//! Postgres: where it is, how many connections each kind of work has, and how long anything may take there.

use std::time::Duration;

use secrecy::SecretString;

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
    /// For reads, probes and operators' commands.
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
