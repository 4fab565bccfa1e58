//! The door of a lane: how much the lane can start at once, and the way in for work that is leased to it already.
//!
//! Whoever wants to start work takes room first: the lane itself before it claims, and the writers of the inbox before
//! they write new feedback as leased to this process. So both together never exceed the lane's limit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};

use tokio::sync::{Notify, mpsc};

use super::Lease;
use crate::domain::AccountSid;

/// One lane's door.
#[derive(Debug)]
pub struct Door {
    /// May fall below zero when the limit shrinks under work that has started.
    room: AtomicI64,
    /// Of the room, what is kept for claims: retries and what overflowed must not wait on a stream of fresh work.
    for_claims: AtomicI64,
    open: AtomicBool,
    /// Work was written that was not handed over: it is due, and nobody has it.
    overflowed: AtomicBool,
    /// Wakes the lane for that.
    overflow: Notify,
    handed: mpsc::UnboundedSender<Lease>,
}

impl Door {
    /// A door with this much room, closed until the lane opens it, and the lane's end of it.
    ///
    /// The channel has no bound of its own: who sends into it has taken room before.
    pub fn new(room: u32) -> (Arc<Self>, mpsc::UnboundedReceiver<Lease>) {
        let (handed, received) = mpsc::unbounded_channel();
        let door = Self {
            room: AtomicI64::new(room.into()),
            for_claims: AtomicI64::new(share_of_claims(room)),
            open: AtomicBool::new(false),
            overflowed: AtomicBool::new(false),
            overflow: Notify::new(),
            handed,
        };
        (Arc::new(door), received)
    }

    /// Takes room for up to `wanted`, for a claim; none while the door is closed.
    pub fn take(&self, wanted: u32) -> u32 {
        if self.is_open() { self.take_even_if_closed(wanted) } else { 0 }
    }

    /// Takes room for up to `wanted`, for a probe of a lane that is paused.
    pub fn take_even_if_closed(&self, wanted: u32) -> u32 {
        self.take_down_to(0, wanted)
    }

    /// Takes room for up to `wanted`, for work that is handed over; none while the door is closed.
    fn take_for_hand_off(&self, wanted: u32) -> u32 {
        if self.is_open() { self.take_down_to(self.for_claims.load(SeqCst), wanted) } else { 0 }
    }

    fn take_down_to(&self, kept: i64, wanted: u32) -> u32 {
        let wanted = i64::from(wanted);
        let free = |room: i64| wanted.min((room - kept).max(0));
        let before = self
            .room
            .fetch_update(SeqCst, SeqCst, |room| Some(room - free(room)))
            .expect("the update is never refused");
        u32::try_from(free(before)).expect("not more than was wanted")
    }

    /// How much could be started now.
    pub fn room(&self) -> u32 {
        u32::try_from(self.room.load(SeqCst)).unwrap_or_default()
    }

    pub fn give_back(&self, unused: u32) {
        self.room.fetch_add(unused.into(), SeqCst);
    }

    /// Grows or shrinks the room with the lane's limit, which is `limit` now.
    pub fn resize(&self, by: i64, limit: u32) {
        self.room.fetch_add(by, SeqCst);
        self.for_claims.store(share_of_claims(limit), SeqCst);
    }

    pub fn set_open(&self, open: bool) {
        self.open.store(open, SeqCst);
    }

    pub fn is_open(&self) -> bool {
        self.open.load(SeqCst)
    }

    fn tell_of_overflow(&self) {
        self.overflowed.store(true, SeqCst);
        self.overflow.notify_one();
    }

    /// Whether there may be work that nobody has, since this was asked last.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed.load(SeqCst)
    }

    /// Waits for that.
    pub async fn overflow(&self) {
        self.overflow.notified().await;
    }

    pub fn forget_overflow(&self) -> bool {
        self.overflowed.swap(false, SeqCst)
    }

    fn hand(&self, lease: Lease) {
        if let Err(closed) = self.handed.send(lease) {
            tracing::warn!(message_sid = %closed.0.message_sid, "Could not hand over: the lane has ended; the lease will expire");
        }
    }
}

/// A quarter, but never all of it.
fn share_of_claims(limit: u32) -> i64 {
    i64::from(limit.div_ceil(4).min(limit.saturating_sub(1)))
}

/// The doors of the lanes of this process. Empty where this process does not deliver.
#[derive(Clone, Debug, Default)]
pub struct Doors(Arc<HashMap<AccountSid, Arc<Door>>>);

