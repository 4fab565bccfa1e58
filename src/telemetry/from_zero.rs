//! What stands at 0 from the start, and the names of lanes.
//!
//! Prometheus sees a rise only from one sample to the next. A counter that begins with what first moves it hides just
//! that: the first refused credential, the first dead letter.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use metrics::{counter, histogram};

use super::moments::{EventAnswer, Reload};
use super::names::*;
use crate::domain::{AccountSid, CallerName, Class, DeadReason, EventState, LaneName};

pub(super) const CREDENTIALS: [&str; 2] = ["first", "second"];
const LOOPS: [&str; 3] = ["housekeeping", "lane", "settler"];

/// How metrics call the accounts of this process, for rooms that know an account only by its SID.
static LANES: RwLock<BTreeMap<AccountSid, LaneName>> = RwLock::new(BTreeMap::new());

/// The label of an account's lane: its SID must not stand in one.
pub(super) fn lane_of(account_sid: &AccountSid) -> String {
    let lanes = LANES.read().unwrap_or_else(PoisonError::into_inner);
    lanes.get(account_sid).map_or_else(|| LaneName::unconfigured().to_string(), LaneName::to_string)
}

/// Counts from 0 for each of these lanes and callers, and calls the lanes by their names from here on.
pub fn count_from_zero(lanes: impl IntoIterator<Item = (AccountSid, LaneName)>, callers: &[CallerName]) {
    for (account_sid, lane) in lanes {
        count_lane(&lane.to_string());
        LANES.write().unwrap_or_else(PoisonError::into_inner).insert(account_sid, lane);
    }
    for caller in callers {
        for answer in EventAnswer::ALL {
            counter!(CALLER_EVENTS_TOTAL, "caller" => caller.to_string(), "answer" => answer.as_str()).absolute(0);
        }
    }
    for outcome in Reload::ALL {
        counter!(CONFIG_RELOADS_TOTAL, "outcome" => outcome.as_str()).absolute(0);
    }
    for because in ["queue_full", "queue_slow", "caller_share", "unavailable"] {
        counter!(NOT_TAKEN_TOTAL, "because" => because).absolute(0);
    }
    for state in [EventState::Pending, EventState::Parked, EventState::Confirmed, EventState::Dead] {
        counter!(EVENTS_ACCEPTED_TOTAL, "outcome" => state.as_str()).absolute(0);
    }
    for outcome in ["committed", "failed"] {
        counter!(COMMITS_TOTAL, "outcome" => outcome).absolute(0);
    }
    for name in LOOPS {
        counter!(LOOP_FAILURES_TOTAL, "loop" => name).absolute(0);
    }
    for name in [
        LOG_LINES_DROPPED_TOTAL,
        HTTP_CONNECTIONS_REFUSED_TOTAL,
        HTTP_PEER_CONNECTIONS_REFUSED_TOTAL,
        EVENTS_REPLAYED_TOTAL,
        EVENTS_PARKED_TOTAL,
        EVENTS_UNPARKED_TOTAL,
        EVENTS_EXPIRED_TOTAL,
        HANDED_OFF_TOTAL,
        LATE_SUCCESSES_TOTAL,
        SETTLES_FENCED_TOTAL,
    ] {
        counter!(name).absolute(0);
    }
}

fn count_lane(lane: &str) {
    let lane = lane.to_owned();
    for class in Class::ALL {
        counter!(ATTEMPTS_TOTAL, "lane" => lane.clone(), "class" => class.as_str()).absolute(0);
    }
    for credential in CREDENTIALS {
        counter!(CREDENTIALS_REFUSED_TOTAL, "lane" => lane.clone(), "credential" => credential).absolute(0);
    }
    for reason in DeadReason::ALL.into_iter().filter(|reason| *reason != DeadReason::Shadowed) {
        counter!(GIVEN_UP_TOTAL, "lane" => lane.clone(), "reason" => reason.as_str()).absolute(0);
    }
    counter!(OWED_TOTAL, "lane" => lane.clone()).absolute(0);
    counter!(CONFIRMED_TOTAL, "lane" => lane.clone()).absolute(0);
    counter!(SHADOWED_TOTAL, "lane" => lane.clone()).absolute(0);
    // To be named is enough for a histogram to be shown, with nothing in it.
    drop(histogram!(EVENT_TO_CONFIRMED_SECONDS, "lane" => lane));
}
