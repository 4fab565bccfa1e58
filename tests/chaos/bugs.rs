//! Faults of our own making, each of which a row has to find: a checker that never says no proves nothing.
//!
//! `cargo test --test chaos -- --bugs` puts each patch of `tests/chaos/bugs/` on a copy of the sources, builds that as a
//! binary of its own, and plays the row that is named for it. Here a row that passes is the failure.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use crate::args::Args;
use crate::harness::run::Run;
use crate::record::{self, Outcome};
use crate::rows::ROWS;

struct Bug {
    /// Of its patch.
    name: &'static str,
    row: &'static str,
    /// A part of what the row says when it has found it.
    found: &'static str,
}

const BUGS: &[Bug] = &[
    Bug { name: "no_transaction", row: "F03", found: "K10 law broken" },
    Bug { name: "settled_without_a_fence", row: "F38", found: "messages confirmed to two who ran" },
    Bug { name: "no_row_to_queue_for", row: "F37", found: "K8 stuck" },
    Bug { name: "clock_of_its_own", row: "F16", found: "messages confirmed to two who ran" },
    Bug { name: "follow_redirects", row: "F30", found: "K7 rogue send" },
    Bug { name: "attempt_not_written_before_the_request", row: "F03", found: "K5 unrecorded send" },
    Bug { name: "dead_on_401", row: "F31", found: "given up" },
    Bug { name: "synchronous_commit_off", row: "F05", found: "K1 lost" },
    Bug { name: "given_back_without_a_fence", row: "F39", found: "messages confirmed to two who ran" },
    Bug { name: "unverified_2xx", row: "F28", found: "K4 falsely confirmed" },
];

/// Gives how many bugs were found, and how many not.
pub(crate) async fn find(args: &Args) -> (usize, usize) {
    let bugs: Vec<&Bug> = BUGS.iter().filter(|bug| args.names(bug.name) || args.names(bug.row)).collect();
    println!("\nrunning {} tests", bugs.len());
    println!("chaos: faults of our own making, seed {}, commit {}", args.seed, record::commit());
    let (began, total) = (Instant::now(), bugs.len());
    let sources = Sources::copy();
    let (mut found, mut missed) = (0, 0);
    for (at, bug) in bugs.into_iter().enumerate() {
        let binary = sources.build(bug);
        let begun = Instant::now();
        let run = Arc::new(Run::begin(args.form, args.seed, args.soak, binary).await);
        let row = ROWS.iter().find(|row| row.id == bug.row).unwrap();
        let outcome = Outcome::of(row, tokio::spawn((row.run)(run)).await, begun.elapsed());
        let story = outcome.story();
        let line = story.lines().find(|line| line.starts_with("NOT ") && line.contains(bug.found));
        let result = if line.is_some() { "ok" } else { "FAILED" };
        println!("test {} is found by {} ... {result}", bug.name, bug.row);
        let (minutes, seconds) = (began.elapsed().as_secs() / 60, began.elapsed().as_secs() % 60);
        let progress =
            format!("[{minutes:02}:{seconds:02}, {} of {total}, {:.1} s]", at + 1, begun.elapsed().as_secs_f64());
        match line {
            Some(line) => {
                found += 1;
                println!("     {progress} {}", line.trim_start_matches("NOT "));
            }
            None => {
                missed += 1;
                println!("     {progress} nobody said {:?}, but:\n{story}", bug.found);
            }
        }
    }
    (found, missed)
}

/// A copy of the sources, for patches. It stays where it is from run to run, so that cargo builds what has changed only.
struct Sources {
    root: &'static Path,
    target: PathBuf,
    copy: PathBuf,
}

impl Sources {
    fn copy() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = root.join("target/bugs");
        let copy = target.join("sources");
        ran(Command::new("rm").arg("-rf").arg(&copy));
        std::fs::create_dir_all(&copy).unwrap();
        for part in ["src", "migrations", "deploy", "tests", "benches", "Cargo.toml", "Cargo.lock"] {
            // Without their times: for cargo a file that is older than its last build has not changed.
            ran(Command::new("cp").arg("-r").arg(root.join(part)).arg(&copy));
        }
        Self { root, target, copy }
    }

    /// The confirmd that has it.
    fn build(&self, bug: &Bug) -> PathBuf {
        self.patch(bug, &[]);
        let mut build = Command::new("cargo");
        build.args(["build", "--quiet", "--locked", "--bin", "confirmd"]).current_dir(&self.copy);
        ran(build.env("CARGO_TARGET_DIR", &self.target));
        self.patch(bug, &["--reverse"]);
        let binary = self.target.join("confirmd-with-a-fault");
        std::fs::copy(self.target.join("debug/confirmd"), &binary).unwrap();
        binary
    }

    fn patch(&self, bug: &Bug, how: &[&str]) {
        let patch = self.root.join("tests/chaos/bugs").join(format!("{}.patch", bug.name));
        let mut apply = Command::new("patch");
        apply.args(["--silent", "--strip=1", "--fuzz=0"]).args(how).arg("--input").arg(patch);
        ran(apply.current_dir(&self.copy));
    }
}

fn ran(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