impl Doors {
    pub fn new(doors: impl IntoIterator<Item = (AccountSid, Arc<Door>)>) -> Self {
        Self(Arc::new(doors.into_iter().collect()))
    }

    /// Takes room at each lane for up to `wanted`.
    pub(super) fn reserve(&self, wanted: u32) -> Reservation {
        let taken = |(account, door): (&AccountSid, &Arc<Door>)| {
            (account.clone(), door.clone(), door.take_for_hand_off(wanted))
        };
        Reservation(self.0.iter().map(taken).collect())
    }
}

/// Room that was taken for work not written yet. What is not handed over goes back on drop.
#[derive(Debug, Default)]
pub(super) struct Reservation(Vec<(AccountSid, Arc<Door>, u32)>);

impl Reservation {
    /// Accounts, and how much room each has, as two columns.
    pub(super) fn columns(&self) -> (Vec<String>, Vec<i32>) {
        let room = |room: u32| i32::try_from(room).unwrap_or(i32::MAX);
        self.0.iter().map(|(account, _, free)| (account.as_str().to_owned(), room(*free))).unzip()
    }

    /// Hands over what the commit wrote as leased. The room goes with it, and comes back when the lane is done. `owed`:
    /// how much the commit made due, by account; a lane that was not handed all of it is told to look for the rest.
    pub(super) fn hand_over(mut self, leases: Vec<Lease>, owed: &BTreeMap<AccountSid, u64>) {
        let mut left = owed.clone();
        for lease in leases {
            let place = self.0.iter_mut().find(|(account, _, room)| *account == lease.account_sid && 0 < *room);
            if let Some((_, door, room)) = place {
                *room -= 1;
                if let Some(left) = left.get_mut(&lease.account_sid) {
                    *left = left.saturating_sub(1);
                }
                door.hand(lease);
            }
        }
        let more = |account: &AccountSid| left.get(account).is_some_and(|left| 0 < *left);
        let overflowed: Vec<Arc<Door>> =
            self.0.iter().filter(|(account, ..)| more(account)).map(|(_, door, _)| door.clone()).collect();
        // Only after the commit, and when the room that was not used is back: whoever looks earlier finds nothing.
        drop(self);
        overflowed.iter().for_each(|door| door.tell_of_overflow());
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        for (_, door, room) in &self.0 {
            door.give_back(*room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_off_leaves_a_quarter_to_claims_and_both_together_stay_below_the_limit() {
        let (door, _lane) = Door::new(8);
        assert_eq!(door.take_for_hand_off(100), 0, "a door is closed until its lane opens it");
        door.set_open(true);
        assert_eq!(door.take_for_hand_off(100), 6);
        assert_eq!(door.take_for_hand_off(1), 0);
        assert_eq!(door.take(100), 2);
        assert_eq!(door.take(1), 0);
        door.give_back(8);
        door.resize(-7, 1);
        assert_eq!(door.take_for_hand_off(100), 1, "one place is not divided");
    }

    #[test]
    fn a_limit_that_shrinks_under_work_that_has_started_leaves_no_room() {
        let (door, _lane) = Door::new(8);
        door.set_open(true);
        assert_eq!(door.take(8), 8);
        door.resize(-4, 4);
        door.give_back(4);
        assert_eq!((door.take(8), door.room()), (0, 0));
        door.give_back(4);
        assert_eq!(door.take(8), 4);
    }

    #[test]
    fn what_is_reserved_and_not_handed_over_comes_back() {
        let account = AccountSid::try_from(format!("AC{:032}", 1)).unwrap();
        let (door, _lane) = Door::new(8);
        door.set_open(true);
        let doors = Doors::new([(account, door.clone())]);
        let reservation = doors.reserve(5);
        assert_eq!(reservation.columns().1, [5]);
        assert_eq!(door.room(), 3);
        drop(reservation);
        assert_eq!(door.room(), 8);
    }

    #[tokio::test]
    async fn a_lane_is_told_of_what_was_due_and_not_handed_over() {
        let account = AccountSid::try_from(format!("AC{:032}", 1)).unwrap();
        let (door, _lane) = Door::new(8);
        door.set_open(true);
        let doors = Doors::new([(account.clone(), door.clone())]);
        doors.reserve(5).hand_over(Vec::new(), &BTreeMap::new());
        assert!(!door.has_overflowed(), "nothing became due");
        doors.reserve(5).hand_over(Vec::new(), &BTreeMap::from([(account, 1)]));
        assert_eq!(door.room(), 8, "the room is back when the lane is told");
        door.overflow().await;
        assert!(door.forget_overflow());
        assert!(!door.has_overflowed(), "it is told once");
    }
}
