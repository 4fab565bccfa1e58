//! The listeners, what a connection may cost, and how long stopping takes.

use std::{net::SocketAddr, time::Duration};

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
    /// How long a client may take to send a request's head, and be idle between two.
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body. At most `request_timeout`.
    pub body_timeout: Duration,
    /// How long a request may take in all, once its head is read.
    pub request_timeout: Duration,
}
