//! Opens every room, and closes them in order. The only file that knows them all.

mod reload;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::reload::{Reloaded, Reloader, reload_on};
use crate::config::{self, Config, Role};
use crate::delivery::{Backoff, Delivery, Lane, LaneConfig, LaneOptions, Policy};
use crate::domain::Scope;
use crate::intake::listener::{self, ListenerOptions};
use crate::intake::{CallerOptions, Callers, IntakeOptions, Readiness, operations_router, router, within_edge};
use crate::operate::housekeeping::{Housekeeper, HousekeepingOptions};
use crate::store::{
    Clock, InboxOptions, OutboxOptions, Plans, SessionOptions, Store, StoreOptions, UpkeepOptions, connect_options,
};
use crate::telemetry;
use crate::twilio::{Account, Credential, Twilio, TwilioOptions};

/// A process of confirmd that is ready to run: everything is bound, and nothing moves yet.
pub struct App {
    config: Config,
    store: Store,
    readiness: Readiness,
    delivery: Option<Delivery>,
    callers: Callers,
    listeners: Vec<(TcpListener, axum::Router)>,
}

impl App {
    /// Sets everything up and binds the addresses.
    ///
    /// # Errors
    /// Where the database cannot be used or an address not be bound; the text says which.
    pub async fn new(config: Config, role: Role, metrics: PrometheusHandle) -> anyhow::Result<Self> {
        let lanes = config.accounts.iter().map(|account| (account.account_sid.clone(), account.name.clone()));
        let names: Vec<_> = config.callers.iter().map(|caller| caller.name.clone()).collect();
        telemetry::count_from_zero(lanes, &names);
        let store = store(&config, Clock::default())?;
        let delivery = if role.delivers() { Some(delivery(&config, &store)?) } else { None };
        let readiness = Readiness::new(store.ledger.clone());
        let operations = operations_router(readiness.clone(), metrics);
        let callers = Callers::from(callers(&config));
        let interface = role.takes_events().then(|| {
            let options = intake_options(&config, callers.clone());
            router(store.inbox.clone(), store.ledger.clone(), store.operator.clone(), options)
        });
        let mut listeners = Vec::new();
        let served = match (interface, config.server.operations_listen) {
            (Some(interface), None) => vec![(config.server.listen, interface.merge(operations))],
            (Some(interface), Some(apart)) => vec![(config.server.listen, interface), (apart, operations)],
            (None, apart) => vec![(apart.unwrap_or(config.server.listen), operations)],
        };
        for (address, router) in served {
            let listener = listener::listen(address).with_context(|| format!("cannot listen on {address}"))?;
            listeners.push((listener, within_edge(router, config.server.request_timeout)));
        }
        Ok(Self { config, store, readiness, delivery, callers, listeners })
    }

