//! What keys demand of each other. Each rule blames its first key, and is silent where one of its keys is faulty itself.

use std::time::Duration;

use super::{Config, fault::Findings};

/// For settling, after two requests.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

pub(super) fn check(config: &Config, findings: &Findings) {
    let Config { server, database, intake, delivery, retention, .. } = config;

    findings.rule(
        &["server.drain_delay", "server.drain_deadline"],
        server.drain_delay < server.drain_deadline,
        "must be shorter than server.drain_deadline, or nothing in flight could end",
    );
    findings.rule(
        &["server.body_timeout", "server.request_timeout"],
        server.body_timeout <= server.request_timeout,
        "must be at most server.request_timeout",
    );
    findings.rule(
        &["server.operations_listen", "server.listen"],
        server.operations_listen.is_none_or(|operations| {
            let same = operations.ip() == server.listen.ip();
            let all = operations.ip().is_unspecified() || server.listen.ip().is_unspecified();
            // Port 0 is a different one each time.
            operations.port() == 0 || operations.port() != server.listen.port() || !(same || all)
        }),
        "must not be where server.listen is",
    );
    findings.rule(
        &["server.request_timeout", "database.acquire_timeout", "database.statement_timeout"],
        database.acquire_timeout + database.statement_timeout < server.request_timeout,
        "must be longer than database.acquire_timeout and database.statement_timeout together, or an answer would be \
         given up that is on its way",
    );
    findings.rule(
        &["database.lock_timeout", "database.statement_timeout"],
        database.lock_timeout <= database.statement_timeout,
        "must be at most database.statement_timeout",
    );
    findings.rule(
        &["database.intake_connections", "intake.writers"],
        intake.writers <= database.intake_connections,
        "must be at least intake.writers: each writer holds a connection",
    );
    findings.rule(
        &["intake.max_waiting", "intake.batch"],
        intake.batch <= intake.max_waiting,
        "must be at least intake.batch",
    );
    findings.rule(
        &["delivery.lease", "delivery.request_timeout"],
        delivery.request_timeout * 2 + LEASE_MARGIN < delivery.lease,
        "must be longer than twice delivery.request_timeout and 1s, or two workers could hold one feedback",
    );
    findings.rule(
        &["delivery.connect_timeout", "delivery.request_timeout"],
        delivery.connect_timeout <= delivery.request_timeout,
        "must be at most delivery.request_timeout: connecting is a part of it",
    );
    findings.rule(
        &["delivery.poll_interval", "delivery.lease"],
        delivery.poll_interval < delivery.lease,
        "must be shorter than delivery.lease",
    );
    findings.rule(
        &["delivery.backoff_first", "delivery.backoff_longest"],
        delivery.backoff_first <= delivery.backoff_longest,
        "must be at most delivery.backoff_longest",
    );
    findings.rule(
        &["delivery.give_up_after", "delivery.backoff_longest"],
        delivery.backoff_longest < delivery.give_up_after,
        "must be longer than delivery.backoff_longest",
    );
    for (longer, path) in [(intake.park_limit, "intake.park_limit"), (delivery.give_up_after, "delivery.give_up_after")]
    {
        findings.rule(
            &["retention.history", path],
            longer <= retention.history,
            format!("must be at least {path}, or an event would be forgotten before it is settled"),
        );
    }
}
