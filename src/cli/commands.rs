//! What each command does.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{
    ByArgs, CheckArgs, ConfigArgs, DeadLetters, DevArgs, Failure, FilterArgs, Lanes, MigrateArgs, OperationsArgs,
    ServeArgs, TraceArgs,
};
use crate::app::{self, App};
use crate::config::{self, Config, Environment, Role};
use crate::dev;
use crate::domain::{AccountSid, Actor, ActorName, Malformed, Namespace, Via};
use crate::operate::{self, check::Finding};
use crate::store::{self, BULK, Clock, LetterFilter, SchemaVersions, Store, is_confirmed};
use crate::telemetry;
use crate::twilio::sim::{SimulatedAccount, Simulator, SimulatorArgs};

pub(super) async fn dev(args: DevArgs) -> Result<(), Failure> {
    dev::run(args.listen, &args.data, until_signalled()?).await
}

pub(super) async fn serve(args: ServeArgs) -> Result<(), Failure> {
    let config = load(&args.config, args.role)?;
    telemetry::init_logs(config.log.format, &config.log.filter).map_err(|error| Failure::Usage(error.to_string()))?;
    let stop = until_signalled()?;
    // Heard from the start: nobody who reloads too early ends the process by it.
    let hangup = signal(SignalKind::hangup())?;
    // Whoever is told to stop while it still waits for Postgres has nothing to finish.
    match stop.run_until_cancelled(start(config, &args)).await {
        Some(app) => {
            let app = app?;
            let (path, role) = (args.config.config, args.role);
            let load = move || Config::load(path.as_deref(), &Environment::of_process(), role);
            let reloading = tokio::spawn(app::reload_on(hangup, app.reloader(), load));
            app.run(stop).await;
            reloading.abort();
        }
        None => tracing::info!("Stopped before it began"),
    }
    if let Err(panic) = tokio::task::spawn_blocking(telemetry::finish_traces).await {
        tracing::warn!(%panic, "Could not send the last spans");
    }
    Ok(())
}

async fn start(config: Config, args: &ServeArgs) -> Result<App, Failure> {
    let connect = connect(&config)?;
    store::sessions_are_our_own(&connect).await?;
    if args.migrate {
        let applied = store::migrate(&connect).await?;
        tracing::info!(?applied, "The schema is up to date");
    }
    let SchemaVersions { pending, newer } = store::schema_versions(&connect).await?;
    if !newer.is_empty() {
        tracing::info!(?newer, "The schema is newer than this binary; migrations only add, and it goes on as before");
    }
    if !pending.is_empty() {
        return Err(anyhow::anyhow!("the schema lacks migrations {pending:?}; run `confirmd migrate`").into());
    }
    let metrics = telemetry::metrics_recorder();
    tokio::spawn(telemetry::tidy_metrics(metrics.clone()));
    let told = |account: &config::Account| (account.account_sid.clone(), account.name.clone(), account.shadow);
    let lanes: Vec<_> = config.accounts.iter().filter(|_| args.role.delivers()).map(told).collect();
    let app = App::new(config, args.role, metrics).await?;
    operate::shadow::tell(app.store(), &lanes).await?;
    tracing::info!(addresses = ?app.addresses(), role = ?args.role, version = env!("CARGO_PKG_VERSION"), "Ready");
    Ok(app)
}

pub(super) async fn migrate(args: MigrateArgs) -> Result<(), Failure> {
    let connect = connect(&load(&args.config, Role::Operator)?)?;
    if args.check || args.dry_run {
        let newer = store::schema_versions(&connect).await?.newer;
        let pending = store::pending_statements(&connect).await?;
        operate::migrations::write(&pending, &newer, args.dry_run, &mut io::stdout())?;
        return match (pending.len(), args.check) {
            (0, _) | (_, false) => Ok(()),
            (some, true) => Err(Failure::Found(format!("{some} migration(s) are pending; run `confirmd migrate`"))),
        };
    }
    store::sessions_are_our_own(&connect).await?;
    let applied = store::migrate(&connect).await?;
    if applied.is_empty() {
        println!("the schema is up to date");
    } else {
        println!("applied migrations {applied:?}; the schema is up to date");
    }
    Ok(())
}

