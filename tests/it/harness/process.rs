//! The real binary: a service that is started, told to stop, or killed; and commands that run to their end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use confirmd::operate::token;
use confirmd::twilio::sim::{SimulatedAccount, Simulator, SimulatorOptions, UnknownMessages};
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::caller::Caller;
use super::database::{TestDatabase, database, empty_database};
use super::outside::eventually;
use super::world::{TOKEN, account};

/// Longest that a process may take to start, or a command to end. Reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys that open the account beside its token.
pub(crate) const API_KEYS: [(&str, &str); 2] =
    [("SK00000000000000000000000000000001", "secret-1"), ("SK00000000000000000000000000000002", "secret-2")];

/// Where confirmd is deployed: a database, a Twilio to practise on, a configuration.
pub(crate) struct Site {
    pub(crate) twilio: Simulator,
    pub(crate) database: TestDatabase,
    pub(crate) token: String,
    folder: TempDir,
    variables: BTreeMap<String, String>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::over(database().await).await
    }

    /// With a database that nobody has migrated.
    pub(crate) async fn bare() -> Self {
        Self::over(empty_database().await).await
    }

    async fn over(database: TestDatabase) -> Self {
        let served = SimulatedAccount {
            account_sid: account(1),
            auth_token: TOKEN.into(),
            api_keys: API_KEYS.map(|(sid, secret)| (sid.to_owned(), secret.into())).to_vec(),
        };
        let options = SimulatorOptions {
            accounts: vec![served],
            unknown_messages: UnknownMessages::Accept,
            longest_ledger: 100_000,
            ..SimulatorOptions::default()
        };
        let twilio = Simulator::start(options).await.unwrap();
        let (token, digest) = token::generate();
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let file = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\n\n[database]\nallow_insecure = true\n\n\
             [log]\nfilter = \"info\"\nformat = \"json\"\n\n[[callers]]\nname = \"login\"\n\
             scopes = [\"ingest\", \"read\", \"operate\"]\ntokens_sha256 = [\"{digest}\"]\n"
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("confirmd.toml"), file).unwrap();
        let variables = [
            ("DATABASE_URL", database.service_url.clone()),
            ("TWILIO_ACCOUNT_SID", account(1).to_string()),
            ("TWILIO_AUTH_TOKEN", TOKEN.to_owned()),
            ("TWILIO_BASE_URL", twilio.base_url()),
        ];
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { twilio, database, token: token.expose_secret().to_owned(), folder, variables }
    }

    /// Decides a key of the configuration, such as `server.drain_delay`.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        let variable = format!("CONFIRMD_{}", key.replace('.', "__").to_uppercase());
        self.variables.insert(variable, value.to_owned());
    }

    /// Nobody is told 503 because Postgres, shared with other stories, stands still for a few seconds: for stories in which
    /// nobody may be turned away for another reason.
    pub(crate) fn is_patient(&mut self) {
        self.set("server.request_timeout", "60s");
        self.set("database.acquire_timeout", "30s");
        self.set("database.statement_timeout", "20s");
    }

    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn unset_variable(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// What is configured of its token.
    pub(crate) fn digest(&self) -> String {
        token::digest(&self.token).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("confirmd.toml")
    }

    pub(crate) fn rewrite_config(&self, rewrite: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        std::fs::write(self.config(), rewrite(text)).unwrap();
    }

    /// From now on Twilio does this, as in `503;first=2`.
    pub(crate) fn fault(&self, rule: &str) {
        self.twilio.play(rule.parse().unwrap());
    }

    /// Starts the service, and waits until it is ready.
    pub(crate) async fn serve(&self) -> Confirmd {
        self.serve_with(&[]).await
    }

    pub(crate) async fn serve_with(&self, args: &[&str]) -> Confirmd {
        let mut begun = self.begin(&[&["serve"], args].concat());
        let caller = Caller { address: begun.addresses().await[0], token: self.token.clone() };
        begun.caller = caller;
        begun
    }

    /// Starts a command, and does not wait for anything.
    pub(crate) fn begin(&self, args: &[&str]) -> Confirmd {
        let mut command = self.command(args);
        command.stderr(Stdio::piped()).stdout(Stdio::piped());
        Confirmd::begin(command)
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        run(self.command(args)).await
    }

    /// A command with this on its stdin.
    pub(crate) async fn run_with(&self, stdin: &str, args: &[&str]) -> Ran {
        let file = self.file("stdin", stdin);
        let mut command = self.command(args);
        command.stdin(std::fs::File::open(file).unwrap());
        run(command).await
    }

    /// A file beside the configuration.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A file beside the configuration that nobody else may read.
    pub(crate) fn secret_file(&self, name: &str, content: &str) -> String {
        let _it_may_not_be_there = std::fs::remove_file(self.folder.path().join(name));
        let path = self.file(name, content);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = confirmd(self.folder.path());
        command.args(args).env("CONFIRMD_CONFIG", self.config()).envs(&self.variables);
        command
    }

    /// How many rows a query counts.
    pub(crate) async fn count(&self, of: &str) -> i64 {
        let mut connection = PgConnection::connect(&self.database.url).await.unwrap();
        let count = format!("select count(*) from {of}");
        let counted = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        counted
    }

    /// The one text that a query gives.
    pub(crate) async fn text(&self, query: &str) -> String {
        let mut connection = PgConnection::connect(&self.database.url).await.unwrap();
        let text = sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        text
    }

    pub(crate) async fn sql(&self, statements: &str) {
        let mut connection = PgConnection::connect(&self.database.url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Waits until nothing is owed to Twilio any more.
    pub(crate) async fn everything_is_settled(&self) {
        let settled = || async { (self.count("feedback").await == 0).then_some(()) };
        eventually("everything is settled", settled).await;
    }

    /// `confirmd audit` finds no drift.
    pub(crate) async fn is_lawful(&self) {
        let audit = self.run(&["audit"]).await;
        assert_eq!(audit.code, Some(0), "{audit:?}");
    }
}

/// The binary with an environment of its own: nothing of ours but the way to the programs of Postgres.
pub(crate) fn confirmd(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confirmd"));
    command.env_clear().current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    for name in ["PATH", "HOME", "CONFIRMD_PG_BIN"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
}

/// A program of this machine. None where it is not installed; continuous integration installs it.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "continuous integration must run this: no {name}");
        eprintln!("skipped: there is no {name} on this machine");
    }
    found
}

/// A Python with this package of PyPI, in an environment of its own below `target/tmp`, which is made once. None where it
/// cannot be had; continuous integration must.
pub(crate) async fn installed(environment: &str, package: &str) -> Option<PathBuf> {
    match install(environment, package).await {
        Ok(python) => Some(python),
        Err(reason) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "continuous integration must run this: {reason}");
            eprintln!("skipped: {reason}");
            None
        }
    }
}

