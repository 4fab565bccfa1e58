//! The command line: what can be asked, with an example for each, and which exit code answers.
//!
//! Exit codes are those of sysexits: 64 usage, 75 try again later, 78 configuration; and 1 for drift found by `audit`.

mod commands;
mod repair;

use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};

use crate::bench::{self, BenchArgs};
use crate::config::{ConfigError, Role};
use crate::operate::export::Whole;
use crate::operate::import::Format;
use crate::store::StoreError;
use crate::twilio::sim::SimulatorArgs;

/// Tells Twilio which one-time passwords worked.
#[derive(Debug, Parser)]
#[command(
    name = "confirmd",
    version,
    about,
    after_help = "First contact, with nothing else installed:\n  confirmd dev"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: a Postgres, a simulated Twilio, the service
    #[command(
        after_help = "Example:\n  confirmd dev\n  DATABASE_URL=postgres://localhost/mine confirmd dev --listen 127.0.0.1:9000"
    )]
    Dev(DevArgs),
    /// Run the service
    #[command(
        after_help = "Example:\n  confirmd serve --config /etc/confirmd.toml\n  confirmd serve --role worker\n\nAnswers SIGTERM by stopping in order, within server.drain_deadline; a second signal ends at once.\nAnswers SIGHUP by reading the configuration again: callers, credentials and limits of accounts and the log's filter\nare taken over; whatever else changed is named and waits for a restart. Replace the file in one move (mv)."
    )]
    Serve(ServeArgs),
    /// Bring the database's schema up to date
    #[command(
        after_help = "Example:\n  DATABASE_URL=postgres://confirmd_migrate@db/confirmd confirmd migrate\n  confirmd migrate --check      (exits with 1 if something is pending)\n  confirmd migrate --dry-run    (prints the SQL that would run)\n\nSafe to run beside a running service, twice, and by several at once."
    )]
    Migrate(MigrateArgs),
    /// Look for everything that is wrong with configuration, database and credentials, in one go
    #[command(
        after_help = "Example:\n  confirmd check --config /etc/confirmd.toml\n  confirmd check --live    (a container's health check: does the process on this machine answer?)"
    )]
    Check(CheckArgs),
    /// Prove that nothing accepted is lost; exits with 1 if something is
    #[command(after_help = "Example:\n  confirmd audit --config /etc/confirmd.toml")]
    Audit(ConfigArgs),
    /// Tell the story of one message, action or event
    #[command(
        after_help = "Example:\n  confirmd trace SM0123456789abcdef0123456789abcdef\n  confirmd trace login-7f3a --namespace default"
    )]
    Trace(TraceArgs),
    /// List what was given up, and bring it back
    #[command(
        subcommand,
        after_help = "Example:\n  confirmd dead-letters list --reason rejected\n  confirmd dead-letters replay --reason gave_up --rate 50"
    )]
    DeadLetters(DeadLetters),
    /// List what operators did: who replayed, paused or resumed what, and when
    #[command(after_help = "Example:\n  confirmd operations --limit 10")]
    Operations(OperationsArgs),
    /// Take a backlog of past confirmations, as events
    #[command(
        after_help = "Example:\n  confirmd import backlog.csv --dry-run\n  confirmd import backlog.csv --rate 50 > report.ndjson\n  zcat backlog.ndjson.gz | confirmd import -\n\nA line an event, with the members of POST /v1/events: event_id, action_id, message_sid, account_sid, resolve,\noccurred_at. As CSV, the first line names the columns:\n\n  event_id,message_sid,occurred_at\n  otp-1,SM0123456789abcdef0123456789abcdef,2026-11-23T10:00:42Z\n\nThe report on stdout says what came of each line: taken, known (taken before), invalid, idempotency-mismatch or\nmessage-conflict. Cut off, run the same again: what was taken is known, and nothing is taken twice.\nExits with 1 if any line was refused."
    )]
    Import(ImportArgs),
    /// Write confirmations, events or dead letters out
    #[command(
        after_help = "Example:\n  confirmd export confirmations --since 2026-11-01T00:00:00Z --format csv > november.csv\n  confirmd export events --namespace default\n  confirmd export dead-letters --until 2026-11-23T00:00:00Z"
    )]
    Export(ExportArgs),
    /// See how each account's deliveries stand; pause and resume them
    #[command(
        subcommand,
        after_help = "Example:\n  confirmd lanes list\n  confirmd lanes pause AC0123456789abcdef0123456789abcdef --reason 'moving to eu'"
    )]
    Lanes(Lanes),
    /// Run a Twilio to practise on
    TwilioSim(SimulatorArgs),
    /// Print what each answer of Twilio's means
    #[command(after_help = "Example:\n  confirmd explain")]
    Explain,
    /// Measure how fast it is on this machine, what it costs, and beside what
    #[command(after_help = "Example:\n  confirmd bench --quick")]
    Bench(BenchArgs),
    /// Make tokens for callers
    #[command(subcommand, after_help = "Example:\n  confirmd token new")]
    Token(Token),
}

