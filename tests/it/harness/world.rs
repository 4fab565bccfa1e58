//! A small world: a database, a Twilio to practise on, and confirmd in between. Time stands still until it travels,
//! and work moves when it is drained.

use std::time::Duration;

use chrono::{DateTime, Utc};
use confirmd::delivery::{Backoff, Delivery, LaneConfig, LaneOptions, Policy, Step};
use confirmd::domain::{
    AccountSid, ActionId, Event, EventId, EventKey, Labels, MessageSid, Namespace, Registration, Resolve, Target,
};
use confirmd::store::{
    Accepted, Clock, InboxOptions, NotTaken, OutboxOptions, Plans, Registered, SessionOptions, Store, StoreOptions,
    UpkeepOptions, connect_options,
};
use confirmd::telemetry::metrics_recorder;
use confirmd::twilio::sim::{SimulatedAccount, Simulator, SimulatorOptions, UnknownMessages};
use confirmd::twilio::{Account, Credential, Twilio, TwilioOptions};
use secrecy::SecretString;
use tokio::task::JoinSet;

use super::database::{TestDatabase, database};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(86400);
pub(crate) const TOKEN: &str = "an-auth-token-of-the-simulator";

/// What a story may decide about its world.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) accounts: Vec<AccountSid>,
    /// Passwords by account; the second is tried when the first is refused.
    pub(crate) passwords: Vec<&'static str>,
    pub(crate) simulator: SimulatorOptions,
    pub(crate) policy: Policy,
    pub(crate) max_lost_leases: u32,
    pub(crate) request_timeout: Duration,
    pub(crate) max_waiting: usize,
    pub(crate) batch: usize,
    pub(crate) upkeep_batch: u32,
    pub(crate) shadow: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            accounts: vec![account(1)],
            passwords: vec![TOKEN],
            simulator: SimulatorOptions { unknown_messages: UnknownMessages::Accept, ..SimulatorOptions::default() },
            policy: Policy {
                backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(900) },
                soon: Policy::SOON,
                give_up_after: 7 * DAY,
                young_for: HOUR,
                max_ambiguous: 5,
                probe_every: MINUTE,
            },
            max_lost_leases: 5,
            request_timeout: Duration::from_secs(10),
            max_waiting: 10_000,
            batch: 1000,
            upkeep_batch: 1000,
            shadow: false,
        }
    }
}

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) twilio: Simulator,
    pub(crate) delivery: Delivery,
    pub(crate) clock: Clock,
    pub(crate) database: TestDatabase,
    pub(crate) setting: Setting,
    _writers: JoinSet<()>,
}

/// The account SID with this number.
pub(crate) fn account(number: u32) -> AccountSid {
    format!("AC{number:032x}").try_into().unwrap()
}

/// The message SID with this number.
pub(crate) fn sid(number: u32) -> MessageSid {
    format!("SM{number:032x}").try_into().unwrap()
}

pub(crate) fn namespace() -> Namespace {
    "default".to_owned().try_into().unwrap()
}

pub(crate) fn action(name: &str) -> ActionId {
    name.to_owned().try_into().unwrap()
}

pub(crate) fn key(event_id: &str) -> EventKey {
    EventKey { namespace: namespace(), event_id: EventId::try_from(event_id.to_owned()).unwrap() }
}

