//! The running server, and the watchdog that ends it when we end.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, ErrorKind},
    net::{Ipv4Addr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{fs::OpenOptionsExt, net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Child, Command},
};

use super::{Durability, EmbeddedError, EmbeddedOptions, binaries::Binaries, error::while_doing, home::Home};

const SHELL: &str = "/bin/sh";
const WATCHDOG: &str = include_str!("watchdog.sh");

/// A free port may be taken by someone else before the server takes it.
const PORTS_TO_TRY: usize = 5;

const LOG_LINES_TO_TELL: usize = 15;

pub(super) struct Server {
    port: u16,
    watchdog: Child,
    /// The watchdog stops the server when this closes. `None` once stopped.
    life: Option<UnixStream>,
}

impl Server {
    pub(super) fn start(
        home: &Home,
        binaries: &Binaries,
        options: &EmbeddedOptions,
        lock: File,
    ) -> Result<Self, EmbeddedError> {
        stop_what_was_left(home, binaries)?;
        let log = home.log();
        start_log(home, &log)?;
        for _ in 0..PORTS_TO_TRY {
            let port = free_port()?;
            let (life, theirs) = UnixStream::pair().map_err(while_doing("make a socket for", Path::new(SHELL)))?;
            let mut watchdog = watchdog(home, binaries, &settings(options, port), theirs, &lock)?;
            if said_ready(&life) {
                return Ok(Self { port, watchdog, life: Some(life) });
            }
            drop(life);
            watchdog.wait().map_err(while_doing("wait for", Path::new(SHELL)))?;
            if !end_of(&log).contains("Address already in use") {
                break;
            }
        }
        Err(EmbeddedError::DidNotStart { said: end_of(&log), log })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Does nothing the second time.
    pub(super) fn stop(&mut self, home: &Path) -> Result<(), EmbeddedError> {
        let Some(life) = self.life.take() else { return Ok(()) };
        drop(life);
        let shell = Path::new(SHELL);
        let stopped = self.watchdog.wait().map_err(while_doing("wait for", shell))?;
        match stopped.success() {
            true => Ok(()),
            false => Err(EmbeddedError::DidNotStop { log: home.join("postgres.log") }),
        }
    }
}

fn settings(options: &EmbeddedOptions, port: u16) -> String {
    let mut settings = format!(
        "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c max_connections={} \
         -c shared_buffers=64MB -c timezone=UTC -c log_timezone=UTC -c cluster_name=confirmd",
        options.max_connections
    );
    if options.durability == Durability::Fast {
        settings += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off";
    }
    // The last one of a name wins.
    options.settings.iter().for_each(|setting| settings += &format!(" -c {setting}"));
    settings
}

/// In a process group of its own, so that Ctrl-C reaches us and not the server: we finish our work first.
fn watchdog(
    home: &Home,
    binaries: &Binaries,
    settings: &str,
    life: UnixStream,
    lock: &File,
) -> Result<Child, EmbeddedError> {
    let shell = Path::new(SHELL);
    home.command(shell)?
        .args(["-c", WATCHDOG, "confirmd-postgres-watchdog"])
        .arg(binaries.program("pg_ctl"))
        .arg(home.cluster())
        .arg(home.log())
        .arg(settings)
        .stdin(OwnedFd::from(life))
        .stderr(lock.try_clone().map_err(while_doing("share the lock of", home.dir()))?)
        .process_group(0)
        .spawn()
        .map_err(while_doing("run", shell))
}

/// Ends when the watchdog has said something or has ended.
fn said_ready(life: &UnixStream) -> bool {
    let mut line = String::new();
    BufReader::new(life).read_line(&mut line).is_ok() && line == "ready\n"
}

/// A server whose watchdog was killed with its confirmd still runs, and goes on a port that we did not choose.
///
/// Nobody else is at work here, because we hold the lock. So if the process that `postmaster.pid` names is not our
/// server, the file is stale and its number has gone to another program, which must not be hit by a signal of ours.
fn stop_what_was_left(home: &Home, binaries: &Binaries) -> Result<(), EmbeddedError> {
    let cluster = home.cluster();
    let pid_file = cluster.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&pid_file) else { return Ok(()) };
    let pid = text.lines().next().unwrap_or_default().trim();
    if !command_line(pid).contains(&*cluster.to_string_lossy()) {
        return match fs::remove_file(&pid_file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(while_doing("remove", &pid_file)(error)),
            _ => Ok(()),
        };
    }
    let pg_ctl = binaries.program("pg_ctl");
    let stop = home.command(&pg_ctl)?.args(["stop", "--mode", "fast", "-D"]).arg(&cluster).output();
    match stop.map_err(while_doing("run", &pg_ctl))?.status.success() {
        true => Ok(()),
        false => Err(EmbeddedError::DidNotStop { log: home.log() }),
    }
}

fn command_line(pid: &str) -> String {
    let told = fs::read(format!("/proc/{pid}/cmdline")).or_else(|_no_proc_on_macos| {
        Command::new("ps").args(["-ww", "-o", "args=", "-p", pid]).output().map(|output| output.stdout)
    });
    String::from_utf8_lossy(&told.unwrap_or_default()).into_owned()
}

/// A fresh log for each start, readable by its owner only: it may hold values that were given to statements.
fn start_log(home: &Home, log: &Path) -> Result<(), EmbeddedError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    options.open(log).map_err(while_doing("open", log))?;
    home.give(log)
}

fn end_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_TO_TELL)..].join("\n")
}

fn free_port() -> Result<u16, EmbeddedError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(while_doing("find a free port on", Path::new("127.0.0.1")))
}
