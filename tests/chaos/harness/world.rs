//! One Postgres, one Twilio, wires to both, replicas of confirmd, and callers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use confirmd::operate::token;
use rand::SeedableRng;
use rand::rngs::StdRng;
use secrecy::ExposeSecret;

use super::callers::{ACCOUNT, Callers};
use super::checker::{Breaches, Ledgers};
use super::cluster::{Cluster, url};
use super::comes_true;
use super::database::Database;
use super::figures::Figures;
use super::load::{Load, Tellers};
use super::outside::Outside;
use super::replica::{Replica, TRY_LATER};
use super::run::Run;
use super::sampler::Sampler;
use super::witness::{self, Heard};
use crate::outside::orders::{Kind, Weather};

/// How long everything may take to come to its end when all is well again.
const DRAINING: Duration = Duration::from_secs(60);

pub(crate) const TOKEN: &str = "the-token-of-the-account";

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) outside: Outside,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) callers: Arc<Callers>,
    pub(crate) dice: StdRng,
    pub(crate) folder: PathBuf,
    /// Of another caller, who tells the ledger nothing.
    pub(crate) other: String,
    /// Postgres's clock is not the one of Twilio's ledger: what stands in both cannot be compared by its time.
    pub(crate) clocks_differ: bool,
    token: String,
    sampler: Option<Sampler>,
    slowest: Arc<Mutex<Duration>>,
    seed: u64,
}

/// Roles of the replicas, and what is configured otherwise than here.
pub(crate) struct Setting {
    pub(crate) roles: &'static [&'static str],
    pub(crate) with: &'static [(&'static str, &'static str)],
    /// Lines for the configuration of Postgres.
    pub(crate) postgres: &'static [&'static str],
}

pub(crate) const BOTH: &[&str] = &["all", "all"];
pub(crate) const PLAIN: Setting = Setting { roles: BOTH, with: &[], postgres: &[] };

/// Times as short as may be, and in the proportions of production: a lease is longer than two requests and a margin.
const TIMES: &[(&str, &str)] = &[
    ("SERVER__DRAIN_DELAY", "0s"),
    ("SERVER__DRAIN_DEADLINE", "5s"),
    ("DELIVERY__REQUEST_TIMEOUT", "400ms"),
    ("DELIVERY__CONNECT_TIMEOUT", "300ms"),
    ("DELIVERY__LEASE", "2s"),
    ("DELIVERY__POLL_INTERVAL", "100ms"),
    ("DELIVERY__BACKOFF_FIRST", "50ms"),
    ("DELIVERY__BACKOFF_LONGEST", "500ms"),
    ("DELIVERY__PROBE_EVERY", "500ms"),
    ("DELIVERY__MAX_LOST_LEASES", "100"),
];

/// `DELIVERY__LEASE`, in milliseconds.
pub(crate) const LEASE_MS: u32 = 2000;

impl World {
    /// Everything runs, nobody has told anything yet.
    pub(crate) async fn new(run: &Run, name: &str, setting: &Setting) -> Self {
        let mut world = Self::unstarted(run, name, setting).await;
        for replica in &mut world.replicas {
            replica.begin();
        }
        for replica in &mut world.replicas {
            replica.becomes_ready(Duration::from_secs(60)).await;
        }
        world.begin_sampling();
        world
    }

