//! What waits for the writers: first in, first out for each caller, and the callers in turn. Whoever floods waits behind
//! itself; the others wait no longer than they would for the commit under way and the next.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::NotTaken;
use crate::domain::CallerName;

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
}

struct Waiting<T> {
    parties: HashMap<Party, VecDeque<T>>,
    /// Those of whom something waits, each once.
    turns: VecDeque<Party>,
    number: usize,
    closed: bool,
}

impl<T> Queue<T> {
    /// `most`: how much may wait.
    pub(super) fn new(most: usize) -> Self {
        let waiting = Waiting { parties: HashMap::new(), turns: VecDeque::new(), number: 0, closed: false };
        Self { waiting: Mutex::new(waiting), changed: Notify::new(), most }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().expect("no holder panics")
    }

    /// All of them or none: half a batch in the queue would take the others' room for nothing. Gives how much waits now.
    ///
    /// # Errors
    /// Where there is no room for all, or nothing is taken any more.
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
        let Waiting { parties, turns, number, .. } = &mut *waiting;
        *number += things.len();
        match parties.get_mut(party) {
            Some(line) if line.is_empty() => {
                turns.push_back(party.clone());
                line.extend(things);
            }
            Some(line) => line.extend(things),
            None => {
                turns.push_back(party.clone());
                parties.insert(party.clone(), things.into());
            }
        }
        let number = *number;
        drop(waiting);
        self.changed.notify_one();
        Ok(number)
    }

    /// Up to so many, one of each party in turn.
    pub(super) fn take(&self, most: usize) -> Vec<T> {
        let mut waiting = self.waiting();
        let Waiting { parties, turns, number, .. } = &mut *waiting;
        let mut taken = Vec::with_capacity(most.min(*number));
        while taken.len() < most
            && let Some(party) = turns.pop_front()
        {
            let Some(line) = parties.get_mut(&party) else { continue };
            // The only one there is need not queue again for each.
            let turn = if turns.is_empty() { most - taken.len() } else { 1 };
            taken.extend(line.drain(..turn.min(line.len())));
            if !line.is_empty() {
                turns.push_back(party);
            }
        }
        *number -= taken.len();
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn party(name: &str) -> Party {
        Party(name.into())
    }

    #[test]
    fn parties_take_turns_and_each_keeps_its_order() {
        let queue = Queue::new(100);
        queue.push(&party("flood"), vec!["f1", "f2", "f3", "f4"]).unwrap();
        queue.push(&party("login"), vec!["l1"]).unwrap();
        queue.push(&party("signup"), vec!["s1", "s2"]).unwrap();
        assert_eq!(queue.take(4), ["f1", "l1", "s1", "f2"]);
        queue.push(&party("login"), vec!["l2"]).unwrap();
        assert_eq!(queue.take(100), ["s2", "f3", "l2", "f4"]);
        assert_eq!(queue.push(&party("flood"), vec!["f5"]), Ok(1));
        assert_eq!(queue.take(100), ["f5"]);
        assert!(queue.take(100).is_empty());
    }

    #[test]
    fn all_come_in_or_none() {
        let queue = Queue::new(3);
        assert_eq!(queue.push(&party("a"), vec![1, 2]), Ok(2));
        assert_eq!(queue.push(&party("b"), vec![3, 4]), Err(NotTaken::QueueFull));
        assert_eq!(queue.push(&party("b"), vec![5]), Ok(3));
        assert_eq!(queue.take(10), [1, 5, 2]);
    }

    #[test]
    fn when_it_is_closed_what_waits_is_still_taken() {
        let queue = Queue::new(3);
        assert!(queue.has_some().now_or_never().is_none());
        queue.push(&party("a"), vec![1]).unwrap();
        queue.close();
        assert_eq!(queue.push(&party("a"), vec![2]), Err(NotTaken::Unavailable));
        assert_eq!(queue.has_some().now_or_never(), Some(true));
        assert_eq!(queue.take(10), [1]);
        assert_eq!(queue.has_some().now_or_never(), Some(false));
    }
}
