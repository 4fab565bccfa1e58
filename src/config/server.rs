//! The listeners, what a connection may cost, and how long stopping takes.

use std::{net::SocketAddr, time::Duration};

use super::table::Table;

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// Where callers are listened to.
    pub listen: SocketAddr,
    /// Where probes and metrics are listened to, if not there.
    pub operations_listen: Option<SocketAddr>,
    /// Between failing `/readyz` and refusing connections, so that load balancers have time to see it.
    pub drain_delay: Duration,
    /// From SIGTERM to the end of the process, whatever is in flight. Longer than `drain_delay`.
    pub drain_deadline: Duration,
    /// Connections open at once.
    pub max_connections: u32,
    /// Connections of one peer open at once.
    pub max_connections_per_peer: u32,
    /// How long a client may take to send a request's head, and be idle between two.
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body. At most `request_timeout`.
    pub body_timeout: Duration,
    /// How long a request may take in all, once its head is read.
    pub request_timeout: Duration,
}

impl Server {
    pub(super) fn read(table: &Table<'_>) -> Self {
        const PATIENCE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(5);
        Self {
            listen: address(table, "listen").unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
            operations_listen: address(table, "operations_listen"),
            drain_delay: table.duration("drain_delay", Duration::ZERO..=Duration::from_mins(5)),
            drain_deadline: table.duration("drain_deadline", Duration::from_secs(1)..=Duration::from_mins(10)),
            max_connections: table.number("max_connections", 1..=100_000),
            max_connections_per_peer: table.number("max_connections_per_peer", 1..=100_000),
            header_timeout: table.duration("header_timeout", PATIENCE),
            body_timeout: table.duration("body_timeout", PATIENCE),
            request_timeout: table.duration("request_timeout", PATIENCE),
        }
    }
}

fn address(table: &Table<'_>, key: &'static str) -> Option<SocketAddr> {
    let address = table.text(key)?.text.parse();
    address.map_err(|_| table.fault(key, "must be an IP address and a port, such as 127.0.0.1:8080")).ok()
}