pub(super) async fn check(args: CheckArgs) -> Result<(), Failure> {
    let config = load(&args.config, if args.live { Role::Operator } else { Role::All })?;
    let mut findings: Vec<Finding> = Vec::new();
    if args.live {
        let listen = config.server.operations_listen.unwrap_or(config.server.listen);
        findings.push(operate::check::live(listen));
    } else {
        findings.push(Ok("configuration: makes sense".to_owned()));
        findings.extend(operate::check::database(&config).await);
        let twilio = app::twilio(&config)?;
        for (told, account) in config.accounts.iter().zip(app::accounts(&config)) {
            findings.extend(operate::check::account(&twilio, told.name.as_str(), &account).await);
        }
    }
    let mut wrong = Vec::new();
    for finding in findings {
        match finding {
            Ok(right) => println!("ok    {right}"),
            Err(fault) => {
                println!("WRONG {fault}");
                wrong.push(fault);
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("{} of these are wrong", wrong.len()).into()) }
}

pub(super) async fn audit(args: ConfigArgs) -> Result<(), Failure> {
    let audit = open(&args)?.upkeep.audit().await?;
    operate::audit::write(&audit, &mut io::stdout())?;
    match audit.drift.total() {
        0 => Ok(()),
        drift => {
            Err(Failure::Found(format!("the conservation law does not hold: {drift} thing(s) are not accounted for")))
        }
    }
}

pub(super) async fn trace(args: TraceArgs) -> Result<(), Failure> {
    let namespace = Namespace::try_from(args.namespace).map_err(|fault| usage("--namespace", fault))?;
    let story = operate::trace::find(&open(&args.config)?.ledger, &namespace, &args.name).await?;
    if story.is_empty() {
        let name = args.name.escape_debug();
        return Err(Failure::Found(format!("nothing is known of {name} in the namespace {namespace}")));
    }
    Ok(story.write(&mut io::stdout())?)
}

pub(super) async fn dead_letters(command: DeadLetters) -> Result<(), Failure> {
    match command {
        DeadLetters::List { filter, limit, config } => {
            let (store, filter) = (open(&config)?, letter_filter(filter)?);
            let page = store.ledger.dead_letters(&filter, limit, None).await?;
            operate::dead_letters::write(&page.items, &mut io::stdout())?;
            let all = store.operator.count(&filter).await?;
            eprintln!("{} of {all} dead letters", page.items.len());
        }
        DeadLetters::Replay { filter, rate, limit, yes, confirm, by, config } => {
            let (store, filter) = (open(&config)?, letter_filter(filter)?);
            let operator = store.operator.by(actor(by)?);
            let matched = operator.count(&filter).await?;
            let number = matched.min(limit);
            if !yes && confirm.is_none() {
                let how = if number <= BULK { "--yes".to_owned() } else { format!("--confirm {number}") };
                println!("{matched} dead letters match; with {how}, {number} would be brought back, {rate} a second");
                return Ok(());
            }
            if !is_confirmed(number, confirm) {
                let told =
                    format!("{number} dead letters would be brought back: look at them, and say --confirm {number}");
                return Err(Failure::Usage(told));
            }
            // More may die meanwhile, and nobody has looked at those.
            let stop = until_signalled()?;
            let replay = operate::dead_letters::replay(&operator, &filter, rate, number, &stop).await?;
            println!("{} of {} dead letters brought back, to be sent {rate} a second", replay.replayed, replay.matched);
            if replay.replayed < number && stop.is_cancelled() {
                return Err(anyhow::anyhow!("stopped; the same again brings the rest back").into());
            }
        }
    }
    Ok(())
}

pub(super) async fn lanes(command: Lanes) -> Result<(), Failure> {
    let lanes = match command {
        Lanes::List { config } => open(&config)?.ledger.lanes().await?,
        Lanes::Pause { account, reason, by, config } => {
            vec![open(&config)?.operator.by(actor(by)?).pause(&account_sid(account)?, &reason).await?]
        }
        Lanes::Resume { account, by, config } => {
            vec![open(&config)?.operator.by(actor(by)?).resume(&account_sid(account)?).await?]
        }
    };
    Ok(operate::lanes::write(&lanes, &mut io::stdout())?)
}

pub(super) async fn operations(args: OperationsArgs) -> Result<(), Failure> {
    let operations = open(&args.config)?.ledger.operations(args.limit).await?;
    Ok(operate::operations::write(&operations, &mut io::stdout())?)
}

fn actor(ByArgs { by }: ByArgs) -> Result<Actor, Failure> {
    let name = ActorName::try_from(by).map_err(|fault| usage("--by (or USER)", fault))?;
    Ok(Actor { name, via: Via::CommandLine })
}

pub(super) async fn twilio_sim(args: SimulatorArgs) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let account = match ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"].map(|name| environment.get(name)) {
        [Some(account_sid), Some(auth_token)] => SimulatedAccount {
            account_sid: AccountSid::try_from(account_sid.to_owned())
                .map_err(|fault| usage("TWILIO_ACCOUNT_SID", fault))?,
            auth_token: SecretString::from(auth_token),
            api_keys: Vec::new(),
        },
        _ => {
            let told = "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN must both be set: whose account is it?";
            return Err(Failure::Usage(told.to_owned()));
        }
    };
    let stop = until_signalled()?;
    let listen = args.listen;
    let simulator =
        Simulator::start(args.options(account)).await.with_context(|| format!("cannot listen on {listen}"))?;
    println!(
        "a simulated Twilio at {}; what it heard is at {}/_sim/ledger",
        simulator.base_url(),
        simulator.base_url()
    );
    io::stdout().flush()?;
    stop.cancelled().await;
    simulator.stop().await;
    Ok(())
}

