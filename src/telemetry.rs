//! placeholder
use crate::domain::*;
use std::time::Duration;
pub fn queue_waiting(_n: usize) {}
pub fn committed(_n: usize, _t: Duration, _ok: bool) {}
pub fn handed_off(_n: usize) {}
pub fn unparked(_n: u64) {}
pub fn lane_limit(_l: &LaneName, _n: u32) {}
pub fn lane_paused(_l: &LaneName, _p: bool) {}
pub fn attempted(_l: &LaneName, _c: Class, _t: Duration) {}
pub fn in_flight(_l: &LaneName, _n: usize) {}
pub fn settled(_n: usize, _t: Duration) {}
pub fn loop_failed(_l: &'static str) {}
pub fn confirmed(_t: Option<Duration>) {}
pub fn gave_up(_r: DeadReason) {}
pub fn confirmed_late() {}
pub fn fenced() {}
pub fn claimed(_l: &LaneName, _n: usize, _p: u64) {}