#[derive(Debug, Args)]
struct DevArgs {
    /// Where to listen for callers
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: std::net::SocketAddr,
    /// Where the data is kept
    #[arg(long, value_name = "FOLDER", default_value = ".confirmd")]
    data: PathBuf,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file; what it does not say is taken from the environment and the defaults
    #[arg(long, value_name = "FILE", env = "CONFIRMD_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Which half of the service to run; any number of replicas of each share one database
    #[arg(long, value_enum, default_value_t)]
    role: Role,
    /// Bring the schema up to date first
    #[arg(long)]
    migrate: bool,
}

#[derive(Debug, Args)]
struct MigrateArgs {
    /// Only say whether something is pending
    #[arg(long)]
    check: bool,
    /// Only print what would run
    #[arg(long, conflicts_with = "check")]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only ask whether the service on this machine answers
    #[arg(long)]
    live: bool,
}

#[derive(Debug, Args)]
struct TraceArgs {
    /// A message's SID, or the id of an action or an event
    name: String,
    /// The namespace of the action or event
    #[arg(long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// The file; - for stdin
    file: PathBuf,
    /// Whose events they are
    #[arg(long, default_value = "default")]
    namespace: String,
    /// How the lines are written; told by the file itself, if not here
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Let so many of them become due a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Only say what would come of each line
    #[arg(long)]
    dry_run: bool,
    /// Pass over the lines before this one
    #[arg(long, value_name = "LINE", default_value_t = 1)]
    from_line: u64,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[arg(value_enum)]
    whole: Whole,
    /// Only those of this namespace
    #[arg(long)]
    namespace: Option<String>,
    /// Only dead letters of this reason; those that were shadowed only so
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    span: SpanArgs,
    #[arg(long, value_enum, default_value = "ndjson")]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct ByArgs {
    /// In whose name it is done, for the record
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true, default_value = "operator")]
    by: String,
}

#[derive(Debug, Args)]
struct OperationsArgs {
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct SpanArgs {
    /// At this moment or after it, as in 2026-11-23T10:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<DateTime<Utc>>,
    /// Before this moment
    #[arg(long, value_name = "TIME")]
    until: Option<DateTime<Utc>>,
}

#[derive(Debug, Subcommand)]
enum DeadLetters {
    /// List them, newest first
    #[command(after_help = "Example:\n  confirmd dead-letters list --reason rejected --limit 10")]
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Count what would be brought back; with --yes, bring it back
    #[command(
        after_help = "Example:\n  confirmd dead-letters replay --reason gave_up --rate 50\n  confirmd dead-letters replay --reason gave_up --rate 50 --yes\n  confirmd dead-letters replay --reason expired --since 2026-11-23T10:00:00Z --confirm 1200\n\nCut off, do the same again: nothing is brought back twice, and the rest is still there.\nWhat was done stands in `confirmd operations`."
    )]
    Replay {
        #[command(flatten)]
        filter: FilterArgs,
        /// Make so many of them due a second
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
        /// At most so many
        #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
        limit: u64,
        /// Do it, instead of only counting; for more than 1000, say how many they are with --confirm instead
        #[arg(long)]
        yes: bool,
        /// Do it, if they are exactly so many
        #[arg(long, value_name = "COUNT", conflicts_with = "yes")]
        confirm: Option<u64>,
        #[command(flatten)]
        by: ByArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Args)]
