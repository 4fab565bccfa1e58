//! What an operator decides: defaults, then the configuration file, then the environment, all of it checked at start.
//!
//! Invariant: who holds a [`Config`] holds one that makes sense. Nothing behind it asks again whether a lease is
//! longer than a request, or whether a host may be spoken to in the clear.

mod accounts;
mod callers;
mod changes;
mod credentials;
mod database;
mod delivery;
mod environment;
mod fault;
mod host;
mod intake;
mod layers;
mod log;
mod retention;
mod rules;
mod secret;
mod server;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wrong;

use std::{fs, path::Path};

use secrecy::ExposeSecret as _;

pub use accounts::Account;
pub use callers::{Caller, Scopes};
pub use changes::{Keys, is_live};
pub use credentials::Credentials;
pub use database::Database;
pub use delivery::Delivery;
pub use environment::Environment;
pub use fault::{ConfigError, Fault};
pub use intake::Intake;
pub use layers::FileText;
pub use log::{Log, LogFormat};
pub use retention::Retention;
pub use server::Server;

use self::{fault::Findings, table::Table};

/// All that an operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: Server,
    pub database: Database,
    /// At least one, where the role takes events.
    pub callers: Vec<Caller>,
    /// At least one, but for an operator's command.
    pub accounts: Vec<Account>,
    pub intake: Intake,
    pub delivery: Delivery,
    pub retention: Retention,
    pub log: Log,
    /// What each key says, to be compared.
    pub keys: Keys,
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
    /// Neither: a command that looks at the database, and needs no callers and no accounts.
    #[value(skip)]
    Operator,
}

impl Role {
    pub const fn takes_events(self) -> bool {
        matches!(self, Self::All | Self::Intake)
    }

    pub const fn delivers(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }
}

impl Config {
    /// Reads the file, if there is one, between the defaults and the environment.
    pub fn load(path: Option<&Path>, environment: &Environment, role: Role) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Self::from_layers(None, environment, role) };
        let name = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError::one(name.as_str(), format!("cannot be read: {error}")))?;
        Self::from_layers(Some((&name, &text)), environment, role)
    }

    /// The same with a text for a file.
    pub fn from_layers(file: Option<FileText<'_>>, environment: &Environment, role: Role) -> Result<Self, ConfigError> {
        let findings = Findings::default();
        let config = Self::read(file, environment, role, &findings)?;
        findings.into_result(config)
    }

    /// Reads everything, whatever is found on the way. Worth nothing if anything was.
    fn read(
        file: Option<FileText<'_>>,
        environment: &Environment,
        role: Role,
        findings: &Findings,
    ) -> Result<Self, ConfigError> {
        let tree = layers::tree(file, environment, findings)?;
        let root = Table::root(&tree, findings);
        let allow_insecure_twilio = root.flag("allow_insecure_twilio");
        let delivery = Delivery::read(&root.table("delivery"), allow_insecure_twilio);
        let mut config = Self {
            server: Server::read(&root.table("server")),
            database: Database::read(&root.table("database")),
            callers: Caller::read_all(&root, role),
            accounts: Account::read_all(&root, &delivery.base_url, role),
            intake: Intake::read(&root.table("intake")),
            delivery,
            retention: Retention::read(&root.table("retention")),
            log: Log::read(&root.table("log")),
            keys: Keys::of(&tree),
        };
        config.keys.set("database.url", config.database.url.expose_secret());
        rules::check(&config, findings);
        Ok(config)
    }
}