    /// Where it listens: first for callers, then, if apart, for probes and metrics.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect()
    }

    /// The store, for who wants to look at it while it runs.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What takes a new configuration over while this one runs.
    pub fn reloader(&self) -> Reloader {
        let lanes = self.delivery.iter().flat_map(|delivery| &delivery.lanes).map(Lane::control).collect();
        Reloader { keys: self.config.keys.clone(), callers: self.callers.clone(), lanes }
    }

    /// Runs until told to stop, then stops in order, within `server.drain_deadline`.
    ///
    /// First `/readyz` says no, for `drain_delay`, so that balancers look elsewhere; then no more is accepted, and what
    /// was accepted is committed; then nothing more is claimed, and what is in flight is finished or its leases ended.
    pub async fn run(self, stop: CancellationToken) {
        let Self { config, store, readiness, delivery, callers: _, listeners } = self;
        let server = &config.server;
        let (stop_listening, stop_delivery) = (CancellationToken::new(), CancellationToken::new());

        let doors = delivery.as_ref().map(|delivery| delivery.doors.clone()).unwrap_or_default();
        let mut writers = store.start_writers(&doors);
        let for_intake = (server.drain_deadline - server.drain_delay) / 2;
        let mut listening = JoinSet::new();
        for (listener, router) in listeners {
            let options = ListenerOptions {
                most_connections: usize::try_from(server.max_connections).unwrap_or(usize::MAX),
                most_per_peer: usize::try_from(server.max_connections_per_peer).unwrap_or(usize::MAX),
                head_deadline: server.header_timeout,
                drain_deadline: for_intake,
                ..ListenerOptions::default()
            };
            listening.spawn(listener::serve(listener, router, options, stop_listening.clone()));
        }
        let lanes = config.accounts.iter().map(|account| (account.account_sid.clone(), account.name.clone()));
        let options = HousekeepingOptions::new(config.delivery.backoff_longest.max(Policy::LONGEST_RETRY_AFTER) * 2);
        let housekeeper = Housekeeper::new(store.clone(), lanes.collect::<HashMap<_, _>>(), options);
        let mut loops = JoinSet::new();
        loops.spawn(housekeeper.run(stop_delivery.clone()));
        let mut delivering = JoinSet::new();
        if let Some(delivery) = delivery {
            let until_the_end = server.drain_deadline - server.drain_delay - for_intake;
            let grace = until_the_end.saturating_sub(Duration::from_secs(1));
            let (stop, readiness) = (stop_delivery.clone(), readiness.clone());
            delivering.spawn(delivery.run(stop, grace, move |what| readiness.fail(what)));
        }

        tokio::select! {
            () = stop.cancelled() => {}
            () = watch("a listener ended", &mut listening, &readiness) => {}
            () = watch("a writer ended", &mut writers, &readiness) => {}
            () = watch("the delivery ended", &mut delivering, &readiness) => {}
            () = watch("the housekeeping ended", &mut loops, &readiness) => {}
        }

        let deadline = Instant::now() + server.drain_deadline;
        tracing::info!("Stopping: no longer ready");
        readiness.drain();
        tokio::time::sleep(server.drain_delay).await;
        stop_listening.cancel();
        finish("listeners", &mut listening, deadline).await;
        store.close_inbox();
        finish("writers", &mut writers, deadline).await;
        stop_delivery.cancel();
        finish("delivery", &mut delivering, deadline).await;
        finish("housekeeping", &mut loops, deadline).await;
        if tokio::time::timeout_at(deadline, store.close()).await.is_err() {
            tracing::warn!("Could not close the connections to Postgres in time");
        }
        tracing::info!("Stopped");
    }
}

/// Says so if one of these ends by itself, and stays. A process that lost a loop is not ready, and is replaced by who
/// watches it; what still works goes on until then.
async fn watch(what: &'static str, tasks: &mut JoinSet<()>, readiness: &Readiness) {
    if let Some(ended) = tasks.join_next().await {
        if let Err(panic) = ended {
            tracing::error!(%panic, "A loop ended: {what}");
        }
        readiness.fail(what);
    }
    std::future::pending().await
}

async fn finish(what: &'static str, tasks: &mut JoinSet<()>, deadline: Instant) {
    while let Ok(Some(_)) = tokio::time::timeout_at(deadline, tasks.join_next()).await {}
    if !tasks.is_empty() {
        tracing::warn!("Stopped waiting for {what}: the drain deadline is over");
        tasks.abort_all();
    }
}

/// The store as it is configured.
///
/// # Errors
/// Where the URL of the database cannot be read.
pub fn store(config: &Config, clock: Clock) -> anyhow::Result<Store> {
    let Config { database, intake, delivery, retention, .. } = config;
    let connect =
        connect_options(database.url.expose_secret()).map_err(|fault| anyhow::anyhow!("database.url {fault}"))?;
    let sessions = |connections, plans| SessionOptions {
        connections,
        plans,
        acquire_timeout: database.acquire_timeout,
        statement_timeout: database.statement_timeout,
        lock_timeout: database.lock_timeout,
        idle_in_transaction_timeout: database.idle_in_transaction_timeout,
        deadline: database.acquire_timeout + database.statement_timeout,
    };
    Ok(Store::new(StoreOptions {
        connect,
        intake: sessions(database.intake_connections, Plans::Once),
        delivery: sessions(database.delivery_connections, Plans::Once),
        reads: sessions(database.read_connections, Plans::AsPostgresSeesFit),
        inbox: InboxOptions {
            writers: intake.writers,
            batch: intake.batch,
            max_waiting: intake.max_waiting,
            longest_wait: config.server.request_timeout / LONGEST_WAIT,
            lease: delivery.lease,
        },
        outbox: OutboxOptions { lease: delivery.lease, max_lost_leases: delivery.max_lost_leases },
        upkeep: UpkeepOptions {
            park_limit: intake.park_limit,
            history: retention.history,
            dead_letters: retention.dead_letters,
            batch: UPKEEP_BATCH,
        },
        accounts: config.accounts.iter().map(|account| account.account_sid.clone()).collect(),
        clock,
    }))
}

