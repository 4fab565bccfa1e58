//! What rows are made of: a Postgres, a Twilio, the wires to both, replicas of confirmd, callers, and the checker.

pub(crate) mod callers; // who tell of logins, and keep every answer
pub(crate) mod checker; // compares the three ledgers
pub(crate) mod cluster; // a Postgres of its own
pub(crate) mod database; // the database's ledger
pub(crate) mod figures; // what a row shows, beside what it has to show
pub(crate) mod http; // one request, and what became of it
pub(crate) mod load; // callers at work
pub(crate) mod machine; // what Linux knows of a process, and allows it
pub(crate) mod outside; // the process that is Twilio and the wires
pub(crate) mod ports; // ports that stay the same
pub(crate) mod replica; // the real binary
pub(crate) mod resolver; // who says where a host is
pub(crate) mod run; // what all rows of a run share
pub(crate) mod sampler; // audits while things happen
pub(crate) mod witness; // Twilio's ledger
pub(crate) mod world; // all of it, once

use std::time::{Duration, Instant};

/// Asks again and again until the answer is yes; says what was waited for, if that takes too long.
pub(crate) async fn within<F: Future<Output = bool>>(limit: Duration, what: &str, mut ask: impl FnMut() -> F) {
    assert!(comes_true(limit, &mut ask).await, "waited {limit:?} in vain until {what}");
}

/// Whether the answer becomes yes in time.
pub(crate) async fn comes_true<F: Future<Output = bool>>(limit: Duration, mut ask: impl FnMut() -> F) -> bool {
    let begun = Instant::now();
    loop {
        if ask().await {
            return true;
        }
        if limit < begun.elapsed() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
