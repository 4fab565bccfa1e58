//! `confirmd dev`: first contact. One command, and everything runs: a Postgres, a simulated Twilio, the service.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::cli::Failure;
use crate::config::{Config, Environment, LogFormat, Role};
use crate::operate::token;
use crate::postgres::{EmbeddedOptions, EmbeddedPostgres};
use crate::store;
use crate::telemetry;
use crate::twilio::sim::{LedgerEntry, SimulatedAccount, Simulator, SimulatorOptions, UnknownMessages};

/// The database in the embedded Postgres.
const DATABASE: &str = "confirmd";
/// The account that the simulator serves.
const ACCOUNT_SID: &str = "AC00000000000000000000000000000de5";
/// For a `DATABASE_URL` that is in a container, say, and not on loopback: the one key of the configuration that is heard.
const ALLOW_INSECURE: &str = "CONFIRMD_DATABASE__ALLOW_INSECURE";
const FILTER: &str = "warn,confirmd=info";

/// Runs until told to stop.
///
/// # Errors
/// Where something that is needed is missing; the text says what, and how it is had.
pub async fn run(listen: SocketAddr, data: &Path, stop: CancellationToken) -> Result<(), Failure> {
    telemetry::init_logs(LogFormat::Auto, FILTER).map_err(|error| Failure::Usage(error.to_string()))?;
    let environment = Environment::of_process();
    std::fs::create_dir_all(data).with_context(|| format!("cannot make the folder {}", data.display()))?;
    let token = kept_token(data)?;
    let (postgres, url) = database(&environment, data).await?;
    let (auth_token, _) = token::generate();
    let simulator = simulator(auth_token.clone()).await?;
    let insecure = environment.get(ALLOW_INSECURE);
    let config = config(listen, &url, insecure, &token, &auth_token, &simulator);
    let done = serve(config, &token, &simulator, stop).await;
    simulator.stop().await;
    if let Some(postgres) = postgres {
        let stopped = tokio::task::spawn_blocking(|| postgres.stop()).await.context("stopping Postgres panicked")?;
        stopped.context("cannot stop Postgres")?;
    }
    done
}

async fn serve(
    config: Result<Config, Failure>,
    token: &SecretString,
    simulator: &Simulator,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let config = config?;
    let url = config.database.url.expose_secret();
    let connect = store::connect_options(url).map_err(|fault| Failure::Usage(format!("DATABASE_URL {fault}")))?;
    store::migrate(&connect).await?;
    let listen = config.server.listen;
    let app = App::new(config, Role::All, telemetry::metrics_recorder()).await?;
    let at = app.addresses().first().copied().unwrap_or(listen);
    welcome(at, token, simulator)?;
    let deliveries = tokio::spawn(show_deliveries(simulator.subscribe()));
    app.run(stop).await;
    deliveries.abort();
    Ok(())
}

/// `DATABASE_URL` if it is set, else an embedded Postgres.
async fn database(environment: &Environment, data: &Path) -> Result<(Option<EmbeddedPostgres>, String), Failure> {
    if let Some(url) = environment.get("DATABASE_URL") {
        return Ok((None, url.to_owned()));
    }
    eprintln!("Starting Postgres, with its data in {} …", data.display());
    let options = EmbeddedOptions::lasting(data.join("postgres"));
    let started = tokio::task::spawn_blocking(move || EmbeddedPostgres::start(options)).await;
    let postgres = started.context("starting Postgres panicked")?.map_err(anyhow::Error::from)?;
    postgres.create_database_if_absent(DATABASE).await.map_err(anyhow::Error::from)?;
    let url = postgres.url(DATABASE);
    Ok((Some(postgres), url))
}

async fn simulator(auth_token: SecretString) -> Result<Simulator, Failure> {
    let account_sid = ACCOUNT_SID.to_owned().try_into().expect("it has the shape of one");
    let options = SimulatorOptions {
        accounts: vec![SimulatedAccount { account_sid, auth_token, api_keys: Vec::new() }],
        // Yesterday's messages were sent by yesterday's simulator.
        unknown_messages: UnknownMessages::Accept,
        ..SimulatorOptions::default()
    };
    Ok(Simulator::start(options).await.context("cannot start the simulated Twilio")?)
}