async fn install(environment: &str, package: &str) -> Result<PathBuf, String> {
    /// Tests that want the same one wait for each other.
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ONE_AT_A_TIME.lock().await;
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join(environment);
    let (python, done) = (environment.join("bin/python"), environment.join(package));
    if !done.exists() {
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package];
        for (program, arguments) in
            [(Path::new("python3"), &["-m", "venv", "--clear", environment.to_str().unwrap()][..]), (&python, &pip[..])]
        {
            let ran = Command::new(program).args(arguments).output().await.map_err(|error| error.to_string())?;
            if !ran.status.success() {
                return Err(String::from_utf8_lossy(&ran.stderr).into_owned());
            }
        }
        std::fs::write(done, "").unwrap();
    }
    Ok(python)
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    /// None where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) async fn run(mut command: Command) -> Ran {
    let output = timeout(PATIENCE, command.output()).await.unwrap_or_else(|_| panic!("{command:?} does not end"));
    let output = output.unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A running process. Killed when it is dropped.
pub(crate) struct Confirmd {
    pub(crate) caller: Caller,
    child: Child,
    stdout: Said,
    stderr: Said,
}

impl Confirmd {
    pub(crate) fn begin(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().map(Said::read), child.stderr.take().map(Said::read));
        let nowhere = Caller { address: SocketAddr::from(([127, 0, 0, 1], 0)), token: String::new() };
        Self { caller: nowhere, child, stdout: stdout.unwrap(), stderr: stderr.unwrap() }
    }

    /// Starts `confirmd dev` in a folder, and waits until it shows what to try. Gives the three lines.
    pub(crate) async fn dev(folder: &Path, database_url: Option<&str>) -> (Self, Vec<String>) {
        let mut command = confirmd(folder);
        command.args(["dev", "--listen", "127.0.0.1:0"]).envs(database_url.map(|url| ("DATABASE_URL", url)));
        // Where the tests' Postgres is in a container, it is not on loopback.
        command.env("CONFIRMD_DATABASE__ALLOW_INSECURE", "true");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let dev = Self::begin(command);
        dev.prints("Deliveries, as they happen").await;
        let lines = dev.printed();
        let to_try = lines.lines().map(str::trim).filter(|line| line.starts_with("curl "));
        let to_try = to_try.map(str::to_owned).collect();
        (dev, to_try)
    }

    /// Waits for the line that says where it listens: to callers, and to the platform if that is elsewhere.
    pub(crate) async fn addresses(&self) -> Vec<SocketAddr> {
        let line = self.logs("Ready").await;
        let log: serde_json::Value = serde_json::from_str(&line).unwrap();
        let addresses = log["addresses"].as_str().unwrap().trim_matches(['[', ']']);
        addresses.split(", ").map(|address| address.parse().unwrap()).collect()
    }

    /// Waits for a line of the log with this in it.
    pub(crate) async fn logs(&self, what: &str) -> String {
        self.line_of(&self.stderr, what).await
    }

    /// Waits for a line of its answer with this in it.
    pub(crate) async fn prints(&self, what: &str) -> String {
        self.line_of(&self.stdout, what).await
    }

    async fn line_of(&self, said: &Said, what: &str) -> String {
        let line = timeout(PATIENCE, said.line_with(what)).await.ok().flatten();
        line.unwrap_or_else(|| panic!("it never said {what:?}, but:\n{}\n{}", self.printed(), self.log()))
    }

    /// All that it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.so_far()
    }

    /// All that it has printed so far.
    pub(crate) fn printed(&self) -> String {
        self.stdout.so_far()
    }

    /// From now on nobody reads its log.
    pub(crate) fn is_not_read(&self) {
        self.stderr.reading.send_replace(false);
    }

    /// Its log is read again.
    pub(crate) fn is_read(&self) {
        self.stderr.reading.send_replace(true);
    }

    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Tells it to read its configuration again.
    pub(crate) fn hang_up(&self) {
        self.signal("HUP");
    }

    pub(crate) fn interrupt(&self) {
        self.signal("INT");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("nobody has waited for its end yet")
    }

    fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// With SIGKILL: the process has no say in it.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end. Gives its exit code; none where a signal ended it.
    pub(crate) async fn ends_within(&mut self, limit: Duration) -> Option<i32> {
        match timeout(limit, self.child.wait()).await {
            Ok(ended) => ended.unwrap().code(),
            Err(_) => panic!("it has not ended within {limit:?}; it said:\n{}", self.log()),
        }
    }
}

/// The lines of a pipe, as they come.
struct Said {
    heard: watch::Receiver<()>,
    lines: Arc<Mutex<Vec<String>>>,
    reading: watch::Sender<bool>,
}

impl Said {
    fn read(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (more, said) = (watch::Sender::new(()), Arc::clone(&lines));
        let heard = more.subscribe();
        let reading = watch::Sender::new(true);
        let mut is_read = reading.subscribe();
        tokio::spawn(async move {
            let mut pipe = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = pipe.next_line().await {
                lines.lock().unwrap().push(line);
                more.send_replace(());
                // Whoever would say to go on may be gone; then it is read to its end.
                let _goes_on = is_read.wait_for(|read| *read).await.is_ok();
            }
        });
        Self { heard, lines: said, reading }
    }

    /// `None` if the pipe closes without it.
    async fn line_with(&self, what: &str) -> Option<String> {
        let mut heard = self.heard.clone();
        let find = || self.lines.lock().unwrap().iter().find(|line| line.contains(what)).cloned();
        loop {
            heard.mark_unchanged();
            match find() {
                Some(line) => return Some(line),
                None if heard.changed().await.is_err() => return find(),
                None => {}
            }
        }
    }

    fn so_far(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}
