//! What the operating system says of a process: processor time and memory. Linux's `/proc`; nothing elsewhere.
//!
//! <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>

use std::fs;
use std::time::Duration;

/// The unit of `/proc/PID/stat`: fixed for every program, whatever the kernel's own clock.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of a process so far.
pub(super) fn cpu(pid: u32) -> Option<Duration> {
    let stat = Stat::of(pid)?;
    Some(TICK * stat.own)
}

/// Processor time so far of a process, of its children, and of those that have ended.
pub(super) fn cpu_with_children(pid: u32) -> Option<Duration> {
    let parent = Stat::of(pid)?;
    let living: u32 = processes().filter_map(Stat::of).filter(|stat| stat.parent == pid).map(|stat| stat.own).sum();
    Some(TICK * (parent.own + parent.of_ended_children + living))
}

/// The most memory that a process has held so far, in bytes.
pub(super) fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The model of the processors and how many there are.
pub(super) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let model = model.trim_start_matches(['\t', ' ', ':']);
    format!("{cores} cores of {model}, {} GiB", (memory().unwrap_or_default() + (1 << 9)) >> 10)
}

/// The memory of this machine, in MiB.
pub(super) fn memory() -> Option<u64> {
    let told = fs::read_to_string("/proc/meminfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib >> 10)
}

struct Stat {
    parent: u32,
    own: u32,
    of_ended_children: u32,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything, also parentheses.
        let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split(' ').collect();
        let number = |place: usize| fields.get(place - 3).and_then(|field| field.parse::<u32>().ok());
        Some(Self { parent: number(4)?, own: number(14)? + number(15)?, of_ended_children: number(16)? + number(17)? })
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
