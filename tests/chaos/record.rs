//! How a row ended, and the record of all of them: `deploy/RELIABILITY.md`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::task::JoinError;

use crate::args::Args;
use crate::elsewhere::{AT_RANDOM, NOT_COVERED, PROMISES};
use crate::harness::checker::LAWS;
use crate::harness::figures::Figures;
use crate::harness::run::Form;
use crate::rows::Row;

pub(crate) struct Outcome {
    pub(crate) row: &'static Row,
    ended: Result<Figures, String>,
    took: Duration,
}

impl Outcome {
    pub(crate) fn of(row: &'static Row, ended: Result<Figures, JoinError>, took: Duration) -> Self {
        let ended = ended.map_err(|error| match error.try_into_panic() {
            Ok(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
                (Some(text), _) => text.clone(),
                (None, Some(text)) => (*text).to_owned(),
                (None, None) => "it panicked".to_owned(),
            },
            Err(error) => error.to_string(),
        });
        Self { row, ended, took }
    }

    pub(crate) fn passed(&self) -> bool {
        self.ended.as_ref().is_ok_and(|figures| figures.failed().is_empty() && !figures.shown.is_empty())
    }

    /// The line that cargo's readers count, after one that tells how far the run is.
    pub(crate) fn tell(&self, at: usize, of: usize, since: Duration) {
        let result = if self.passed() { "ok" } else { "FAILED" };
        let (minutes, seconds) = (since.as_secs() / 60, since.as_secs() % 60);
        println!("test {} ... {result}", self.row.id);
        println!("     [{minutes:02}:{seconds:02}, {at} of {of}, {:.1} s] {}", self.took.as_secs_f64(), self.done());
    }

    pub(crate) fn tell_story(&self) {
        println!("\n---- {} ----\n{}", self.row.id, self.story());
    }

    fn done(&self) -> String {
        match &self.ended {
            Ok(figures) => figures.done.join(", "),
            Err(_stopped) => "it stopped on the way".to_owned(),
        }
    }

    /// Every figure, and what is wrong.
    pub(crate) fn story(&self) -> String {
        match &self.ended {
            Ok(figures) => {
                let mark = |reached| if reached { "    " } else { "NOT " };
                let lines = figures.shown.iter().map(|shown| format!("{}{}", mark(shown.reached), shown.what));
                lines.collect::<Vec<_>>().join("\n")
            }
            Err(panic) => panic.clone(),
        }
    }

    /// What is worth a place in the table: figures that are more than a zero.
    fn figures(&self) -> String {
        match &self.ended {
            Ok(figures) => {
                let told = figures.shown.iter().filter(|shown| !shown.reached || !shown.what.starts_with("0 "));
                let told = figures.done.iter().cloned().chain(told.map(|shown| shown.what.clone()));
                told.collect::<Vec<_>>().join("; ")
            }
            Err(panic) => panic.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

/// Which source was tried.
pub(crate) fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--", "src", "migrations"]).is_some_and(|list| !list.is_empty());
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    if changed { commit + ", changed" } else { commit }
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(crate) async fn write(args: &Args, outcomes: &[Outcome], took: Duration) {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let form = if args.form == Form::Full { "full" } else { "short" };
    let postgres = said("/bin/sh", &["-c", "$(ls -d /usr/lib/postgresql/*/bin/postgres | tail -n 1) --version"]);
    let date = said("date", &["-u", "+%Y-%m-%d"]);
    let machine = format!("{} cores", std::thread::available_parallelism().map_or(0, usize::from));
    let mut text = HEAD.to_owned();
    for (id, name, law) in LAWS {
        text += &format!("| {id} | {law} | {name} |\n");
    }
    text += &format!(
        "\n## The record\n\n{date}, commit {}, {form} form, {profile} build, seed {}, {machine}, {}, {postgres}; {} rows \
         in {} min, {} at once. A row passes with every law at 0 breaches, no panic, and no process that ended by \
         itself. What was played again later says so in its last column. Each command begins with `cargo test \
         --release --test chaos -- --full --seed {}`.\n\n\
         | row | command | fault | what has to be seen | what was seen | | when, where |\n|---|---|---|---|---|---|---|\n",
        commit(),
        args.seed,
        said("uname", &["-srm"]),
        outcomes.len(),
        took.as_secs().div_ceil(60),
        args.jobs,
        args.seed,
    );
    let mut outcomes: Vec<&Outcome> = outcomes.iter().collect();
    outcomes.sort_by_key(|outcome| outcome.row.id);
    let lines = outcomes.iter().map(|outcome| {
        let (row, result) = (outcome.row, if outcome.passed() { "ok" } else { "**NOT REACHED**" });
        let figures = outcome.figures().replace(['|', '\n'], " ");
        let (id, fault, seen) = (row.id, row.fault, row.seen);
        let again = if args.is_choice() { ", played again" } else { "" };
        let when = format!("{date}, {}, {machine}{again}", commit());
        format!("| {id} | `--row {id}` | {fault} | {seen} | {figures} | {result} | {when} |\n")
    });
    let lines: Vec<String> = lines.collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/RELIABILITY.md");
    if args.is_choice() {
        let record = std::fs::read_to_string(&path).unwrap();
        return std::fs::write(path, with_rows_again(&record, &lines)).unwrap();
    }
    text += &lines.concat();
    text += PROMISES;
    text += AT_RANDOM;
    text += NOT_COVERED;
    std::fs::write(path, text).unwrap();
}

/// The record with these rows in the place of what it said of them.
fn with_rows_again(record: &str, rows: &[String]) -> String {
    let id = |line: &str| line.strip_prefix("| ")?.split_once(" | `--row ").map(|(id, _)| id.to_owned());
    let again = |line: &str| rows.iter().find(|row| id(row).is_some() && id(row) == id(line)).map(String::as_str);
    record.split_inclusive('\n').map(|line| again(line).unwrap_or(line)).collect()
}

const HEAD: &str = "# What confirmd survives, and how that is known

Each row below is one fault, played against the real binary: at least two replicas, a durable Postgres of the row's own,
and, in another process, a Twilio that speaks raw TCP and wires to both that can be slow, silent, cut or held. Callers tell
of logins all the while and keep every answer; messages and events come in both orders, some events name their message
themselves, and what was not acknowledged is told again with the same id.

    cargo test --test chaos                                        the short form, as in every `cargo test`
    cargo test --release --test chaos -- --full --record           every row; writes this file
    cargo test --release --test chaos -- --full --seed S --row F08    one row again; with --record in the place of its line
    cargo test --test chaos -- --bugs                              the rows against faults of our own making

The full form needs root (a small disk in memory for F14) and libfaketime (F16; `apt-get install libfaketime`).

Times are scaled in proportion: a lease of 2 s, requests of at most 400 ms, a first backoff of 50 ms.

## The laws

Three ledgers are compared at the end of each row: **C**, what callers sent and were answered; **D**, what stands in
Postgres; **T**, what Twilio heard and said, in a file that is only appended to. Meanwhile the query of `confirmd audit` is
asked up to twenty times a second.

| law | | when it is broken |
|---|---|---|
";
