//! `confirmd bench`: how fast it is, what it costs, and beside what; measured on the machine at hand.
//!
//! ```text
//!  callers ──▶ confirmd ──▶ sink        each a process of its own, this binary told to be something else
//!  (load)     or obvious    (sink)
//!                 │
//!              Postgres                 its own, durable, gone afterwards
//! ```
//!
//! Every figure is the median of interleaved runs with the least and the greatest, and every comparison is a ratio within
//! one run: what the machine does beside moves the figures two or three times, and the ratios little. Processor time
//! is what the operating system says of service and Postgres.
//!
//! # What was tried and lost
//!
//! *One transaction of seven statements for every batch*, as all commands still take that find something unusual: 108 µs
//! of Postgres an event at 256 callers, against 28 for one statement that takes what is usual. *Commits beside each
//! other*, four at once: 8.5 k events a second at 16 callers and 22.6 k at 256, against 15.1 k and 26.1 k one after the
//! other; a commit that is stuck still keeps nobody waiting for longer than 10 ms. *Plans as Postgres sees fit*: it plans
//! statements over columns anew each time, 1.8 ms a batch of those seven. *A statement that names each value in a CTE,
//! counts with a window and evaluates every check of its tables*: 67 µs an event instead of 42 in batches of four. *To
//! lock a message before it is updated*: a quarter more for each event of a batch of four. *A table of its own for what
//! is owed*, insert-only, instead of an update of the message: 4 µs less an event, but one more index to keep in memory
//! with a long history. *A claim for each place that becomes free*: 72 µs a row; lanes own eight leases for each place
//! instead, and claim half of them at once: 9 µs. *Claims without row locks, or by the rows' places*: no difference.
//! *Settling whatever has gathered at once*: 59 µs a row in commits of 32, 8 µs in commits of the 200 that gather in 5
//! ms. *Gathering for 20 ms, and 16 leases for each place*: no difference. *An audit of all that is owed, every minute,
//! compiled as it seems costly*: as much as the delivery itself, with a backlog of 100,000. *Middleware made of
//! functions*: 10 µs of the service's 40 a request went into copies of what it surrounds. *glibc's allocator*: a fifth of
//! the service's time. *A URL read as a whole for each request*: a tenth of the worker's. *Huge pages*: 73 MB at the peak
//! instead of 46.
//!
//! These were measured once or twice each, on two cores that did other work at times.

mod burst;
mod drain;
mod history;
mod hold;
mod ids;
mod intake;
mod load;
mod obvious;
mod os;
mod overload;
mod part;
mod past;
mod peers;
mod plan;
mod rig;
mod runs;
mod service;
mod sink;
mod soak;
mod stats;
mod stuck;
mod table;
mod whole;
mod wire;

use std::io;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use self::burst::Bench;
use self::part::Part;
use self::plan::Plan;
use self::table::Table;

/// What to measure.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    internal: Option<Internal>,
    /// A first impression within two minutes: shorter runs, and neither stuck reader nor history unless named by --only
    #[arg(long)]
    quick: bool,
    /// Also measure other job queues over Postgres (needs cargo and confirmd's source; those in Node need npm)
    #[arg(long)]
    peers: bool,
    /// Measure these rounds only
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Round>,
    /// Instead: 5,000 events a second for so long, and how each minute was
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with_all = ["quick", "peers", "only"])]
    soak: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Internal {
    /// A part of a run
    #[command(hide = true, subcommand)]
    Part(Part),
}

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Round {
    Intake,
    Batch,
    Drain,
    Whole,
    Stuck,
    History,
    Peers,
    /// Twilio hangs, a caller floods, connections are held: what others notice. Needs 11,000 open files. Only by name
    Overload,
}

impl Round {
    async fn run(self, bench: &mut Bench) -> anyhow::Result<Vec<table::Figure>> {
        match self {
            Self::Intake => intake::round(bench).await,
            Self::Batch => intake::batches(bench).await,
            Self::Drain => drain::round(bench).await,
            Self::Whole => whole::round(bench).await,
            Self::Stuck => stuck::round(bench).await,
            Self::History => history::round(bench).await,
            Self::Peers => peers::round(bench).await,
            Self::Overload => overload::round(bench).await,
        }
    }
}

/// Measures, and prints the table.
///
/// # Errors
/// Where there is no Postgres on this machine, or a part of a run fails; the text says which.
pub async fn run(args: BenchArgs) -> anyhow::Result<()> {
    if let Some(Internal::Part(part)) = args.internal {
        return part.run().await;
    }
    let mut rounds = args.only.clone();
    if rounds.is_empty() {
        rounds = [Round::Intake, Round::Batch, Round::Drain, Round::Whole].into();
        if !args.quick {
            rounds.extend([Round::Stuck, Round::History]);
        }
    }
    if args.peers && !rounds.contains(&Round::Peers) {
        rounds.push(Round::Peers);
    }
    let plan = if args.quick { Plan::quick() } else { Plan::whole() };
    let mut bench = Bench::start(plan).await?;
    let done = match args.soak {
        Some(during) => soak::run(&mut bench, during).await,
        None => measure(&mut bench, &rounds, args.json).await,
    };
    bench.end().await?;
    done
}

async fn measure(bench: &mut Bench, rounds: &[Round], json: bool) -> anyhow::Result<()> {
    let postgres = bench.rig.empty_database("postgres").await?.version().await?;
    let mut figures = Vec::new();
    let mut failed = None;
    for round in rounds {
        match round.run(bench).await {
            Ok(measured) => figures.extend(measured),
            // What was measured before is worth showing.
            Err(error) => {
                bench.missing.push(format!("this and the following rounds: {round:?}, which failed: {error:#}"));
                failed = Some(error);
                break;
            }
        }
    }
    let plan = &bench.plan;
    let table = Table {
        version: env!("CARGO_PKG_VERSION"),
        machine: os::machine(),
        postgres,
        settings: format!(
            "{} of each; fsync and synchronous_commit on, {} MB of shared buffers; history of {} messages and {} dead letters",
            plan.runs,
            rig::shared_buffers(),
            plan.history,
            plan.dead_letters
        ),
        took_seconds: bench.elapsed().as_secs_f64(),
        figures,
        missing: bench.missing.clone(),
    };
    bench.tell("");
    if json {
        serde_json::to_writer_pretty(io::stdout(), &table)?;
        println!();
    } else {
        table.write(&mut io::stdout())?;
    }
    failed.map_or(Ok(()), Err)
}
