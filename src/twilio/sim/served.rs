//! What serving a request came to: the answer, how it travels, and whether anything changed.

use std::time::Duration;

use super::reply::Reply;

#[derive(Debug)]
pub(super) struct Served {
    pub(super) reply: Reply,
    pub(super) delivery: Delivery,
    pub(super) applied: bool,
    /// The fault that was played, as its rule is written.
    pub(super) fault: Option<String>,
}

/// How an answer travels to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    Late(Duration),
    /// One byte a pause.
    Drip(Duration),
    Cut,
    /// Whole; then the connection closes without having said so.
    ThenClose,
    Never,
    Reset,
}

impl Served {
    const fn whole(reply: Reply, applied: bool) -> Self {
        Self { reply, delivery: Delivery::Whole, applied, fault: None }
    }

    pub(super) const fn changed(reply: Reply) -> Self {
        Self::whole(reply, true)
    }

    pub(super) const fn unchanged(reply: Reply) -> Self {
        Self::whole(reply, false)
    }

    pub(super) const fn refused(reply: Reply) -> Self {
        Self::whole(reply, false)
    }
}
