//! An embedded Postgres that another process holds, so that a story can kill that process.
//!
//! The other process is this test binary again, with nothing to run but `holds_a_server_until_it_is_killed`.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
};

use confirmd::postgres::{Durability, EmbeddedOptions, EmbeddedPostgres};

const DATA_DIR: &str = "CONFIRMD_TEST_HOLDS";

pub(crate) struct Held {
    pub(crate) url: String,
    process: Child,
}

impl Held {
    /// Returns when the server runs.
    pub(crate) fn start(data_dir: &Path) -> Self {
        let mut held = Self::begin(data_dir);
        let told = BufReader::new(held.process.stdout.as_mut().unwrap());
        let url = told.lines().find_map(|line| Some(line.unwrap().split_once("url: ")?.1.to_owned()));
        held.url = url.expect("the holder tells where its server answers");
        held
    }

    /// Returns at once, while the server is still being made.
    pub(crate) fn begin(data_dir: &Path) -> Self {
        Self { url: String::new(), process: holder(data_dir).spawn().unwrap() }
    }

    /// With SIGKILL: the process has no say in it.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// The watchdog goes first, so that nobody is left to stop the server.
    pub(crate) fn kill_with_watchdog(self) {
        let parent = self.process.id().to_string();
        let listed = Command::new("ps").args(["-A", "-ww", "-o", "pid=,ppid=,args="]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let watchdog = listed.lines().find_map(|line| {
            let (pid, rest) = line.trim_start().split_once(' ')?;
            let is_it = rest.trim_start().starts_with(&parent) && line.contains("confirmd-postgres-watchdog");
            is_it.then_some(pid)
        });
        let pid = watchdog.expect("a server has a watchdog");
        assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
        self.kill();
    }
}

/// What the process says that cannot start a server with this in its environment.
pub(crate) fn refusal(data_dir: &Path, name: &str, value: &str) -> String {
    let output = holder(data_dir).env(name, value).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Lasting, as for `confirmd dev`, but without the seconds that a disk takes.
pub(crate) fn options(data_dir: &Path) -> EmbeddedOptions {
    EmbeddedOptions { durability: Durability::Fast, ..EmbeddedOptions::lasting(data_dir) }
}

fn holder(data_dir: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["harness::held::holds_a_server_until_it_is_killed", "--exact", "--ignored", "--nocapture"]);
    command.env(DATA_DIR, data_dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
#[ignore = "a part of other tests, which run it as a process of its own"]
fn holds_a_server_until_it_is_killed() {
    let Some(data_dir) = env::var_os(DATA_DIR) else { return };
    let postgres = EmbeddedPostgres::start(options(data_dir.as_ref())).unwrap_or_else(|error| panic!("{error}"));
    println!("url: {}", postgres.url("postgres"));
    // Ends too if the test that started us was itself killed.
    std::io::stdin().read_to_end(&mut vec![]).unwrap();
}
