//! The door of a lane: how much the lane can start at once, and the way in for work that is leased to it already.
//!
//! Whoever wants to start work takes room first: the lane itself before it claims, and the writers of the inbox before
//! they write new feedback as leased to this process. So both together never exceed the lane's limit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};

use tokio::sync::mpsc;

use super::Lease;
use crate::domain::AccountSid;

/// One lane's door.
#[derive(Debug)]
pub struct Door {
    /// May fall below zero when the limit shrinks under work that has started.
    room: AtomicI64,
    open: AtomicBool,
    handed: mpsc::UnboundedSender<Lease>,
}

impl Door {
    /// A door with this much room, closed until the lane opens it, and the lane's end of it.
    ///
    /// The channel has no bound of its own: who sends into it has taken room before.
    pub fn new(room: u32) -> (Arc<Self>, mpsc::UnboundedReceiver<Lease>) {
        let (handed, received) = mpsc::unbounded_channel();
        (Arc::new(Self { room: AtomicI64::new(room.into()), open: AtomicBool::new(false), handed }), received)
    }

    /// Takes room for up to `wanted`; none while the door is closed.
    pub fn take(&self, wanted: u32) -> u32 {
        if self.open.load(SeqCst) { self.take_even_if_closed(wanted) } else { 0 }
    }

    /// Takes room for up to `wanted`, for a probe of a lane that is paused.
    pub fn take_even_if_closed(&self, wanted: u32) -> u32 {
        let wanted = i64::from(wanted);
        let before = self
            .room
            .fetch_update(SeqCst, SeqCst, |room| Some(room - wanted.min(room.max(0))))
            .expect("the update is never refused");
        u32::try_from(wanted.min(before.max(0))).expect("not more than was wanted")
    }

    /// How much could be started now.
    pub fn room(&self) -> u32 {
        u32::try_from(self.room.load(SeqCst)).unwrap_or_default()
    }

    pub fn give_back(&self, unused: u32) {
        self.room.fetch_add(unused.into(), SeqCst);
    }

    /// Grows or shrinks the room with the lane's limit.
    pub fn resize(&self, by: i64) {
        self.room.fetch_add(by, SeqCst);
    }

    pub fn set_open(&self, open: bool) {
        self.open.store(open, SeqCst);
    }

    pub fn is_open(&self) -> bool {
        self.open.load(SeqCst)
    }

    fn hand(&self, lease: Lease) {
        if let Err(closed) = self.handed.send(lease) {
            tracing::warn!(message_sid = %closed.0.message_sid, "Could not hand over: the lane has ended; the lease will expire");
        }
    }
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
        let taken = |(account, door): (&AccountSid, &Arc<Door>)| match door.take(wanted) {
            0 => None,
            room => Some((account.clone(), door.clone(), room)),
        };
        Reservation(self.0.iter().filter_map(taken).collect())
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

    /// Hands over what the commit wrote as leased. The room goes with it, and comes back when the lane is done.
    pub(super) fn hand_over(mut self, leases: Vec<Lease>) {
        for lease in leases {
            let place = self.0.iter_mut().find(|(account, _, room)| *account == lease.account_sid && 0 < *room);
            if let Some((_, door, room)) = place {
                *room -= 1;
                door.hand(lease);
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        for (_, door, room) in &self.0 {
            door.give_back(*room);
        }
    }
}
