//! What many rows say.

use std::time::Duration;

use crate::harness::comes_true;
use crate::harness::figures::Figures;
use crate::harness::world::World;

/// What callers were told instead of 2xx: 503 at most.
pub(super) fn only_503(world: &World, figures: &mut Figures) {
    let refusals = world.callers.book().refusals();
    let told = format!("statuses other than 2xx, and how often: {refusals:?} (503 only)");
    figures.show(told, refusals.keys().all(|status| *status == 503));
}

pub(super) fn nobody_waited_longer(world: &World, figures: &mut Figures, most: Duration) {
    figures.no_longer_than("longest wait for an answer", world.slowest(), most);
}

/// Waits until so many parts of logins were taken; whether they were.
pub(super) async fn takes(world: &World, more: usize, limit: Duration) -> bool {
    let enough = world.callers.taken() + more;
    comes_true(limit, async || enough <= world.callers.taken()).await
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