/// When every story begins.
pub(crate) fn noon() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-23T12:00:00Z").unwrap().to_utc()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Setting::default()).await
    }

    pub(crate) async fn with(setting: Setting) -> Self {
        // As in a process: it is there before what counts.
        metrics_recorder();
        let mut simulator = setting.simulator.clone();
        simulator.accounts = setting
            .accounts
            .iter()
            .map(|account_sid| SimulatedAccount {
                account_sid: account_sid.clone(),
                auth_token: SecretString::from(TOKEN),
                api_keys: Vec::new(),
            })
            .collect();
        let twilio = Simulator::start(simulator).await.unwrap();
        let database = database().await;
        let clock = Clock::standing_at(noon());
        let (store, delivery, writers) = replica(&database.service_url, &twilio, &clock, &setting);
        let mut world = Self { store, twilio, delivery, clock, database, setting, _writers: writers };
        world.drain().await;
        world
    }

    /// Another process over the same database and the same Twilio.
    pub(crate) async fn replica(&self) -> Replica {
        let (store, delivery, writers) = replica(&self.database.service_url, &self.twilio, &self.clock, &self.setting);
        Replica { store, delivery, _writers: writers }
    }

    pub(crate) fn travel(&self, by: Duration) {
        self.clock.travel(by);
    }

    /// Delivers until nothing is due. Gives how many requests Twilio heard.
    pub(crate) async fn drain(&mut self) -> usize {
        let before = self.requests();
        drain(&mut self.delivery).await;
        self.requests() - before
    }

    /// How many Feedback requests Twilio has heard.
    pub(crate) fn requests(&self) -> usize {
        self.twilio.ledger().iter().filter(|entry| entry.path.ends_with("/Feedback.json")).count()
    }

    /// From now on Twilio does this, as in `503;first=2`.
    pub(crate) fn fault(&self, rule: &str) {
        self.twilio.play(rule.parse().unwrap());
    }

    pub(crate) async fn register(&self, name: &str, number: u32) -> Registered {
        self.register_sent(name, number, None).await
    }

    pub(crate) async fn register_sent(&self, name: &str, number: u32, sent_at: Option<DateTime<Utc>>) -> Registered {
        self.store.inbox.register(registration(name, number, sent_at)).await.unwrap()
    }

    pub(crate) async fn complete(&self, event_id: &str, name: &str) -> Accepted {
        self.complete_by(event_id, name, Resolve::Latest).await
    }

    pub(crate) async fn complete_by(&self, event_id: &str, name: &str, resolve: Resolve) -> Accepted {
        self.accept(event(event_id, name, resolve)).await.unwrap()
    }

    pub(crate) async fn accept(&self, event: Event) -> Result<Accepted, NotTaken> {
        self.store.inbox.accept(event).await
    }

    /// An action with a message, completed by its user.
    pub(crate) async fn owes(&self, name: &str, number: u32) {
        self.register(name, number).await;
        self.complete(&format!("event-of-{name}"), name).await;
    }

    /// The same, claimable by anyone: nothing was handed over to a lane.
    pub(crate) async fn owes_in_the_queue(&mut self, name: &str, number: u32) {
        self.store.operator.pause(&account(1), "so that nothing is handed over").await.unwrap();
        self.drain().await;
        self.owes(name, number).await;
        self.store.operator.resume(&account(1)).await.unwrap();
    }

    /// Where an event stands, in a word.
    pub(crate) async fn event(&self, event_id: &str) -> String {
        let receipt = self.store.ledger.event(&key(event_id)).await.unwrap();
        receipt.map_or("unknown", |receipt| receipt.state.as_str()).to_owned()
    }

    /// Where a message's feedback stands: `confirmed@2` after two requests, `dead@1 rejected` with its reason.
    pub(crate) async fn feedback(&self, number: u32) -> String {
        let Some(message) = self.store.ledger.message(None, &sid(number)).await.unwrap() else {
            return "unknown".to_owned();
        };
        let feedback = message.feedback;
        let reason = feedback.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
        format!("{}@{}{reason}", feedback.state.as_str(), feedback.attempts)
    }

    /// The conservation law holds, and each thing is counted once.
    pub(crate) async fn is_lawful(&self) {
        let audit = self.store.upkeep.audit().await.unwrap();
        assert_eq!(audit.drift.total(), 0, "{audit:?}");
        assert_eq!(audit.accepted, audit.parked + audit.resolved + audit.expired, "{audit:?}");
        assert_eq!(audit.owed, audit.pending + audit.confirmed + audit.dead, "{audit:?}");
    }
}

