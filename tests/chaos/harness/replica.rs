//! The real binary: started, told to stop, stopped for a while, killed. Its log stays, whatever becomes of it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::http::{Told, ask};
use super::{comes_true, ports};

/// Longest that a process may take to start. Reached only when a row fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The exit code of a process that did not reach Postgres.
pub(super) const TRY_LATER: i32 = 75;

pub(crate) struct Replica {
    pub(crate) name: String,
    /// It stays the same when the replica is started again.
    pub(crate) address: SocketAddr,
    binary: PathBuf,
    folder: PathBuf,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) role: &'static str,
    /// What it is started by, with words of its own: `prlimit --nofile=64`.
    pub(crate) under: Vec<String>,
    /// Nobody reads what it logs: a pipe that fills.
    pub(crate) unread: bool,
    child: Option<Child>,
    /// Ends that nobody here asked for.
    pub(crate) unexpected: Vec<String>,
}

impl Replica {
    pub(crate) fn new(
        name: &str,
        role: &'static str,
        binary: &Path,
        folder: &Path,
        variables: BTreeMap<String, String>,
    ) -> Self {
        let (name, address) = (name.to_owned(), ports::free());
        let (binary, folder) = (binary.to_owned(), folder.to_owned());
        let (under, unexpected) = (Vec::new(), Vec::new());
        Self { name, address, binary, folder, variables, role, under, unread: false, child: None, unexpected }
    }

    /// Starts it, and waits until it is ready.
    pub(crate) async fn start(&mut self) {
        self.begin();
        let ready = comes_true(PATIENCE, async || self.is_ready().await).await;
        assert!(ready, "{} does not become ready:\n{}", self.name, self.log());
    }

    /// Starts it, and does not wait.
    pub(crate) fn begin(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new().append(true).create(true).open(self.log_file()).unwrap();
        let mut command = self.command_under(&self.under, &["serve", "--role", self.role]);
        let log = if self.unread { Stdio::piped() } else { log.into() };
        command.env("CONFIRMD_SERVER__LISTEN", self.address.to_string()).stderr(log).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        fs::write(self.pid_file(), child.id().unwrap().to_string()).unwrap();
        self.child = Some(child);
    }

    /// The binary with this replica's environment, and nothing of ours.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_under(&[], args)
    }

    fn command_under(&self, under: &[String], args: &[&str]) -> Command {
        let mut words = under.iter().map(Into::into).chain([self.binary.clone()]);
        let mut command = Command::new(words.next().expect("there is the binary"));
        command.args(words).args(args).env_clear().envs(&self.variables).current_dir(&self.folder);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let told = ask(self.address, "", "GET", "/readyz", None, Duration::from_secs(2)).await;
        matches!(told, Told::Ok(_))
    }

    /// Who did not reach Postgres at its start says so and ends, and every platform starts it again; so do we.
    pub(crate) async fn becomes_ready(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        while !self.is_ready().await {
            assert!(Instant::now() < until, "waited {limit:?} in vain until {} is ready:\n{}", self.name, self.log());
            if let Some(child) = &mut self.child
                && child.try_wait().unwrap().is_some_and(|ended| ended.code() == Some(TRY_LATER))
            {
                self.child = None;
                self.begin();
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("it runs")
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// With SIGKILL: the process has no say in it.
    pub(crate) async fn kill(&mut self) {
        self.look();
        let Some(mut child) = self.child.take() else { return };
        child.kill().await.unwrap();
        fs::remove_file(self.pid_file()).unwrap();
    }

    /// Waits for its end. Gives its exit code; none where a signal ended it.
    pub(crate) async fn ends_within(&mut self, limit: Duration) -> Result<Option<i32>, String> {
        let mut child = self.child.take().expect("it runs");
        let ended = timeout(limit, child.wait()).await;
        fs::remove_file(self.pid_file()).unwrap();
        match ended {
            Ok(status) => Ok(status.unwrap().code()),
            Err(_late) => {
                child.kill().await.unwrap();
                Err(format!("{} has not ended within {limit:?}", self.name))
            }
        }
    }

    /// Notes whether it has ended by itself.
    pub(crate) fn look(&mut self) {
        if let Some(child) = &mut self.child
            && let Ok(Some(status)) = child.try_wait()
        {
            self.unexpected.push(format!("{} ended by itself: {status}", self.name));
            self.child = None;
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join(format!("{}.pid", self.name))
    }
}
