//! What many rows say.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::comes_true;
use crate::harness::figures::Figures;
use crate::harness::witness::Heard;
use crate::harness::world::{LEASE_MS, World};

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

/// Feedback that was given up.
pub(super) async fn given_up(world: &World) -> usize {
    usize::try_from(world.cluster.number("select count(*) from dead_letter").await).unwrap()
}

/// Of times, not in order; none where there are none.
pub(super) fn quantile(times: &[Duration], of: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = (times.len() as f64 * of) as usize;
    times.get(at.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A time in which a replica was stopped, in milliseconds since 1970.
pub(super) struct Stopped {
    pub(super) replica: usize,
    pub(super) from: u64,
    pub(super) to: u64,
    /// Messages whose feedback was leased when it had just been stopped.
    pub(super) leased: Vec<String>,
}

impl Stopped {
    /// Whether this answer, by then, was one that the replica could not note before the next had to ask.
    fn kept_from(&self, heard: &Heard, at: u64) -> bool {
        // What it was about to send when it was stopped goes out when it goes on.
        const MARGIN: u64 = 200;
        let meanwhile = (self.from..self.to + MARGIN).contains(&at);
        // A busy machine takes a while to read an answer and to note it: until then the feedback is leased.
        let not_noted = (self.from.saturating_sub(u64::from(LEASE_MS))..self.from).contains(&at)
            && heard.message_sid.as_ref().is_some_and(|sid| self.leased.contains(sid));
        self.replica.to_string() == heard.by && (meanwhile || not_noted)
    }
}

/// Messages that Twilio confirmed more than once to replicas that ran: the second had no reason to ask.
pub(super) fn confirmed_twice(requests: &[Heard], stops: &[Stopped]) -> usize {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for heard in requests.iter().filter(|heard| heard.is_confirmed()) {
        let at = heard.said.map_or(0, |said| said.at);
        if !stops.iter().any(|stop| stop.kept_from(heard, at)) {
            *times.entry(heard.message_sid.as_deref().unwrap_or_default()).or_default() += 1;
        }
    }
    times.values().filter(|times| 1 < **times).count()
}

#[expect(clippy::disallowed_methods, reason = "by the clock of Twilio's ledger")]
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_millis()).expect("it is before the year 500000000")
}
