//! What waits for the writers: first in, first out for each caller, and the callers in turn. Whoever floods waits behind
//! itself; the others wait no longer than they would for the commit under way and the next.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::NotTaken;
use crate::domain::CallerName;

/// What several parties share is taken in so many parts: a transaction that a flood fills takes long, and whoever is in it
/// waits for its end. Beside a flood of batches of a thousand the others' p99 was 336 ms with whole ones, and 242 so, each
/// measured once.
const SHARED_PARTS: usize = 4;

/// Who hands in. Those with the same name share a turn. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Party(Arc<str>);

impl Party {
    /// Whatever no caller asked for.
    pub(super) fn ourselves() -> Self {
        Self("".into())
    }
}

impl From<&CallerName> for Party {
    fn from(name: &CallerName) -> Self {
        Self(name.as_str().into())
    }
}

/// Things that wait.
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    /// Something came, or nothing will any more.
    changed: Notify,
    most: usize,
    longest_wait: Duration,
}

struct Waiting<T> {
    /// What waits, and since when.
    parties: HashMap<Party, VecDeque<(Instant, T)>>,
    /// Those of whom something waits, each once.
    turns: VecDeque<Party>,
    number: usize,
    /// When something was taken last.
    taken_at: Instant,
    /// How long each took then; nothing where none was left behind, as it says nothing of those to come.
    each: Duration,
    closed: bool,
}

impl<T> Queue<T> {
    /// `most`: how much may wait. `longest_wait`: how long.
    pub(super) fn new(most: usize, longest_wait: Duration) -> Self {
        let waiting = Waiting {
            parties: HashMap::new(),
            turns: VecDeque::new(),
            number: 0,
            taken_at: Instant::now(),
            each: Duration::ZERO,
            closed: false,
        };
        Self { waiting: Mutex::new(waiting), changed: Notify::new(), most, longest_wait }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().expect("no holder panics")
    }

