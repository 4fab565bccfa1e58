//! What on-call sees: metrics, rules, dashboard and runbook, each held against the others and against real programs.

mod programs;
mod reference;
mod rehearsed;
mod rules;
mod traces;
mod whole;

use std::path::{Path, PathBuf};

/// A file below `deploy/`.
fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(deploy(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}
