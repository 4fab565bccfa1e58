//! How feedback reaches Twilio: where, how long an attempt may take, and when to stop.

use std::time::Duration;

use reqwest::Url;

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
