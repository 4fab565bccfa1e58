//! What on-call sees: metrics, rules, dashboard and runbook, each held against the others and against real programs.

mod programs;
mod reference;
mod rules;
mod whole;

use std::path::{Path, PathBuf};

/// A file below `deploy/`.
fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(deploy(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}

/// A program of this machine. None where it is not installed; continuous integration installs it.
fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "continuous integration must run this: no {name}");
        eprintln!("skipped: there is no {name} on this machine");
    }
    found
}
