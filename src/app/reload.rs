//! What may change while confirmd runs: callers, credentials, limits of accounts, the log's filter. Everything else that
//! changed is named, and stays as it was until a restart.

use std::collections::BTreeSet;

use tokio::signal::unix::Signal;

use super::{accounts, callers};
use crate::config::{Config, ConfigError, Keys, is_live};
use crate::delivery::LaneControl;
use crate::intake::Callers;
use crate::telemetry::{self, Reload};

/// Takes a new configuration over, as far as that can be done.
pub struct Reloader {
    pub(super) keys: Keys,
    pub(super) callers: Callers,
    pub(super) lanes: Vec<LaneControl>,
}

/// What became of each key that changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    pub applied: BTreeSet<String>,
    /// What these say takes hold after a restart.
    pub refused: BTreeSet<String>,
}

impl Reloader {
    /// Takes over what may change, all of it or, where something goes wrong, none.
    ///
    /// # Errors
    /// Where the log's filter cannot be set; nothing has changed then.
    pub async fn reload(&mut self, config: &Config) -> anyhow::Result<Reloaded> {
        let changed = self.keys.differences(&config.keys);
        // Other accounts, or the same in another order: then nothing that is said of them is for the lanes that run.
        let other_accounts = changed.iter().any(|key| key.starts_with("accounts[") && key.ends_with("].account_sid"));
        let stays = |key: &String| !is_live(key) || (other_accounts && key.starts_with("accounts["));
        let (refused, mut applied): (BTreeSet<String>, BTreeSet<String>) = changed.into_iter().partition(stays);
        if applied.contains("log.filter") {
            telemetry::set_log_filter(&config.log.filter).map_err(|error| anyhow::anyhow!("log.filter: {error}"))?;
        }
        self.callers.set(callers(config));
        let names: Vec<_> = config.callers.iter().map(|caller| caller.name.clone()).collect();
        telemetry::count_from_zero([], &names);
        if !other_accounts {
            applied.extend(self.set_accounts(config).await);
        }
        self.keys.take(&applied, &config.keys);
        Ok(Reloaded { applied, refused })
    }

    /// Gives the keys of credentials that changed in a file of their own, whose name is the same.
    async fn set_accounts(&self, config: &Config) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        for (at, (told, account)) in config.accounts.iter().zip(accounts(config)).enumerate() {
            let Some(lane) = self.lanes.iter().find(|lane| *lane.account_sid() == account.account_sid) else {
                continue;
            };
            if !lane.set(account.credentials, told.max_concurrency, told.yield_above) {
                continue;
            }
            changed.insert(format!("accounts[{at}]"));
            if let Err(error) = lane.probe_soon().await {
                tracing::warn!(%error, lane = %told.name, "Could not probe a lane with its new credentials at once; the next probe will");
            }
        }
        changed
    }
}

/// Reloads at each signal, until the process ends.
pub async fn reload_on(mut signal: Signal, mut reloader: Reloader, load: impl Fn() -> Result<Config, ConfigError>) {
    while signal.recv().await.is_some() {
        let reloaded = match load() {
            Ok(config) => reloader.reload(&config).await,
            Err(faults) => Err(faults.into()),
        };
        match reloaded {
            Ok(Reloaded { applied, refused }) if refused.is_empty() => {
                telemetry::reloaded(Reload::Applied);
                tracing::info!(?applied, "Reloaded the configuration");
            }
            Ok(Reloaded { applied, refused }) => {
                telemetry::reloaded(Reload::Partly);
                tracing::info!(?applied, "Reloaded a part of the configuration");
                tracing::warn!(?refused, "These keys need a restart; what they said before stays");
            }
            Err(error) => {
                telemetry::reloaded(Reload::Refused);
                tracing::error!(%error, "Could not reload the configuration; all of the one before stays");
            }
        }
    }
}
