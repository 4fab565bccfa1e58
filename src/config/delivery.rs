//! How feedback reaches Twilio: where, how long an attempt may take, and when to stop.

use std::time::Duration;

use reqwest::Url;

use super::{host, table::Table};

/// `[delivery]`
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Before region and edge; an account's own `base_url` is the one to send to.
    pub base_url: Url,
    /// One HTTP request, from connecting to the last byte of the answer.
    pub request_timeout: Duration,
    /// Part of `request_timeout`.
    pub connect_timeout: Duration,
    /// How long a worker owns a feedback. Longer than two requests, one with each credential.
    pub lease: Duration,
    /// How often to look for work that nobody handed over.
    pub poll_interval: Duration,
    /// The wait after the first failed attempt. It doubles.
    pub backoff_first: Duration,
    /// The longest wait between attempts.
    pub backoff_longest: Duration,
    /// Transient faults for longer than this end as `gave_up`.
    pub give_up_after: Duration,
    /// A message younger than this may be missing at Twilio for a while.
    pub young_for: Duration,
    /// Leases lost in a row that end as `poison`.
    pub max_lost_leases: u32,
    /// 2xx answers that prove nothing, which end as `unverifiable`.
    pub max_ambiguous: u32,
    /// How often one request tries whether a paused lane works again.
    pub probe_every: Duration,
    /// Transient faults in a row that open a lane's breaker.
    pub breaker_threshold: u32,
}

impl Delivery {
    pub(super) fn read(table: &Table<'_>, allow_insecure_twilio: bool) -> Self {
        const MOMENT: Duration = Duration::from_millis(10);
        const MINUTE: Duration = Duration::from_mins(1);
        const HOUR: Duration = Duration::from_hours(1);
        const DAY: Duration = Duration::from_hours(24);
        Self {
            base_url: base_url(table, allow_insecure_twilio),
            request_timeout: table.duration("request_timeout", MOMENT..=MINUTE),
            connect_timeout: table.duration("connect_timeout", MOMENT..=MINUTE),
            lease: table.duration("lease", Duration::from_millis(100)..=HOUR),
            poll_interval: table.duration("poll_interval", MOMENT..=MINUTE),
            backoff_first: table.duration("backoff_first", Duration::from_millis(1)..=HOUR),
            backoff_longest: table.duration("backoff_longest", Duration::from_millis(1)..=DAY),
            give_up_after: table.duration("give_up_after", Duration::from_secs(1)..=DAY * 365),
            young_for: table.duration("young_for", Duration::ZERO..=DAY * 7),
            max_lost_leases: table.number("max_lost_leases", 1..=100),
            max_ambiguous: table.number("max_ambiguous", 1..=100),
            probe_every: table.duration("probe_every", MOMENT..=HOUR),
            breaker_threshold: table.number("breaker_threshold", 1..=1_000),
        }
    }
}

fn base_url(table: &Table<'_>, allow_insecure_twilio: bool) -> Url {
    let text = table.text("base_url").map_or(host::TWILIO, |given| given.text);
    host::base_url(text, allow_insecure_twilio).unwrap_or_else(|problem| {
        table.fault("base_url", problem);
        Url::parse(host::TWILIO).expect("Twilio's own URL parses")
    })
}
