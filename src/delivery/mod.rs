//! Room 3: what we owe Twilio.
//!
//! A [`Lane`] claims what is due for one account, and starts what its door was handed; each attempt is one request, is
//! judged by the one table in [`judge`], and settled in batches by the [`Settler`]. Deciding is done in pure functions:
//! [`judge`], [`Backoff`], [`Limit`], [`Breaker`].

mod attempt;
mod backoff;
mod breaker;
mod governor;
mod judge;
mod lane;
mod limit;
mod look;
mod queue;
mod settler;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use backoff::Backoff;
pub use breaker::Breaker;
pub use judge::{Policy, Row, TABLE, classify, judge};
pub use lane::{Lane, LaneControl, LaneOptions, Step};
pub use limit::{Limit, Load};
pub use settler::Settler;

use crate::domain::LaneName;
use crate::store::{Doors, Outbox};
use crate::twilio::{Account, Twilio};

/// All lanes of this process.
pub struct Delivery {
    pub lanes: Vec<Lane>,
    pub doors: Doors,
    settler: Settler,
}

/// One account, as delivery sees it.
#[derive(Clone, Debug)]
pub struct LaneConfig {
    pub name: LaneName,
    pub account: Account,
    /// Most requests in flight.
    pub max_concurrency: u32,
    /// More of the account's requests in flight than this make feedback yield.
    pub yield_above: u32,
    /// Everything is done but the request.
    pub shadow: bool,
}

impl Delivery {
    /// Sets the lanes up; nothing is sent before they [run](Delivery::run) or are stepped.
    pub fn new(outbox: Outbox, twilio: Twilio, lanes: Vec<LaneConfig>, options: &LaneOptions) -> Self {
        let settler = Settler::start(outbox.clone());
        let lanes: Vec<Lane> = lanes
            .into_iter()
            .map(|lane| Lane::new(outbox.clone(), twilio.clone(), settler.clone(), lane, options.clone()))
            .collect();
        let doors = Doors::new(lanes.iter().map(|lane| (lane.account_sid().clone(), lane.door().clone())));
        Self { lanes, doors, settler }
    }

    /// Delivers until told to stop; then finishes what is in flight, within `grace`, and settles it. `died` is told of a
    /// part that ended by itself, while the others go on.
    pub async fn run(self, stop: CancellationToken, grace: Duration, died: impl Fn(&'static str)) {
        let mut lanes = JoinSet::new();
        for lane in self.lanes {
            let stop = stop.clone();
            lanes.spawn(lane.run(stop, grace));
        }
        let mut settles = true;
        loop {
            tokio::select! {
                ended = lanes.join_next() => match ended {
                    None => break,
                    Some(Ok(())) => {}
                    Some(Err(panic)) => {
                        tracing::error!(%panic, "A lane has ended by itself; its leases will expire");
                        died("a lane ended");
                    }
                },
                () = self.settler.ended(), if settles => {
                    settles = false;
                    died("the settler ended");
                }
            }
        }
        let deadline = Instant::now() + grace.max(Duration::from_secs(1));
        if tokio::time::timeout_at(deadline, self.settler.finish()).await.is_err() {
            tracing::error!("Could not settle everything before the end; what is left will be sent again");
        }
    }
}
