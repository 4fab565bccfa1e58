//! A lane looks for work: how it stands for all replicas, and what is due.

use std::sync::Arc;

use super::attempt::Sender;
use crate::store::{Claimed, LaneState, Lease, StoreError, Wanted};
use crate::telemetry;

/// How far a look reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All that is due, also what a lost worker had.
    All,
    /// On from where the last claim ended: what a backlog holds next.
    Onward,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) leases: Vec<Lease>,
    /// The lane may not send, but for one of these; or, if there is none, one of those it owns already.
    pub(super) probe: bool,
    /// There may be more due than there was room for.
    pub(super) more: bool,
}

impl Sender {
    /// Claims what there is room for, if the lane may send; or a probe, if one is due.
    ///
    /// # Errors
    /// Where Postgres does not answer; no room is kept then.
    pub(super) async fn look(self: Arc<Self>, reach: Reach) -> Result<Look, StoreError> {
        let Self { outbox, governor, door, policy, account, .. } = &*self;
        match outbox.lane(&account.account_sid).await? {
            LaneState::Running => governor.set_paused(false),
            LaneState::PausedByOperator => {
                governor.set_paused(true);
                return Ok(Look::default());
            }
            LaneState::PausedByFault => {
                governor.set_paused(true);
                if !outbox.take_probe(&account.account_sid, policy.probe_every).await? {
                    return Ok(Look::default());
                }
                return self.claim(door.take_even_if_closed(1), Claim::PausedProbe).await;
            }
        }
        if governor.breaker_is_closed() {
            return self.claim(door.take(u32::MAX), Claim::Work(reach)).await;
        }
        if !governor.take_breaker_probe() {
            return Ok(Look::default());
        }
        let found = self.claim(door.take_even_if_closed(1), Claim::BreakerProbe).await;
        if !matches!(&found, Ok(look) if !look.leases.is_empty()) {
            governor.breaker_probe_not_sent();
        }
        // Without one there is no probe: what the lane owned was given back when the breaker opened.
        found.map(|look| if look.leases.is_empty() { Look::default() } else { look })
    }

    /// Claims for room that was taken, and gives back what stays empty.
    async fn claim(&self, room: u32, what: Claim) -> Result<Look, StoreError> {
        let Self { outbox, door, name, account, .. } = self;
        let probe = !matches!(what, Claim::Work(_));
        if room == 0 {
            return Ok(Look { more: true, probe, ..Look::default() });
        }
        let (account, wanted) = (&account.account_sid, Wanted::up_to(room));
        let claim = match what {
            Claim::Work(Reach::All) | Claim::BreakerProbe => outbox.claim(account, wanted).await,
            Claim::Work(Reach::Onward) => {
                let from = *self.reached.lock().expect("no holder panics");
                outbox.claim_onward(account, wanted, from).await
            }
            Claim::PausedProbe => outbox.claim_probe(account).await,
        };
        let found = claim.as_ref().map_or(0, |claimed| u32::try_from(claimed.leases.len()).unwrap_or(u32::MAX));
        door.give_back(room.saturating_sub(found));
        let Claimed { leases, poisoned, reached } = claim?;
        if reached.is_some() {
            *self.reached.lock().expect("no holder panics") = reached;
        }
        telemetry::claimed(name, leases.len(), poisoned);
        if 0 < poisoned {
            tracing::error!(lane = %name, poisoned, "Gave feedback up whose worker was lost again and again");
        }
        Ok(Look { leases, probe, more: found == room })
    }

    /// Gives back all that waits: somebody else may send it, or this lane when it may again.
    pub(super) async fn give_all_back(&self) {
        let waiting = self.queue.take();
        if waiting.is_empty() {
            return;
        }
        let room = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        if let Err(error) = self.outbox.give_back(waiting).await {
            tracing::warn!(%error, "Could not give leases back; they will expire");
        }
        self.door.give_back(room);
    }
}

/// What is claimed.
enum Claim {
    Work(Reach),
    BreakerProbe,
    PausedProbe,
}
