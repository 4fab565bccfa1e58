//! The parts of a run that are processes of their own: this same binary, told to be something else.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::LocalSet;

use super::hold::{self, HoldArgs};
use super::load::{self, LoadArgs, LoadReport};
use super::obvious::{self, ObviousArgs};
use super::sink;

/// What a part is.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Part {
    /// Stands where Twilio would be
    Sink {
        #[arg(long, value_parser = humantime::parse_duration)]
        delay: Duration,
        /// Answers so many, and leaves the others without an answer.
        #[arg(long)]
        hang_after: Option<u64>,
    },
    /// Stands where the callers would be
    Load(LoadArgs),
    /// Stands where peers would be who hold connections
    Hold(HoldArgs),
    /// What one would write first
    Obvious(ObviousArgs),
}

impl Part {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Sink { delay, hang_after } => Ok(LocalSet::new().run_until(sink::run(delay, hang_after)).await?),
            Self::Hold(args) => Ok(LocalSet::new().run_until(hold::run(args)).await?),
            Self::Load(args) => Ok(load::run(args).await?),
            Self::Obvious(args) => obvious::run(args).await,
        }
    }
}

/// A process that serves until this is dropped.
pub(super) struct Serving {
    pub(super) address: SocketAddr,
    pub(super) pid: u32,
    child: Child,
}

/// How long a part may take to say where it listens.
const TO_START: Duration = Duration::from_secs(20);

impl Serving {
    /// Starts a part that says where it listens.
    pub(super) async fn part(args: &[String]) -> anyhow::Result<Self> {
        let mut command = this_binary()?;
        command.args(["bench", "part"]).args(args).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().context("it has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(TO_START, lines.next_line()).await.context("it did not start in time")??;
        let address = line.context("it ended instead of serving")?.parse()?;
        Self::of(child, address)
    }

    pub(super) fn of(child: Child, address: SocketAddr) -> anyhow::Result<Self> {
        let pid = child.id().context("it has ended already")?;
        Ok(Self { address, pid, child })
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot end a part")
    }

    /// Lets it end by itself, and waits for that.
    pub(super) async fn terminate(mut self) -> anyhow::Result<()> {
        let told = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status().await?;
        ensure!(told.success(), "cannot tell a part to end");
        self.child.wait().await?;
        Ok(())
    }

    /// Whether it still runs.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("a part has ended by itself: {status}"),
        }
    }
}

/// Runs a load to its end.
pub(super) async fn load(args: &[String]) -> anyhow::Result<LoadReport> {
    let mut command = this_binary()?;
    let output = command.args(["bench", "part", "load"]).args(args).stderr(Stdio::inherit()).output().await?;
    ensure!(output.status.success(), "the load failed: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

pub(super) fn this_binary() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.kill_on_drop(true).stdin(Stdio::null());
    Ok(command)
}
