//! Logins that never cease: each told to whichever replica is there, and told again elsewhere where a connection broke.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::caller::{Caller, action_of, completed, event_of};
use super::outside::eventually;
use super::world::{account, sid};

pub(crate) struct Traffic {
    tellers: JoinSet<()>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Who may be told, each with the token that is used there now.
    replicas: Mutex<Vec<Caller>>,
    turn: AtomicUsize,
    next: AtomicU32,
    stopping: AtomicBool,
    told: Mutex<Told>,
}

/// What callers were answered.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Numbers of the messages and events that were taken.
    pub(crate) taken: BTreeSet<u32>,
    /// What was answered instead of a 2xx.
    pub(crate) failed: Vec<u16>,
    /// Connections that were refused or broke; what was told on them was told again.
    pub(crate) repeated: u32,
}

impl Traffic {
    pub(crate) fn begin(replicas: Vec<Caller>, tellers: u32) -> Self {
        let shared = Arc::new(Shared { replicas: Mutex::new(replicas), next: AtomicU32::new(1), ..Shared::default() });
        let tellers = (0..tellers).map(|_| shared.clone().tell()).collect();
        Self { tellers, shared }
    }

    /// From now on these are told. What has been begun with the others is finished with them.
    pub(crate) fn turn_to(&self, replicas: Vec<Caller>) {
        *self.shared.replicas.lock().unwrap() = replicas;
    }

    /// Waits until so many more are taken.
    pub(crate) async fn goes_on(&self, logins: usize) {
        let taken = || self.shared.told.lock().unwrap().taken.len();
        let before = taken();
        let enough = || async { (before + logins <= taken()).then_some(()) };
        eventually("enough logins are taken", enough).await;
    }

    /// Each login that was begun is told to its end.
    pub(crate) async fn end(self) -> Told {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.tellers.join_all().await;
        std::mem::take(&mut *self.shared.told.lock().unwrap())
    }
}

impl Shared {
    async fn tell(self: Arc<Self>) {
        while !self.stopping.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let (action, event_id) = (action_of(number), event_of(number));
            let mapping = json!({"action_id": action, "message_sid": sid(number), "account_sid": account(1)});
            self.insist("/v1/messages", &mapping).await;
            self.insist("/v1/events", &completed(&event_id, &action)).await;
            self.told.lock().unwrap().taken.insert(number);
        }
    }

    /// As the README asks of callers: on a broken connection or a 503, the same again.
    async fn insist(&self, path: &str, body: &Value) {
        loop {
            let turn = self.turn.fetch_add(1, Ordering::SeqCst);
            let caller = {
                let replicas = self.replicas.lock().unwrap();
                replicas[turn % replicas.len()].clone()
            };
            let answer = caller.post(path, body).await;
            let mut told = self.told.lock().unwrap();
            match answer {
                Ok(answer) if answer.is_taken() => return,
                Ok(answer) => told.failed.push(answer.status),
                Err(_broken) => told.repeated += 1,
            }
        }
    }
}