    /// Postgres runs, the replicas do not.
    pub(crate) async fn unstarted(run: &Run, name: &str, setting: &Setting) -> Self {
        let (folder, cluster) = run.place(name);
        setting.postgres.iter().for_each(|line| cluster.set(line));
        cluster.start().await;
        let seed = run.seed_for(name);
        let outside = Outside::start(&folder, ACCOUNT, &authorization(TOKEN), seed);
        let [(token, digest), (other, digest_of_other)] = [new_token(), new_token()];
        let mut replicas = Vec::new();
        for (number, role) in setting.roles.iter().enumerate() {
            let twilio = outside.open_twilio(&number.to_string()).await;
            let postgres = outside.open_wire(&format!("db-{number}"), cluster.address, Kind::Postgres).await;
            let mut variables: BTreeMap<String, String> = BTreeMap::new();
            for (key, value) in TIMES.iter().chain(setting.with) {
                variables.insert(format!("CONFIRMD_{key}"), (*value).to_owned());
            }
            for (key, value) in [
                ("DATABASE_URL", url(postgres, "confirmd")),
                ("TWILIO_BASE_URL", format!("http://{twilio}")),
                ("TWILIO_ACCOUNT_SID", ACCOUNT.to_owned()),
                ("TWILIO_AUTH_TOKEN", TOKEN.to_owned()),
                ("CONFIRMD_CALLERS__0__NAME", "login".to_owned()),
                ("CONFIRMD_CALLERS__0__SCOPES", "ingest,read,operate".to_owned()),
                ("CONFIRMD_CALLERS__0__TOKENS_SHA256", digest.clone()),
                ("CONFIRMD_CALLERS__1__NAME", "other".to_owned()),
                ("CONFIRMD_CALLERS__1__SCOPES", "ingest,read".to_owned()),
                ("CONFIRMD_CALLERS__1__TOKENS_SHA256", digest_of_other.clone()),
                ("CONFIRMD_LOG__FORMAT", "json".to_owned()),
            ] {
                variables.insert(key.to_owned(), value);
            }
            replicas.push(Replica::new(&format!("replica-{number}"), role, &run.binary, &folder, variables));
        }
        Self {
            cluster,
            outside,
            replicas,
            callers: Arc::default(),
            dice: StdRng::seed_from_u64(seed),
            folder,
            other,
            clocks_differ: false,
            token,
            sampler: None,
            slowest: Arc::default(),
            seed,
        }
    }

    /// From when Postgres stays the same one.
    pub(crate) fn begin_sampling(&mut self) {
        let url = self.cluster.url();
        let environment = [("DATABASE_URL".to_owned(), url.clone())].into_iter().collect();
        self.sampler = Some(Sampler::begin(environment, url, self.folder.clone()));
    }

    /// Another Postgres that followed, promoted now, and every wire leads to it. Gives when it was promoted.
    pub(crate) async fn goes_on_with(&mut self, follower: Cluster) -> Instant {
        follower.promote().await;
        for number in 0..self.replicas.len() {
            self.outside.lead(&format!("db-{number}"), follower.address).await;
        }
        self.cluster = follower;
        Instant::now()
    }

    /// Callers tell of everything again, whatever they were answered. Gives what was not taken in time.
    pub(crate) async fn tell_all_again(&self) -> usize {
        self.callers.doubt();
        self.tellers().insist(DRAINING, self.seed).await
    }

    /// Who tells, at the replicas that take events.
    pub(crate) fn tellers(&self) -> Tellers {
        let takes = |replica: &&Replica| replica.role != "worker";
        Tellers {
            callers: self.callers.clone(),
            at: self.replicas.iter().filter(takes).map(|replica| replica.address).collect(),
            token: self.token.clone(),
            slowest: self.slowest.clone(),
        }
    }

    pub(crate) fn load(&self, tellers: u64, pause: Duration) -> Load {
        self.tellers().begin(tellers, pause, self.seed)
    }

    /// The longest that anybody has waited for an answer so far.
    pub(crate) fn slowest(&self) -> Duration {
        *self.slowest.lock().unwrap()
    }

    pub(crate) fn twilio(&self) -> Vec<Heard> {
        witness::read(&self.folder)
    }

