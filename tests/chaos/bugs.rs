//! Faults of our own making, each of which a row has to find: a checker that never says no proves nothing.
//!
//! `cargo test --test chaos -- --bugs` puts each patch of `tests/chaos/bugs/` on a copy of the sources, builds that,
//! and plays the row that is named for it. Here a row that passes is the failure.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use crate::args::Args;
use crate::harness::run::Run;
use crate::record::Outcome;
use crate::rows::ROWS;

struct Bug {
    /// Of its patch.
    name: &'static str,
    row: &'static str,
    /// A part of what the row says when it has found it.
    found: &'static str,
}

const BUGS: &[Bug] = &[
    Bug { name: "follow_redirects", row: "F30", found: "K7 rogue send" },
    Bug { name: "unverified_2xx", row: "F28", found: "K4 falsely confirmed" },
    Bug { name: "dead_on_401", row: "F31", found: "given up" },
    Bug { name: "synchronous_commit_off", row: "F05", found: "K1 lost" },
    Bug { name: "no_transaction", row: "F03", found: "K10 law broken" },
    Bug { name: "attempt_not_written_before_the_request", row: "F03", found: "K5 unrecorded send" },
];

/// Gives how many bugs were found, and how many not.
pub(crate) async fn find(args: &Args) -> (usize, usize) {
    println!("\nrunning {} tests", BUGS.len());
    let sources = tempfile::tempdir().unwrap();
    let (mut found, mut missed) = (0, 0);
    for bug in BUGS {
        let begun = Instant::now();
        let binary = build(bug, sources.path());
        let run = Arc::new(Run::begin(args.form, args.seed, binary).await);
        let row = ROWS.iter().find(|row| row.id == bug.row).unwrap();
        let outcome = Outcome::of(row, tokio::spawn((row.run)(run)).await, begun.elapsed());
        let story = outcome.story();
        let line = story.lines().find(|line| line.starts_with("NOT ") && line.contains(bug.found));
        let result = if line.is_some() { "ok" } else { "FAILED" };
        println!("test {} is found by {} ... {result}", bug.name, bug.row);
        match line {
            Some(line) => {
                found += 1;
                println!("     [{:.1} s] {}", begun.elapsed().as_secs_f64(), line.trim_start_matches("NOT "));
            }
            None => {
                missed += 1;
                println!("     nobody said {:?}, but:\n{story}", bug.found);
            }
        }
    }
    (found, missed)
}

/// The confirmd that has it. Its dependencies are built once, and kept beside those of the tests.
fn build(bug: &Bug, folder: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = folder.join("confirmd");
    ran(Command::new("rm").arg("-rf").arg(&copy));
    std::fs::create_dir(&copy).unwrap();
    for part in ["src", "migrations", "deploy", "tests", "Cargo.toml", "Cargo.lock"] {
        ran(Command::new("cp").arg("-a").arg(root.join(part)).arg(&copy));
    }
    let patch = root.join("tests/chaos/bugs").join(format!("{}.patch", bug.name));
    ran(Command::new("patch").args(["--silent", "--strip=1", "--input"]).arg(patch).current_dir(&copy));
    let target = root.join("target/bugs");
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet", "--locked", "--bin", "confirmd"]).current_dir(&copy);
    ran(build.env("CARGO_TARGET_DIR", &target));
    target.join("debug/confirmd")
}

fn ran(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
