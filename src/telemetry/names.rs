//! The metrics: every name, what it means, and its labels in braces.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// A metric as Prometheus is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How values are spread.
    Histogram,
}

impl Kind {
    /// The word that Prometheus has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $kind:ident $constant:ident = $name:literal;)*) => {
        $($(#[doc = $help])+ pub const $constant: &str = $name;)*

        /// All of them.
        pub const METRICS: &[Metric] =
            &[$(Metric { name: $name, kind: Kind::$kind, help: concat!($($help),+) }),*];
    };
}

metrics! {
    /// Which version runs: always 1 {version}.
    Gauge BUILD_INFO = "confirmd_build_info";

    /// Log lines that were dropped because nobody read stderr.
    Counter LOG_LINES_DROPPED_TOTAL = "confirmd_log_lines_dropped_total";

    /// From a request's head to its answer, as OpenTelemetry names it {http_route, http_request_method,
    /// http_response_status_code}.
    Histogram HTTP_SERVER_REQUEST_SECONDS = "http_server_request_duration_seconds";
    /// Connections closed at once because too many were open.
    Counter HTTP_CONNECTIONS_REFUSED_TOTAL = "confirmd_http_connections_refused_total";
    /// Connections closed at once because their peer had too many open.
    Counter HTTP_PEER_CONNECTIONS_REFUSED_TOTAL = "confirmd_http_peer_connections_refused_total";

    /// Events by who told us, and what they were answered {caller, answer: taken, replayed, mismatch, conflict,
    /// not_taken}.
    Counter CALLER_EVENTS_TOTAL = "confirmd_caller_events_total";
    /// Events and mappings that were refused, to be sent again {because: queue_full, queue_slow,
    /// caller_share, unavailable}.
    Counter NOT_TAKEN_TOTAL = "confirmd_not_taken_total";

    /// Events taken for the first time {outcome: pending, parked, confirmed, dead}.
    Counter EVENTS_ACCEPTED_TOTAL = "confirmd_events_accepted_total";
    /// Events that were taken before, and got the same answer again.
    Counter EVENTS_REPLAYED_TOTAL = "confirmd_events_replayed_total";
    /// Events that came before their message.
    Counter EVENTS_PARKED_TOTAL = "confirmd_events_parked_total";
    /// Parked events whose message came.
    Counter EVENTS_UNPARKED_TOTAL = "confirmd_events_unparked_total";
    /// Parked events whose message never came.
    Counter EVENTS_EXPIRED_TOTAL = "confirmd_events_expired_total";
    /// Messages mapped to an action {outcome: created, known, conflict}.
    Counter MESSAGES_REGISTERED_TOTAL = "confirmd_messages_registered_total";

    /// Messages whose feedback is owed to Twilio from then on {lane}.
    Counter OWED_TOTAL = "confirmd_owed_total";
    /// Events and mappings that wait for the writers.
    Gauge QUEUE_WAITING = "confirmd_queue_waiting";
    /// One group commit, from taking a batch to Postgres's answer.
    Histogram COMMIT_SECONDS = "confirmd_commit_seconds";
    /// Events and mappings in one group commit.
    Histogram COMMIT_BATCH_SIZE = "confirmd_commit_batch_size";
    /// Group commits {outcome: committed, failed}.
    Counter COMMITS_TOTAL = "confirmd_commits_total";
    /// Feedback that went to a lane in memory, without a claim.
    Counter HANDED_OFF_TOTAL = "confirmd_handed_off_total";

    /// Looks for due feedback {lane}.
    Counter CLAIMS_TOTAL = "confirmd_claims_total";
    /// Feedback found by them {lane}.
    Counter CLAIMED_TOTAL = "confirmd_claimed_total";
    /// Requests to Twilio that ended {lane, class}.
    Counter ATTEMPTS_TOTAL = "confirmd_attempts_total";
    /// One request to Twilio, from connecting to the last byte {lane}.
    Histogram ATTEMPT_SECONDS = "confirmd_attempt_seconds";
    /// Answers of Twilio's that refused a credential {lane, credential: first, second}.
    Counter CREDENTIALS_REFUSED_TOTAL = "confirmd_credentials_refused_total";
    /// Attempts that were everything but a request, because the account is in shadow {lane}.
    Counter SHADOWED_TOTAL = "confirmd_shadowed_total";
    /// Requests to Twilio under way {lane}.
    Gauge IN_FLIGHT = "confirmd_in_flight";
    /// Requests that may be under way at once, as the lane has learnt {lane}.
    Gauge LANE_LIMIT = "confirmd_lane_limit";
    /// 1 where the lane is in shadow and sends nothing {lane}.
    Gauge LANE_SHADOW = "confirmd_lane_shadow";
    /// 1 while the lane is paused {lane}.
    Gauge LANE_PAUSED = "confirmd_lane_paused";
    /// 1 while the lane is left alone but for probes, because requests failed in a row {lane}.
    Gauge LANE_BREAKER_OPEN = "confirmd_lane_breaker_open";
    /// Replicas that deliver, and have said so in the last 30 s: the same number in each of them.
    Gauge REPLICAS = "confirmd_replicas";

    /// Feedback that is owed to Twilio {lane}.
    Gauge BACKLOG = "confirmd_backlog";
    /// How long the oldest due feedback has been due {lane}.
    Gauge OLDEST_DUE_SECONDS = "confirmd_oldest_due_seconds";
    /// Events that wait for their message.
    Gauge PARKED = "confirmd_parked";
    /// How long the oldest of them has waited.
    Gauge OLDEST_PARKED_SECONDS = "confirmd_oldest_parked_seconds";
    /// Dead letters that are kept {reason}.
    Gauge DEAD_LETTERS = "confirmd_dead_letters";
    /// Feedback given up {lane, reason}.
    Counter GIVEN_UP_TOTAL = "confirmd_given_up_total";

    /// Verdicts in one settling commit.
    Histogram SETTLE_BATCH_SIZE = "confirmd_settle_batch_size";
    /// One settling commit.
    Histogram SETTLE_SECONDS = "confirmd_settle_seconds";
    /// Verdicts of workers that had lost their lease, and changed nothing.
    Counter SETTLES_FENCED_TOTAL = "confirmd_settles_fenced_total";
    /// Confirmations of workers that had lost their lease, kept because they are true.
    Counter LATE_SUCCESSES_TOTAL = "confirmd_late_successes_total";
    /// Feedback that Twilio confirmed {lane}.
    Counter CONFIRMED_TOTAL = "confirmd_confirmed_total";
    /// From when feedback was owed (its event taken, its message known) to Twilio's confirmation of it {lane}.
    Histogram EVENT_TO_CONFIRMED_SECONDS = "confirmd_event_to_confirmed_seconds";

    /// Connections to Postgres, as OpenTelemetry names them {db_client_connection_pool_name,
    /// db_client_connection_state: used, idle}.
    Gauge POOL_CONNECTIONS = "db_client_connection_count";
    /// 1 while Postgres answers.
    Gauge DB_UP = "confirmd_db_up";
    /// Age of the oldest transaction on the server that keeps Postgres from tidying up, whosever it is.
    Gauge DB_OLDEST_XMIN_SECONDS = "confirmd_db_oldest_xmin_seconds";
    /// The same in transactions that began since, where also replication slots and standbys count.
    Gauge DB_OLDEST_XMIN_TRANSACTIONS = "confirmd_db_oldest_xmin_transactions";
    /// 1 for what a commit survives {mode: none, local, standby}.
    Gauge DB_DURABILITY = "confirmd_db_durability";
    /// Events or feedback that the conservation law misses: always 0.
    Gauge CONSERVATION_DRIFT = "confirmd_conservation_drift";
    /// Steps of a loop that ended well: while it stands still, so does the loop {loop: housekeeping, lane}.
    Counter LOOP_STEPS_TOTAL = "confirmd_loop_steps_total";
    /// Steps of a loop that failed and are tried again {loop: housekeeping, lane, settler}.
    Counter LOOP_FAILURES_TOTAL = "confirmd_loop_failures_total";
    /// Configurations that were read anew while confirmd ran {outcome: applied, partly, refused}.
    Counter CONFIG_RELOADS_TOTAL = "confirmd_config_reloads_total";

    /// Processor time of this process, in whole seconds.
    Counter PROCESS_CPU_SECONDS_TOTAL = "process_cpu_seconds_total";
    /// Memory that it holds.
    Gauge PROCESS_RESIDENT_MEMORY_BYTES = "process_resident_memory_bytes";
    /// When it started, since 1970.
    Gauge PROCESS_START_TIME_SECONDS = "process_start_time_seconds";
    /// Files and connections that it has open.
    Gauge PROCESS_OPEN_FDS = "process_open_fds";
    /// Most of them that it may have open.
    Gauge PROCESS_MAX_FDS = "process_max_fds";
}

impl Metric {
    /// What it means, without its labels.
    pub fn meaning(&self) -> &'static str {
        self.help.split_once('{').map_or(self.help, |(meaning, _)| meaning).trim().trim_end_matches('.')
    }

    /// Its labels, each with its values where they are a list: `lane`, `credential: first, second`.
    pub fn labels(&self) -> Option<&'static str> {
        let (_, labels) = self.help.split_once('{')?;
        labels.split_once('}').map(|(labels, _)| labels)
    }
}

/// The reference table, as `deploy/METRICS.md` holds it.
pub fn metrics_reference() -> String {
    let mut table = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let labels = metric.labels().map(|labels| format!("`{labels}`")).unwrap_or_default();
        let kind = metric.kind.as_str();
        table += &format!("| `{}` | {kind} | {labels} | {} |\n", metric.name, metric.meaning());
    }
    table
}

/// Tells the recorder what each of them means.
pub fn describe() {
    for Metric { name, kind, help } in METRICS {
        let (name, help) = (*name, help.trim());
        let unit = if name.ends_with("_seconds") { Unit::Seconds } else { Unit::Count };
        match kind {
            Kind::Counter => describe_counter!(name, unit, help),
            Kind::Gauge => describe_gauge!(name, unit, help),
            Kind::Histogram => describe_histogram!(name, unit, help),
        }
    }
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
}
