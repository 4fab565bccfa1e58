//! Removes a throwaway home at the end, however the end comes.

use std::{
    io::{self, PipeWriter},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Comes to the end of its input when we, and all processes that work in the home, have ended.
const SWEEP: &str = "trap '' HUP INT TERM; cat; rm -rf \"$1\"";

pub(super) struct Sweeper {
    /// `None` once it may begin.
    waits_for: Option<PipeWriter>,
    process: Child,
}

impl Sweeper {
    /// It runs as ourselves and not as the server's user, who may not remove what is ours.
    pub(super) fn start(home: &Path) -> io::Result<Self> {
        let (input, waits_for) = io::pipe()?;
        let process = Command::new("/bin/sh")
            .args(["-c", SWEEP, "confirmd-postgres-sweeper"])
            .arg(home)
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { waits_for: Some(waits_for), process })
    }

    /// A process that has this as its output is waited for.
    pub(super) fn wait_for(&self) -> io::Result<Stdio> {
        match &self.waits_for {
            Some(writer) => writer.try_clone().map(Stdio::from),
            None => Ok(Stdio::null()),
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.waits_for = None;
        if let Err(error) = self.process.wait() {
            tracing::warn!("Could not wait until the folder of a throwaway Postgres was removed: {error}");
        }
    }
}