    /// All wires carry, Twilio behaves, every replica runs.
    pub(crate) async fn heal(&mut self) {
        self.outside.behave().await;
        for number in 0..self.replicas.len() {
            for name in [format!("db-{number}"), format!("twilio-{number}")] {
                self.outside.open_gate(&name).await;
                self.outside.weather(&name, Weather::default()).await;
            }
            self.replicas[number].look();
            if !self.replicas[number].is_running() {
                self.replicas[number].begin();
            }
        }
        for replica in &mut self.replicas {
            replica.becomes_ready(DRAINING).await;
        }
    }

    /// Heals, tells again whatever is unsettled, lets the queue drain, and compares the ledgers. The end of each row.
    pub(crate) async fn account_for(mut self, figures: &mut Figures) {
        let mut breaches = Breaches::default();
        self.heal().await;
        self.tellers().insist(DRAINING, self.seed).await;
        self.drains(DRAINING).await;
        let seen = match self.sampler.take() {
            Some(sampler) => sampler.end().await,
            None => super::sampler::Seen::default(),
        };
        if let Err(said) = self.audit().await {
            breaches.add("K10", said);
        }
        let mut connection = self.cluster.connect().await.unwrap();
        let mut database = Database::read(&mut connection).await.unwrap();
        if self.clocks_differ {
            database.messages.values_mut().for_each(|registered| *registered = 0);
        }
        let twilio = self.twilio();
        Ledgers { callers: &self.callers.book(), database: &database, twilio: &twilio }.compare(&mut breaches);
        figures.did(format!(
            "{} events, {} requests to Twilio, {} audits meanwhile",
            database.events.len(),
            twilio.len(),
            seen.audits
        ));
        figures.found(&seen.breaches);
        figures.found(&breaches);
        for replica in &mut self.replicas {
            replica.look();
            figures.none("unexpected ends of a process", replica.unexpected.len());
            replica.unexpected.iter().for_each(|ended| figures.show(ended, false));
            figures.none("panics", replica.log().matches("panicked at").count());
        }
    }

    /// What `confirmd audit` says, if it is not content. While it cannot reach Postgres, it is asked again.
    async fn audit(&self) -> Result<(), String> {
        let until = Instant::now() + DRAINING;
        loop {
            let audit = self.replicas[0].command(&["audit"]).env_remove("CONFIRMD_LOG__FORMAT").output().await.unwrap();
            match audit.status.code() {
                Some(0) => return Ok(()),
                Some(TRY_LATER) if Instant::now() < until => {}
                code => {
                    let [out, error] =
                        [audit.stdout, audit.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
                    return Err(format!("{code:?} {out}{error}"));
                }
            }
        }
    }

    /// Whether nothing is owed to Twilio any more, in time.
    pub(crate) async fn drains(&self, limit: Duration) -> bool {
        comes_true(limit, async || self.cluster.number("select count(*) from feedback").await == 0).await
    }

    /// The attempts that were interrupted, and the longest that one of their messages then waited for its next one.
    pub(crate) async fn interruptions(&self) -> (usize, Duration) {
        let mut connection = self.cluster.connect().await.unwrap();
        let database = Database::read(&mut connection).await.unwrap();
        let (mut count, mut longest) = (0, 0);
        for attempts in database.attempts.values() {
            for lost in attempts.iter().filter(|attempt| attempt.verdict == "interrupted") {
                count += 1;
                let next = attempts.iter().find(|attempt| attempt.number == lost.number + 1);
                // What is on record of an interrupted one is when its lease ended.
                let begun =
                    next.map(|next| next.at - if next.verdict == "interrupted" { i64::from(LEASE_MS) } else { 0 });
                longest = longest.max(begun.map_or(0, |begun| begun - lost.at));
            }
        }
        (count, Duration::from_millis(u64::try_from(longest).unwrap_or_default()))
    }
}

/// A caller's, and its digest.
fn new_token() -> (String, String) {
    let (secret, digest) = token::generate();
    (secret.expose_secret().to_owned(), digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What opens the account, with this token.
pub(crate) fn authorization(token: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{ACCOUNT}:{token}")))
}