/// The part of a request's time that a command may wait for a writer. The rest is enough for Postgres's own limits, and after a
/// peak the line is gone within it.
const LONGEST_WAIT: u32 = 8;
/// Most rows that one step of the upkeep touches: well within a statement's time limit.
const UPKEEP_BATCH: u32 = 1000;

/// The accounts as Twilio knows them.
pub fn accounts(config: &Config) -> Vec<Account> {
    let credential = |account_sid: &str, credentials: &config::Credentials| match credentials {
        config::Credentials::AuthToken(token) => {
            Credential { username: account_sid.to_owned(), password: token.clone() }
        }
        config::Credentials::ApiKey { sid, secret } => Credential { username: sid.clone(), password: secret.clone() },
    };
    let account = |account: &config::Account| Account {
        account_sid: account.account_sid.clone(),
        base_url: account.base_url.parse().expect("the configuration takes nothing else"),
        credentials: std::iter::once(&account.credentials)
            .chain(&account.second)
            .map(|credentials| credential(account.account_sid.as_str(), credentials))
            .collect(),
    };
    config.accounts.iter().map(account).collect()
}

/// The one client, as it is configured.
///
/// # Errors
/// Where TLS cannot be set up.
pub fn twilio(config: &Config) -> anyhow::Result<Twilio> {
    let options = TwilioOptions {
        request_timeout: config.delivery.request_timeout,
        connect_timeout: config.delivery.connect_timeout,
        longest_connection: Twilio::LONGEST_CONNECTION,
    };
    Twilio::new(&options).context("cannot set TLS up; are the certificates of authorities installed (ca-certificates)?")
}

fn delivery(config: &Config, store: &Store) -> anyhow::Result<Delivery> {
    let lanes = config.accounts.iter().zip(accounts(config)).map(|(told, account)| LaneConfig {
        name: told.name.clone(),
        account,
        max_concurrency: told.max_concurrency,
        yield_above: told.yield_above,
        shadow: told.shadow,
    });
    let told = &config.delivery;
    let options = LaneOptions {
        policy: Policy {
            backoff: Backoff { first: told.backoff_first, longest: told.backoff_longest },
            soon: Policy::SOON,
            give_up_after: told.give_up_after,
            young_for: told.young_for,
            max_ambiguous: told.max_ambiguous,
            probe_every: told.probe_every,
        },
        poll_interval: told.poll_interval,
        breaker_threshold: told.breaker_threshold,
        // A request that takes its whole time must end, and be settled, before its lease does.
        least_lease: told.request_timeout + Duration::from_secs(1),
        replica: replica_name(),
    };
    Ok(Delivery::new(store.outbox.clone(), twilio(config)?, lanes.collect(), &options))
}

/// What tells this process from its replicas: the name of its host, which a container has to itself, and its number.
fn replica_name() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(60).collect();
    format!("{}-{}", if host.is_empty() { "confirmd" } else { &host }, std::process::id())
}

fn callers(config: &Config) -> Vec<CallerOptions> {
    let caller = |caller: &config::Caller| CallerOptions {
        name: caller.name.clone(),
        namespace: caller.namespace.clone(),
        scopes: Scope::ALL.into_iter().filter(|scope| caller.scopes.allow(*scope)).collect(),
        token_digests: caller.tokens_sha256.clone(),
    };
    config.callers.iter().map(caller).collect()
}

fn intake_options(config: &Config, callers: Callers) -> IntakeOptions {
    IntakeOptions {
        callers,
        accounts: config.accounts.iter().map(|account| account.account_sid.clone()).collect(),
        body_deadline: config.server.body_timeout,
        most_waiting_per_caller: config.intake.max_waiting_per_caller,
    }
}
