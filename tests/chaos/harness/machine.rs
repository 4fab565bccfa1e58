//! What Linux knows of a process of ours, and how little it may have of the machine.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The time that a process has been at work.
pub(crate) fn worked(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold anything: state, parent, …; the 12th and 13th are ticks in and for the process.
    let ticks: u64 = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(number).sum();
    // `getconf CLK_TCK` says 100 wherever Linux runs.
    Duration::from_millis(ticks * 10)
}

/// `VmHWM`, the most memory it ever had, or `VmRSS`, what it has now; in KiB.
pub(crate) fn memory(pid: u32, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':')).unwrap();
    number(line.trim().trim_end_matches(" kB"))
}

/// Files, sockets among them, that it has open.
pub(crate) fn files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap()
}

/// A control group (of version 1) with a bound. It needs root.
pub(crate) struct Bound(PathBuf);

impl Bound {
    /// `Bound::new("cpu", &[("cpu.cfs_quota_us", 5000)])`
    pub(crate) fn new(controller: &str, limits: &[(&str, u64)]) -> Self {
        let name = format!("confirmd-chaos-{}", std::process::id());
        let folder = PathBuf::from("/sys/fs/cgroup").join(controller).join(name);
        fs::create_dir(&folder)
            .unwrap_or_else(|error| panic!("the row needs root, and control groups of version 1: {error}"));
        for (limit, value) in limits {
            fs::write(folder.join(limit), value.to_string()).unwrap();
        }
        Self(folder)
    }

    pub(crate) fn holds(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// Words before a command that is held from its beginning.
    pub(crate) fn words(&self) -> Vec<String> {
        let joins = format!("echo $$ >'{}/cgroup.procs' && exec \"$@\"", self.0.display());
        ["sh", "-c", &joins, "sh"].map(str::to_owned).into()
    }

    /// What stands in one of its files.
    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    pub(crate) fn set(&self, limit: &str, value: i64) {
        fs::write(self.0.join(limit), value.to_string()).unwrap();
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Its processes go to where those of the machine are; an empty group can be removed.
        let parent = self.0.parent().unwrap().join("cgroup.procs");
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _it_has_ended = fs::write(&parent, pid);
        }
        let _ = Command::new("rmdir").arg(&self.0).status();
    }
}
