//! What an operator decides: defaults, then the configuration file, then the environment, all of it checked at start.
//!
//! Invariant: who holds a [`Config`] holds one that makes sense. Nothing behind it asks again whether a lease is
//! longer than a request, or whether a host may be spoken to in the clear.

mod accounts;
mod callers;
mod database;
mod delivery;
mod intake;
mod log;
mod retention;
mod server;

pub use accounts::{Account, Credentials};
pub use callers::{Caller, Scope, Scopes};
pub use database::Database;
pub use delivery::Delivery;
pub use intake::Intake;
pub use log::{Log, LogFormat};
pub use retention::Retention;
pub use server::Server;

/// All that an operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: Server,
    pub database: Database,
    /// At least one, where the role has intake.
    pub callers: Vec<Caller>,
    /// At least one.
    pub accounts: Vec<Account>,
    pub intake: Intake,
    pub delivery: Delivery,
    pub retention: Retention,
    pub log: Log,
}

/// Which half of confirmd a process is. Any number of replicas of any of them share one Postgres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Takes events and delivers them.
    #[default]
    All,
    /// Takes events.
    Intake,
    /// Delivers them.
    Worker,
}

impl Role {
    pub const fn takes_events(self) -> bool {
        matches!(self, Self::All | Self::Intake)
    }

    pub const fn delivers(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }
}
