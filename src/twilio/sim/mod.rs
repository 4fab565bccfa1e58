//! A Twilio to practise on: Messages and Feedback as api.twilio.com serves them, with a ledger and faults on demand.
//!
//! It behaves as `Message create`, `fetch`, `list`, `update`, `delete` and `Feedback create` of the 2010-04-01 API do,
//! down to headers, error bodies and codes, well enough that Twilio's own SDKs cannot tell. Every request is entered
//! in the [ledger](LedgerEntry). [Faults](FaultRule) hit Feedback requests only, and are settable by flag, by call,
//! and by the control routes below `/_sim`.
//!
//! Not simulated: status callbacks, OAuth bearer tokens, sub-accounts below their parent's credentials, media.
//!
//! ```text
//! server ──▶ exchange ──▶ state ──┬─▶ accounts   who asks, and how many at once
//!    │           │                ├─▶ messages   create, fetch, list, update, delete
//!    ▼           ▼                └─▶ feedback   with the faults that are due
//! control     ledger
//! ```

mod accounts;
mod args;
mod clock;
mod control;
mod create;
mod exchange;
mod fault;
mod fault_grammar;
mod feedback;
mod ledger;
mod message;
mod messages;
mod options;
mod reply;
mod request;
mod segments;
mod served;
mod server;
mod shared;
mod state;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use args::SimulatorArgs;
pub use fault::{Counting, Fault, FaultBody, FaultRule, StatusFault, Turns};
pub use fault_grammar::FaultRuleError;
pub use ledger::{Answer, LedgerEntry};
pub use options::{
    Control, FeedbackStatus, SimulatedAccount, SimulatorOptions, UnknownMessages, WithoutProvideFeedback,
};

use crate::domain::{AccountSid, MessageSid};
use shared::{Seen, Shared};

/// A running simulator. It stops when it is dropped, too.
#[derive(Debug)]
pub struct Simulator {
    addr: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
    stop: DropGuard,
}

impl Simulator {
    pub async fn start(options: SimulatorOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options));
        let stop = CancellationToken::new();
        let server = tokio::spawn(server::serve(listener, Arc::clone(&shared), stop.clone()));
        Ok(Self { addr, shared, server, stop: stop.drop_guard() })
    }

    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What stands in for `https://api.twilio.com`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Every request kept, oldest first.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.shared.state().ledger.entries().cloned().collect()
    }

    /// Each entry from now on, at the moment that its request gets its answer.
    pub fn subscribe(&self) -> broadcast::Receiver<LedgerEntry> {
        self.shared.answers.subscribe()
    }

    /// How many times Feedback with the outcome `confirmed` took effect; `None` for a message that is not known.
    pub fn confirmed(&self, message: &MessageSid) -> Option<u64> {
        self.shared.state().messages.record(message).map(|message| message.confirmed)
    }

    /// Plays a fault from now on, after those that are in play.
    pub fn play(&self, rule: FaultRule) {
        self.shared.state().faults.play(rule);
    }

    pub fn clear_faults(&self) {
        self.shared.state().faults.clear();
    }

    /// From now on only the new token opens the account. False where there is no such account.
    pub fn rotate_token(&self, account: &AccountSid, token: SecretString) -> bool {
        self.shared.state().accounts.rotate(account, token)
    }

    /// The most requests that the account ever had under way at once.
    pub fn most_in_flight(&self, account: &AccountSid) -> u32 {
        self.shared.state().accounts.most_present(account)
    }

    /// Waits until `n` Feedback requests were heard since the start, whatever they get.
    pub async fn requests(&self, n: u64) {
        self.seen(|seen| n <= seen.heard).await;
    }

    /// Waits until `n` Feedback requests since the start got what they get, be it nothing.
    pub async fn answers(&self, n: u64) {
        self.seen(|seen| n <= seen.answered).await;
    }

    async fn seen(&self, enough: impl Fn(&Seen) -> bool) {
        let mut seen = self.shared.seen.subscribe();
        seen.wait_for(enough).await.map(drop).expect("the sender lives as long as the simulator");
    }

    /// Stops at once: whoever still waits for an answer is cut off.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.server.await {
            tracing::error!(%error, "The simulator's server ended badly");
        }
    }
}