pub(super) fn explain() -> Result<(), Failure> {
    Ok(operate::explain::write(&mut io::stdout())?)
}

pub(super) fn token_new() -> Result<(), Failure> {
    Ok(operate::token::new(&mut io::stdout())?)
}

/// Cancelled by the first SIGTERM or SIGINT; the second ends the process at once.
pub(super) fn until_signalled() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = stop.clone();
    tokio::spawn(async move {
        for time in ["first", "second"] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("Got the {time} signal to stop");
            told.cancel();
        }
        telemetry::flush_logs();
        std::process::exit(130);
    });
    Ok(stop)
}

pub(super) fn load(args: &ConfigArgs, role: Role) -> Result<Config, Failure> {
    let path: Option<&Path> = args.config.as_deref();
    Ok(Config::load(path, &Environment::of_process(), role)?)
}

fn connect(config: &Config) -> Result<sqlx::postgres::PgConnectOptions, Failure> {
    let fault = |fault| Failure::TryLater(anyhow::anyhow!("database.url {fault}"));
    store::connect_options(config.database.url.expose_secret()).map_err(fault)
}

/// The store, for a command that needs nothing else. Nobody's login waits for it, so it may take its time.
pub(super) fn open(args: &ConfigArgs) -> Result<Store, Failure> {
    let mut config = load(args, Role::Operator)?;
    config.database.statement_timeout = PATIENCE;
    Ok(app::store(&config, Clock::default())?)
}

/// How long a statement of an operator's command may take: an audit reads all there is.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

fn letter_filter(args: FilterArgs) -> Result<LetterFilter, Failure> {
    fn read<T: TryFrom<String, Error = Malformed>>(name: &str, text: Option<String>) -> Result<Option<T>, Failure> {
        text.map(T::try_from).transpose().map_err(|fault| usage(name, fault))
    }
    Ok(LetterFilter {
        namespace: read("--namespace", args.namespace)?,
        reason: read("--reason", args.reason)?,
        account_sid: read("--account", args.account)?,
        message_sid: read("--message", args.message)?,
        event_id: None,
        since: args.span.since,
        until: args.span.until,
    })
}

fn account_sid(text: String) -> Result<AccountSid, Failure> {
    AccountSid::try_from(text).map_err(|fault| usage("the account", fault))
}

pub(super) fn usage(name: &str, fault: Malformed) -> Failure {
    Failure::Usage(format!("{name} {fault}"))
}