/// Another confirmd beside the world's own.
pub(crate) struct Replica {
    pub(crate) store: Store,
    pub(crate) delivery: Delivery,
    _writers: JoinSet<()>,
}

pub(crate) async fn drain(delivery: &mut Delivery) {
    loop {
        let mut idle = true;
        for lane in &mut delivery.lanes {
            idle &= lane.step().await.unwrap() == Step::Idle;
            lane.quiet().await;
        }
        if idle {
            return;
        }
    }
}

pub(crate) fn registration(name: &str, number: u32, sent_at: Option<DateTime<Utc>>) -> Registration {
    Registration {
        namespace: namespace(),
        action_id: action(name),
        message_sid: sid(number),
        account_sid: account(1),
        sent_at,
        labels: Labels::default(),
    }
}

pub(crate) fn event(event_id: &str, name: &str, resolve: Resolve) -> Event {
    Event { key: key(event_id), target: Target::Action { action_id: action(name), resolve }, occurred_at: None }
}

/// An event that names its message.
pub(crate) fn exact(event_id: &str, number: u32) -> Event {
    let target = Target::Message { message_sid: sid(number), account_sid: account(1), action_id: None };
    Event { key: key(event_id), target, occurred_at: None }
}

/// A store as a process has it: its pools, its writers, its doors are its own.
pub(crate) fn store(url: &str, clock: &Clock, setting: &Setting) -> Store {
    let sessions = |connections, plans| SessionOptions {
        connections,
        plans,
        acquire_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(15),
        lock_timeout: Duration::from_secs(10),
        idle_in_transaction_timeout: Duration::from_secs(15),
        deadline: Duration::from_secs(30),
    };
    Store::new(StoreOptions {
        connect: connect_options(url).unwrap(),
        intake: sessions(4, Plans::Once),
        delivery: sessions(3, Plans::Once),
        reads: sessions(3, Plans::AsPostgresSeesFit),
        inbox: InboxOptions {
            writers: 4,
            batch: setting.batch,
            max_waiting: setting.max_waiting,
            longest_wait: MINUTE,
            lease: MINUTE,
        },
        outbox: OutboxOptions { lease: MINUTE, max_lost_leases: setting.max_lost_leases },
        upkeep: UpkeepOptions {
            park_limit: 7 * DAY,
            history: 90 * DAY,
            dead_letters: 400 * DAY,
            batch: setting.upkeep_batch,
        },
        accounts: setting.accounts.clone(),
        clock: clock.clone(),
    })
}

fn replica(url: &str, twilio: &Simulator, clock: &Clock, setting: &Setting) -> (Store, Delivery, JoinSet<()>) {
    let store = store(url, clock, setting);
    let twilio_client = Twilio::new(&TwilioOptions {
        request_timeout: setting.request_timeout,
        connect_timeout: Duration::from_secs(3),
        longest_connection: Twilio::LONGEST_CONNECTION,
    })
    .unwrap();
    let lanes = setting.accounts.iter().enumerate().map(|(at, account_sid)| LaneConfig {
        name: format!("lane-{}", at + 1).try_into().unwrap(),
        account: Account {
            account_sid: account_sid.clone(),
            base_url: twilio.base_url().parse().unwrap(),
            credentials: setting
                .passwords
                .iter()
                .map(|password| Credential {
                    username: account_sid.as_str().to_owned(),
                    password: SecretString::from(*password),
                })
                .collect(),
        },
        max_concurrency: 32,
        yield_above: 64,
        shadow: setting.shadow,
    });
    let options = LaneOptions {
        policy: setting.policy,
        poll_interval: Duration::from_secs(1),
        breaker_threshold: 1000,
        least_lease: setting.request_timeout,
        replica: "test".to_owned(),
    };
    let delivery = Delivery::new(store.outbox.clone(), twilio_client, lanes.collect(), &options);
    let writers = store.start_writers(&delivery.doors);
    (store, delivery, writers)
}
