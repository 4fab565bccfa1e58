//! Postgres job queues in Rust, each draining the same backlog: every job POSTs to a sink, and is then durably completed.
//!
//! What is printed, and when, is agreed with `confirmd bench --peers`: see the README beside `Cargo.toml`. The modules:

mod drain; // what a peer is asked to do, and how it is watched
mod sink; // the one request of every job
mod graphile; // graphile_worker
mod apalis; // apalis-postgres

use std::io::stderr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

use apalis::Apalis;
use drain::{Backlog, Drain};
use graphile::Graphile;
use sink::Sink;

/// Of each peer to Postgres: more than one ever uses at once.
const CONNECTIONS: u32 = 10;

/// Drains a backlog through a Postgres job queue, and says how long that took.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  confirmd-peers graphile_worker --database-url postgres://localhost/empty --sink http://127.0.0.1:9000 --jobs 20000 --concurrency 64\n\nPrints {\"ready\": true} when the backlog is there, and starts when it reads a line."
)]
struct Cli {
    peer: Peer,
    /// An empty database, for this run alone
    #[arg(long)]
    database_url: String,
    /// Where the jobs POST to, without a path
    #[arg(long)]
    sink: String,
    /// How many jobs
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    jobs: u32,
    /// How many jobs are in flight at once
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Peer {
    #[value(name = "graphile_worker")]
    GraphileWorker,
    Apalis,
}

impl Peer {
    /// As on the command line.
    const fn name(self) -> &'static str {
        match self {
            Self::GraphileWorker => "graphile_worker",
            Self::Apalis => "apalis",
        }
    }

    /// The crate that is measured.
    const fn package(self) -> &'static str {
        match self {
            Self::GraphileWorker => "graphile_worker",
            Self::Apalis => "apalis-postgres",
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::WARN).with_writer(stderr).init();
    match run(&cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("confirmd-peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    let version = locked_version(cli.peer.package())?;
    let concurrency = usize::from(cli.concurrency);
    let drain = Drain::new(Sink::new(&cli.sink, concurrency)?, u64::from(cli.jobs), concurrency);
    let took = match cli.peer {
        Peer::GraphileWorker => time(Graphile::enqueue(&cli.database_url, drain.clone()), &drain).await?,
        Peer::Apalis => time(Apalis::enqueue(&cli.database_url, drain.clone()), &drain).await?,
    };
    let seconds = took.as_secs_f64();
    let result = json!({
        "peer": cli.peer.name(),
        "version": version,
        "jobs": cli.jobs,
        "concurrency": cli.concurrency,
        "seconds": seconds,
        "jobs_per_second": f64::from(cli.jobs) / seconds,
    });
    println!("{result}");
    Ok(())
}

async fn time<B: Backlog>(enqueue: impl Future<Output = anyhow::Result<B>>, drain: &Drain) -> anyhow::Result<Duration> {
    let backlog = enqueue.await.context("cannot enqueue the backlog")?;
    start().await?;
    drain.time(backlog).await.context("cannot drain the backlog")
}

/// Says that the backlog is there, and waits for the starting signal.
async fn start() -> anyhow::Result<()> {
    println!("{}", json!({"ready": true}));
    let line = BufReader::new(stdin()).lines().next_line().await.context("cannot read the starting signal")?;
    line.map(drop).context("standard input ended before the starting signal")
}

/// The version that was built in: the peers' crates do not tell it themselves.
fn locked_version(package: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let lock: Lock = toml::from_str(include_str!("../Cargo.lock")).context("cannot read Cargo.lock")?;
    let found = lock.package.into_iter().find(|locked| locked.name == package);
    found.map(|locked| locked.version).with_context(|| format!("{package} is not in Cargo.lock"))
}
