//! What confirmd says of itself: log lines for people and collectors, metrics for Prometheus.
//!
//! No SID, id, URL or other text of a caller is ever a label: labels are lanes, classes, routes, reasons.

mod followed;
mod from_zero;
mod lines;
mod logs;
mod meters;
mod moments;
mod names;
mod process;
mod traces;

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use followed::{event_span, event_told, mapping_span, settling_span};
pub use from_zero::count_from_zero;
pub use lines::flush_logs;
pub use logs::{init_logs, set_log_filter};
pub use meters::{BreakerMeter, ConfirmedMeter, RequestMeter};
pub use moments::*;
pub use names::*;
pub use traces::{attempt_ended, attempt_span, finish_traces, request_ended, request_span, trace_here, within};

/// Bounds of what answers and commits take.
const SECONDS: [f64; 15] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Bounds of what takes as long as Twilio is away: to a week.
const SECONDS_TO_DAYS: [f64; 15] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0];

const BATCH_SIZES: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 10_000.0];

/// Keeps the metrics from here on. Asked again, it gives the same ones: there is one recorder in a process.
pub fn metrics_recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let handle = builder().install_recorder().expect("nobody else installs a recorder");
        describe();
        handle
    };
    RECORDER.get_or_init(install).clone()
}

/// Histograms keep every value until they are read. Nobody may be reading. And what the system knows of us is looked up.
pub async fn tidy_metrics(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        handle.run_upkeep();
        process::look();
    }
}

fn builder() -> PrometheusBuilder {
    PrometheusBuilder::new()
        .set_buckets(&SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_batch_size".to_owned()), &BATCH_SIZES))
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full(EVENT_TO_CONFIRMED_SECONDS.to_owned()), &SECONDS_TO_DAYS)
        })
        .expect("no list of bounds is empty")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AccountSid, CallerName, Class, DeadReason, EventState, LaneName};

    /// What a scrape would hold after these moments.
    fn scraped(moments: impl FnOnce()) -> String {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            moments();
        });
        handle.render()
    }

    fn account() -> AccountSid {
        format!("AC{:032}", 0).try_into().unwrap()
    }

    #[test]
    fn what_is_told_of_a_lane_and_a_caller_stands_at_zero_from_the_start() {
        let text = scraped(|| {
            let lane = LaneName::try_from("eu".to_owned()).unwrap();
            let caller = CallerName::try_from("login".to_owned()).unwrap();
            count_from_zero([(format!("AC{:032}", 1).try_into().unwrap(), lane)], &[caller]);
            ConfirmedMeter::new(&format!("AC{:032}", 1).try_into().unwrap()).confirmed(None);
        });
        for line in [
            "confirmd_owed_total{lane=\"eu\"} 0",
            "confirmd_confirmed_total{lane=\"eu\"} 1",
            "confirmd_given_up_total{lane=\"eu\",reason=\"rejected\"} 0",
            "confirmd_credentials_refused_total{lane=\"eu\",credential=\"second\"} 0",
            "confirmd_event_to_confirmed_seconds_bucket{lane=\"eu\",le=\"60\"} 0",
            "confirmd_caller_events_total{caller=\"login\",answer=\"taken\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn histograms_have_bounds_that_fit_what_they_hold() {
        let text = scraped(|| {
            committed(3, Duration::from_millis(2), true);
            ConfirmedMeter::new(&account()).confirmed(Some(Duration::from_secs(70)));
        });
        for line in [
            "confirmd_commit_seconds_bucket{le=\"0.0025\"} 1",
            "confirmd_commit_batch_size_bucket{le=\"5\"} 1",
            "confirmd_event_to_confirmed_seconds_bucket{lane=\"unconfigured\",le=\"60\"} 0",
            "confirmd_event_to_confirmed_seconds_bucket{lane=\"unconfigured\",le=\"300\"} 1",
            "# HELP confirmd_commit_seconds ",
            "# TYPE confirmd_commit_seconds histogram",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_system_knows_of_this_process_is_told() {
        let text = scraped(process::look);
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.split(' ').next() == Some(name));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(1e6 < value("process_resident_memory_bytes"));
        assert!(2.0 < value("process_open_fds") && value("process_open_fds") < value("process_max_fds"));
        assert!(value("process_cpu_seconds_total") < 1e6);
        // Since 2020, and not after the time at which the system writes this.
        assert!(1.577e9 < value("process_start_time_seconds"));
        let proc_self = std::fs::metadata("/proc/self/stat").unwrap().modified().unwrap();
        let now = proc_self.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(value("process_start_time_seconds") <= now + 1.0);
    }

    #[test]
    fn each_moment_counts_where_it_says() {
        let lane = LaneName::try_from("main".to_owned()).unwrap();
        let text = scraped(|| {
            accepted(EventState::Pending);
            RequestMeter::new(&lane).attempted(Class::Throttled, Duration::from_millis(100));
            lane_paused(&lane, true);
            gave_up(&account(), DeadReason::GaveUp);
            claimed(&lane, 4, 1);
            pool("intake", 3, 5);
            loop_failed("settler");
            db_durability("local");
            db_durability("standby");
        });
        for line in [
            "confirmd_events_accepted_total{outcome=\"pending\"} 1",
            "confirmd_attempts_total{lane=\"main\",class=\"throttled\"} 1",
            "confirmd_attempt_seconds_count{lane=\"main\"} 1",
            "confirmd_lane_paused{lane=\"main\"} 1",
            "confirmd_given_up_total{lane=\"unconfigured\",reason=\"gave_up\"} 1",
            "confirmd_given_up_total{lane=\"main\",reason=\"poison\"} 1",
            "confirmd_claimed_total{lane=\"main\"} 4",
            "db_client_connection_count{db_client_connection_pool_name=\"intake\",db_client_connection_state=\"used\"} 3",
            "confirmd_loop_failures_total{loop=\"settler\"} 1",
            "confirmd_db_durability{mode=\"local\"} 0",
            "confirmd_db_durability{mode=\"standby\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn names_keep_to_the_conventions_of_prometheus() {
        for metric in METRICS {
            let name = metric.name;
            let known = ["confirmd_", "http_server_", "db_client_", "process_"];
            assert!(known.iter().any(|start| name.starts_with(start)), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}: a counter ends in _total");
            assert!(!name.contains("_ms") && !name.contains("millis"), "{name}: seconds");
            assert!(!metric.help.trim().is_empty(), "{name}");
        }
    }
}