fn config(
    listen: SocketAddr,
    url: &str,
    insecure: Option<&str>,
    token: &SecretString,
    auth_token: &SecretString,
    simulator: &Simulator,
) -> Result<Config, Failure> {
    let digest: String = token::digest(token.expose_secret()).iter().map(|byte| format!("{byte:02x}")).collect();
    let file = format!(
        "[server]\nlisten = \"{listen}\"\ndrain_delay = \"0s\"\n\n[[callers]]\nname = \"dev\"\nnamespace = \"default\"\n\
         scopes = [\"ingest\", \"read\", \"operate\"]\ntokens_sha256 = [\"{digest}\"]\n"
    );
    let variables = [
        ("DATABASE_URL", url.to_owned()),
        ("TWILIO_ACCOUNT_SID", ACCOUNT_SID.to_owned()),
        ("TWILIO_AUTH_TOKEN", auth_token.expose_secret().to_owned()),
        ("TWILIO_BASE_URL", simulator.base_url()),
    ];
    let insecure = insecure.map(|told| (ALLOW_INSECURE, told.to_owned()));
    let environment: Environment = variables.into_iter().chain(insecure).collect();
    Ok(Config::from_layers(Some(("confirmd dev", &file)), &environment, Role::All)?)
}

/// One token for as long as the data is kept, so that yesterday's scripts work today.
fn kept_token(data: &Path) -> Result<SecretString, Failure> {
    let path = data.join("token");
    match std::fs::read_to_string(&path) {
        Ok(token) if token.trim().starts_with(token::PREFIX) => return Ok(SecretString::from(token.trim())),
        Ok(_) => return Err(anyhow::anyhow!("{} holds no token; remove it", path.display()).into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(anyhow::Error::new(error).context(format!("cannot read {}", path.display())).into()),
    }
    let (token, _) = token::generate();
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| writeln!(file, "{}", token.expose_secret()));
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(token)
}

/// Three lines that work as they stand.
fn welcome(at: SocketAddr, token: &SecretString, simulator: &Simulator) -> io::Result<()> {
    let run: u32 = rand::random();
    let sid: u128 = rand::random();
    let curl = format!("curl -sS -H 'Authorization: Bearer {}'", token.expose_secret());
    let json = "-H 'Content-Type: application/json'";
    let mut out = io::stdout();
    writeln!(
        out,
        "\nconfirmd is at http://{at}, its reference at http://{at}/docs, a simulated Twilio at {}.\n\
         Three lines to try, as they stand. Ctrl-C stops everything; the data is kept.\n\n\
         1. Your service has sent a code by Twilio: tell confirmd which message it was.\n\n   \
         {curl} {json} http://{at}/v1/messages -d '{{\"action_id\": \"login-{run:08x}\", \"message_sid\": \"SM{sid:032x}\"}}'\n\n\
         2. The user has entered the code.\n\n   \
         {curl} {json} http://{at}/v1/events -d '{{\"event_id\": \"event-{run:08x}\", \"type\": \"otp.completed\", \"action_id\": \"login-{run:08x}\"}}'\n\n\
         3. What became of it?\n\n   \
         {curl} http://{at}/v1/events/event-{run:08x}\n\n\
         Deliveries, as they happen:",
        simulator.base_url()
    )?;
    out.flush()
}

/// A line for each request that the simulated Twilio answers.
async fn show_deliveries(mut answered: Receiver<LedgerEntry>) {
    loop {
        match answered.recv().await {
            Ok(entry) => show(&entry),
            Err(RecvError::Lagged(missed)) => println!("… and {missed} more"),
            Err(RecvError::Closed) => return,
        }
    }
}

fn show(entry: &LedgerEntry) {
    let (at, method, path) = (entry.at.format("%T%.3f"), &entry.method, &entry.path);
    println!("{at}  {method} {path}  {}  {}", entry.body.as_deref().unwrap_or_default(), entry.answer);
}