struct FilterArgs {
    /// message_not_found, rejected, gave_up, unverifiable, poison, expired; or shadowed, which is meant only by its name
    #[arg(long)]
    reason: Option<String>,
    /// Only those of this account
    #[arg(long, value_name = "AC…")]
    account: Option<String>,
    /// Only this message
    #[arg(long, value_name = "SM…")]
    message: Option<String>,
    /// Only those of this namespace
    #[arg(long)]
    namespace: Option<String>,
    #[command(flatten)]
    span: SpanArgs,
}

#[derive(Debug, Subcommand)]
enum Lanes {
    /// Show every lane that is configured or has work
    #[command(after_help = "Example:\n  confirmd lanes list")]
    List {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Stop an account's deliveries; their work waits, and no attempt is counted
    #[command(
        after_help = "Example:\n  confirmd lanes pause AC0123456789abcdef0123456789abcdef --reason 'moving to eu'"
    )]
    Pause {
        account: String,
        /// Why, for whoever looks next
        #[arg(long, default_value = "paused at the command line")]
        reason: String,
        #[command(flatten)]
        by: ByArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Let an account's deliveries go on, whoever paused them
    #[command(after_help = "Example:\n  confirmd lanes resume AC0123456789abcdef0123456789abcdef")]
    Resume {
        account: String,
        #[command(flatten)]
        by: ByArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Subcommand)]
enum Token {
    /// Make one: shown once, and its digest for the configuration
    #[command(after_help = "Example:\n  confirmd token new")]
    New,
}

const USAGE: u8 = 64;

/// Why a command ended badly, by what whoever called it can do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was said on the command line makes no sense.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The database that the configuration names is not one that we can work with.
    #[error("database.url: {0}")]
    Database(StoreError),
    /// Something else is not there; the same may work later.
    #[error("{0:#}")]
    TryLater(#[from] anyhow::Error),
    /// The command did its work, and what it found is bad.
    #[error("{0}")]
    Found(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Pooled | StoreError::MayNotMigrate(_) => Self::Database(error),
            // It tells its cause itself.
            error => Self::TryLater(anyhow::anyhow!("{error}")),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::TryLater(error.into())
    }
}

impl Failure {
    /// <https://man.freebsd.org/cgi/man.cgi?query=sysexits>
    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => USAGE,
            Self::Config(_) | Self::Database(_) => 78,
            Self::TryLater(_) => 75,
            Self::Found(_) => 1,
        })
    }
}

impl Cli {
    /// Reads the command line. A wrong one, and one that asks for help, is answered here.
    pub fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|said| {
            let _nobody_listens = said.print();
            if said.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
        })
    }

    /// Does what was asked.
    pub async fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Dev(args) => commands::dev(args).await,
            Command::Serve(args) => commands::serve(args).await,
            Command::Migrate(args) => commands::migrate(args).await,
            Command::Check(args) => commands::check(args).await,
            Command::Audit(args) => commands::audit(args).await,
            Command::Trace(args) => commands::trace(args).await,
            Command::DeadLetters(command) => commands::dead_letters(command).await,
            Command::Lanes(command) => commands::lanes(command).await,
            Command::Operations(args) => commands::operations(args).await,
            Command::Import(args) => repair::import(args).await,
            Command::Export(args) => repair::export(args).await,
            Command::TwilioSim(args) => commands::twilio_sim(args).await,
            Command::Bench(args) => bench::run(args).await.map_err(Failure::from),
            Command::Explain => commands::explain(),
            Command::Token(Token::New) => commands::token_new(),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("confirmd: {failure}");
                failure.exit_code()
            }
        }
    }
}
