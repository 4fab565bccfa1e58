//! confirmd among failing machines: one row a fault, each with three ledgers that have to agree in the end.
//!
//! ```text
//! callers ──▶ replicas of confirmd ──wire──▶ Postgres            what callers were told   C
//!                      └──────────────wire──▶ Twilio             what stands in Postgres  D
//!                                                                what Twilio heard        T
//! ```
//!
//! confirmd is the real binary; the Postgres is durable and the row's own; Twilio and the wires are another process.
//! After each row C, D and T are compared by the laws of `harness/checker.rs`; while it runs, `confirmd audit`'s query is.
//!
//! ```text
//! cargo test --test chaos                                       the short form, as in every `cargo test`
//! cargo test --release --test chaos -- --full --record          every row; writes deploy/RELIABILITY.md
//! cargo test --release --test chaos -- --full --row F08 --seed 7    one row, as it was with that seed
//! cargo test --test chaos -- --bugs                             the rows against faults of our own making
//! ```

#![allow(clippy::unwrap_used, reason = "a row that cannot go on should fail at that line")]

mod args; // what to run
mod bugs; // faults of our own making, each of which a row has to find
mod elsewhere; // what the record says beside its table
mod harness; // what rows are made of
mod outside; // Twilio and the wires, in a process of their own
mod record; // deploy/RELIABILITY.md
mod rows; // the faults

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream;

use crate::args::Args;
use crate::harness::run::Run;
use crate::record::Outcome;
use crate::rows::Row;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, account_sid, authorization, seed, folder] = &words[..]
        && mode == "outside"
    {
        let seed = seed.parse().unwrap();
        let outside = outside::run(Path::new(folder), account_sid.clone(), authorization.clone(), seed);
        tokio::task::LocalSet::new().block_on(&runtime, outside);
        return ExitCode::SUCCESS;
    }
    match Args::read(&words) {
        Ok(args) if args.list => {
            rows::ROWS.iter().for_each(|row| println!("{}: test", row.id));
            ExitCode::SUCCESS
        }
        Ok(args) if args.bugs => runtime.block_on(find_bugs(&args)),
        Ok(args) => runtime.block_on(run(args)),
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::from(64)
        }
    }
}

async fn run(args: Args) -> ExitCode {
    let begun = Instant::now();
    let chosen = args.chosen();
    println!("\nrunning {} tests", chosen.len());
    println!("chaos: form {:?}, seed {}, commit {}", args.form, args.seed, record::commit());
    let binary = Path::new(env!("CARGO_BIN_EXE_confirmd"));
    let run = Arc::new(Run::begin(args.form, args.seed, args.soak, binary.to_owned()).await);
    let total = chosen.len();
    let play = |(at, row): (usize, &'static Row)| {
        let run = run.clone();
        async move {
            let began = Instant::now();
            let ended = tokio::spawn((row.run)(run)).await;
            let outcome = Outcome::of(row, ended, began.elapsed());
            outcome.tell(at + 1, total, begun.elapsed());
            outcome
        }
    };
    // Moments cannot be told while other rows burden the machine.
    let (alone, beside): (Vec<_>, Vec<_>) =
        chosen.into_iter().enumerate().partition(|(_, row)| row.is_alone(args.form));
    let mut outcomes: Vec<Outcome> = stream::iter(beside).map(play).buffer_unordered(args.jobs).collect().await;
    for row in alone {
        outcomes.push(play(row).await);
    }
    // Who asks for a row wants to see its figures.
    if args.is_choice() {
        outcomes.iter().filter(|outcome| outcome.passed()).for_each(Outcome::tell_story);
    }
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.passed()).collect();
    for outcome in &failed {
        outcome.tell_story();
        println!("replay: {}", args.replay(outcome.row.id));
    }
    if args.record {
        record::write(&args, &outcomes, begun.elapsed()).await;
    }
    tell_result(outcomes.len() - failed.len(), failed.len(), begun)
}

async fn find_bugs(args: &Args) -> ExitCode {
    let begun = Instant::now();
    let (found, missed) = bugs::find(args).await;
    tell_result(found, missed, begun)
}

/// The line that cargo's readers count.
fn tell_result(passed: usize, failed: usize, begun: Instant) -> ExitCode {
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in \
         {:.2}s\n",
        begun.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
