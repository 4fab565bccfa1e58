//! What the operating system knows of this process, under the names that Prometheus's own clients give it. Linux alone
//! tells; elsewhere these metrics are not there.

/// Looks anew, every few seconds.
#[cfg(target_os = "linux")]
pub(super) fn look() {
    if let Err(error) = read() {
        tracing::debug!(%error, "Could not see what the system knows of this process");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn look() {}

#[cfg(target_os = "linux")]
fn read() -> procfs::ProcResult<()> {
    use super::names::*;
    use metrics::{counter, gauge};

    let process = procfs::process::Process::myself()?;
    let (stat, limits) = (process.stat()?, process.limits()?);
    let ticks = procfs::ticks_per_second();
    counter!(PROCESS_CPU_SECONDS_TOTAL).absolute((stat.utime + stat.stime) / ticks);
    gauge!(PROCESS_RESIDENT_MEMORY_BYTES).set((stat.rss * procfs::page_size()) as f64);
    gauge!(PROCESS_START_TIME_SECONDS).set((procfs::boot_time_secs()? + stat.starttime / ticks) as f64);
    gauge!(PROCESS_OPEN_FDS).set(process.fd_count()? as f64);
    if let procfs::process::LimitValue::Value(most) = limits.max_open_files.soft_limit {
        gauge!(PROCESS_MAX_FDS).set(most as f64);
    }
    Ok(())
}