    /// All of them or none: half a batch in the queue would take the others' room for nothing. Gives how much waits now.
    ///
    /// A line in which one would wait for too long takes no more. There is room for more than a slow Postgres writes in time:
    /// with all of it taken, everybody would be answered when he has gone.
    ///
    /// # Errors
    /// Where there is no room for all, the party's line is too slow, or nothing is taken any more.
    pub(super) fn push(&self, party: &Party, things: Vec<T>) -> Result<usize, NotTaken> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(NotTaken::Unavailable);
        }
        if self.most - waiting.number < things.len() {
            return Err(NotTaken::QueueFull);
        }
        if things.is_empty() {
            return Ok(waiting.number);
        }
        let now = Instant::now();
        if self.longest_wait < waiting.wait_of(party) {
            return Err(NotTaken::QueueSlow);
        }
        let Waiting { parties, turns, number, .. } = &mut *waiting;
        let (count, things) = (things.len(), things.into_iter().map(|thing| (now, thing)));
        match parties.get_mut(party) {
            Some(line) if line.is_empty() => {
                turns.push_back(party.clone());
                line.extend(things);
            }
            Some(line) => line.extend(things),
            None => {
                turns.push_back(party.clone());
                parties.insert(party.clone(), things.collect());
            }
        }
        *number += count;
        let number = *number;
        drop(waiting);
        self.changed.notify_one();
        Ok(number)
    }

    /// Up to so many, one of each party in turn; a part of that where there are several parties.
    pub(super) fn take(&self, most: usize) -> Vec<T> {
        let (mut waiting, now) = (self.waiting(), Instant::now());
        let Waiting { parties, turns, number, taken_at, each, .. } = &mut *waiting;
        let most = if 1 < turns.len() { most.div_ceil(SHARED_PARTS) } else { most };
        let mut taken = Vec::with_capacity(most.min(*number));
        let mut first = now;
        while taken.len() < most
            && let Some(party) = turns.pop_front()
        {
            let Some(line) = parties.get_mut(&party) else { continue };
            // The only one there is need not queue again for each.
            let turn = if turns.is_empty() { most - taken.len() } else { 1 };
            first = line.front().map_or(first, |(since, _)| first.min(*since));
            taken.extend(line.drain(..turn.min(line.len())).map(|(_, thing)| thing));
            if !line.is_empty() {
                turns.push_back(party);
            }
        }
        *number -= taken.len();
        *each = match u32::try_from(taken.len()) {
            Ok(taken @ 1..) if 0 < *number => (now - first.max(*taken_at)) / taken,
            _ => Duration::ZERO,
        };
        *taken_at = now;
        taken
    }

    /// Waits until something waits. Gives whether it does; if not, nothing will any more.
    pub(super) async fn has_some(&self) -> bool {
        loop {
            {
                let waiting = self.waiting();
                if 0 < waiting.number || waiting.closed {
                    return 0 < waiting.number;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Takes nothing more. What waits is still there to be taken.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify_one();
    }
}

impl<T> Waiting<T> {
    /// How long the next of this party would wait, as far as one can tell: until its line was written at the pace of the last
    /// commit, with the others taking their turns. One commit that is late says nothing of those to come, if it leaves nothing
    /// behind.
    fn wait_of(&self, party: &Party) -> Duration {
        let line = self.parties.get(party).map_or(0, VecDeque::len);
        let before = self.number.min(line * self.turns.len());
        self.each * u32::try_from(before).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn party(name: &str) -> Party {
        Party(name.into())
    }

    const LONGEST: Duration = Duration::from_secs(5);

    #[test]
    fn parties_take_turns_and_each_keeps_its_order() {
        let queue = Queue::new(100, LONGEST);
        queue.push(&party("flood"), vec!["f1", "f2", "f3", "f4"]).unwrap();
        queue.push(&party("login"), vec!["l1"]).unwrap();
        queue.push(&party("signup"), vec!["s1", "s2"]).unwrap();
        assert_eq!(queue.take(16), ["f1", "l1", "s1", "f2"], "a fourth, as it is shared");
        queue.push(&party("login"), vec!["l2"]).unwrap();
        assert_eq!(queue.take(100), ["s2", "f3", "l2", "f4"]);
        assert_eq!(queue.push(&party("flood"), vec!["f5"]), Ok(1));
        assert_eq!(queue.take(100), ["f5"]);
        assert!(queue.take(100).is_empty());
    }

    #[test]
    fn all_come_in_or_none() {
        let queue = Queue::new(3, LONGEST);
        assert_eq!(queue.push(&party("a"), vec![1, 2]), Ok(2));
        assert_eq!(queue.push(&party("b"), vec![3, 4]), Err(NotTaken::QueueFull));
        assert_eq!(queue.push(&party("b"), vec![5]), Ok(3));
        assert_eq!(queue.take(10), [1, 5, 2]);
    }

    /// As if all that waits had come so much earlier.
    fn later(queue: &Queue<i32>, time: Duration) {
        let mut waiting = queue.waiting();
        waiting.taken_at -= time;
        waiting.parties.values_mut().flatten().for_each(|(since, _)| *since -= time);
    }

    #[test]
    fn nobody_gets_in_line_who_would_wait_for_too_long() {
        let queue = Queue::new(100, LONGEST);
        queue.push(&party("flood"), (0..12).collect()).unwrap();
        later(&queue, LONGEST / 2);
        assert_eq!(queue.take(2), [0, 1]);
        assert_eq!(
            queue.push(&party("flood"), vec![12]),
            Err(NotTaken::QueueSlow),
            "ten wait, and four take {LONGEST:?}"
        );
        assert_eq!(queue.push(&party("login"), vec![13]), Ok(11), "the others have turns of their own");
        assert!(
            queue.waiting().wait_of(&party("login")) < LONGEST * 2 / 3,
            "for one of its own, and one of the flood's"
        );
        assert_eq!(queue.push(&party("login"), vec![14]), Ok(12));
        later(&queue, LONGEST / 4);
        assert_eq!(queue.take(32), [2, 13, 3, 14, 4, 5, 6, 7]);
        assert_eq!(queue.push(&party("flood"), vec![15]), Ok(5), "four wait, and 32 take {LONGEST:?}");
        later(&queue, LONGEST * 2);
        assert_eq!(queue.take(8), [8, 9, 10, 11, 15]);
        assert_eq!(queue.push(&party("flood"), vec![16]), Ok(1), "it took long, but nobody is left");
        assert_eq!(queue.push(&party("flood"), vec![17]), Ok(2), "nor does it say anything of those to come");
    }

    #[test]
    fn when_it_is_closed_what_waits_is_still_taken() {
        let queue = Queue::new(3, LONGEST);
        assert!(queue.has_some().now_or_never().is_none());
        queue.push(&party("a"), vec![1]).unwrap();
        assert_eq!(queue.has_some().now_or_never(), Some(true));
        queue.close();
        assert_eq!(queue.push(&party("a"), vec![2]), Err(NotTaken::Unavailable));
        assert_eq!(queue.has_some().now_or_never(), Some(true));
        assert_eq!(queue.take(10), [1]);
        assert_eq!(queue.has_some().now_or_never(), Some(false));
    }
}
