//! How a simulated Twilio behaves where Twilio's documentation leaves a choice, and what it may grow to.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use secrecy::SecretString;

use super::FaultRule;
use crate::domain::AccountSid;

#[derive(Clone, Debug)]
pub struct SimulatorOptions {
    /// Port 0 takes a free one; see [`super::Simulator::addr`].
    pub listen: SocketAddr,
    pub accounts: Vec<SimulatedAccount>,
    pub unknown_messages: UnknownMessages,
    pub without_provide_feedback: WithoutProvideFeedback,
    pub feedback_status: FeedbackStatus,
    /// Requests of one account served at once; one more is answered 429 with code 20429.
    pub concurrency_limit: Option<u32>,
    /// Waited before every answer, after the request took effect.
    pub latency: Duration,
    /// Played from the start, in this order.
    pub faults: Vec<FaultRule>,
    pub control: Control,
    /// Ledger entries kept; the oldest goes first.
    pub longest_ledger: usize,
    /// Messages kept; the oldest goes first.
    pub most_messages: usize,
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            accounts: Vec::new(),
            unknown_messages: UnknownMessages::default(),
            without_provide_feedback: WithoutProvideFeedback::default(),
            feedback_status: FeedbackStatus::default(),
            concurrency_limit: None,
            latency: Duration::ZERO,
            faults: Vec::new(),
            control: Control::default(),
            longest_ledger: 10_000,
            most_messages: 200_000,
        }
    }
}

/// An account that the simulator serves, and what opens it.
#[derive(Clone, Debug)]
pub struct SimulatedAccount {
    pub account_sid: AccountSid,
    pub auth_token: SecretString,
    /// `SK…` and its secret.
    pub api_keys: Vec<(String, SecretString)>,
}

/// What Feedback for a message that was never created here gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownMessages {
    /// 404 with code 20404, as Twilio does.
    #[default]
    Refuse,
    /// The message is known from then on, as if it had been sent with `ProvideFeedback=true`.
    Accept,
}

/// What Feedback for a message sent without `ProvideFeedback=true` gets. No public source says what Twilio does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum WithoutProvideFeedback {
    /// An answer like any other, and no effect.
    #[default]
    #[value(name = "ignore")]
    AcceptAndIgnore,
    /// 404 with code 20404.
    NotFound,
    /// 400 with code 20422.
    BadRequest,
}

/// The status of a created Feedback. Twilio's specification said 201 until July 2025 and says 200 since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum FeedbackStatus {
    #[default]
    #[value(name = "200")]
    Ok,
    #[value(name = "201")]
    Created,
}

impl FeedbackStatus {
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Created => 201,
        }
    }
}

/// Who may use the control routes below `/_sim`. They ask for no credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Control {
    #[default]
    Loopback,
    Anyone,
}
