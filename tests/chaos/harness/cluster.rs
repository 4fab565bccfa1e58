//! A Postgres of its own, durable as in production, that a row can kill, stop, fill and promote.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use confirmd::postgres::EmbeddedPostgres;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{ports, within};

/// Longest that a server may take to start, or to stop. Reached only when a row fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// What opens each cluster. It is reached from this machine only, and gone with the run.
const PASSWORD: &str = "chaos";

/// How many of the processes that write the log have nothing to do.
const WRITER_WAITS: &str =
    "select count(*) from pg_stat_activity where backend_type = 'walwriter' and wait_event = 'WalWriterMain'";

const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
shared_buffers = 64MB
timezone = UTC
log_timezone = UTC
fsync = on
synchronous_commit = on
logging_collector = off
log_line_prefix = '%m [%p] %a '
";

/// The server's programs, and whose process it is: not root's, as whom it refuses to run.
#[derive(Clone)]
struct Programs {
    folder: PathBuf,
    user: Option<(u32, u32)>,
    /// Of the server's processes, beside what is ours.
    environment: Vec<(String, String)>,
}

impl Programs {
    fn find() -> Self {
        let folder = EmbeddedPostgres::programs().unwrap_or_else(|error| panic!("{error}"));
        let id = Command::new("id").arg("-u").output().unwrap();
        let user = (id.stdout.trim_ascii() == b"0").then(|| lent("postgres").or_else(|| lent("nobody")).unwrap());
        Self { folder, user, environment: Vec::new() }
    }

    fn command(&self, program: &str, data: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(self.folder.join(program));
        command.current_dir(data.parent().unwrap()).env("LC_ALL", "C").env_remove("PGDATA");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

fn lent(name: &str) -> Option<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
    Some((fields[2].parse().ok()?, fields[3].parse().ok()?))
}

pub(crate) struct Cluster {
    programs: Programs,
    /// `data` and `log` are in it; it belongs to the server's user.
    folder: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Cluster {
    /// A new one, with a database `confirmd` that is empty. Not started.
    pub(crate) fn make(folder: &Path) -> Self {
        let cluster = Self { programs: Programs::find(), folder: folder.to_owned(), address: ports::free() };
        cluster.make_folder();
        let password = folder.join("password");
        fs::write(&password, PASSWORD).unwrap();
        let mut initdb = cluster.programs.command("initdb", &cluster.data());
        initdb.arg("-D").arg(cluster.data()).arg("--pwfile").arg(&password);
        ran(initdb.args(["-U", "chaos", "-A", "scram-sha-256", "-E", "UTF8", "--locale", "C", "--no-sync"]));
        let settings = cluster.data().join("postgresql.conf");
        fs::write(&settings, fs::read_to_string(&settings).unwrap() + SETTINGS).unwrap();
        cluster
    }

    /// A copy of one that does not run.
    pub(crate) fn copy(&self, folder: &Path) -> Self {
        let copy = Self { programs: self.programs.clone(), folder: folder.to_owned(), address: ports::free() };
        copy.make_folder();
        ran(Command::new("cp").arg("-a").arg(self.data()).arg(copy.data()));
        copy
    }

    fn make_folder(&self) {
        fs::create_dir_all(&self.folder).unwrap();
        if let Some((uid, gid)) = self.programs.user {
            chown(&self.folder, Some(uid), Some(gid)).unwrap();
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Adds a line to its configuration. It holds from the next start.
    pub(crate) fn set(&self, line: &str) {
        let settings = self.data().join("postgresql.conf");
        fs::write(&settings, fs::read_to_string(&settings).unwrap() + line + "\n").unwrap();
    }

    /// From its next start.
    pub(crate) fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        self.programs.environment.extend(variables);
    }

    /// Starts it, and waits until it answers. Gives when it did.
    pub(crate) async fn start(&self) -> Instant {
        self.begin_to_start();
        let url = url(self.address, "postgres");
        within(PATIENCE, &format!("Postgres starts:\n{}", self.log()), async || {
            match PgConnection::connect(&url).await {
                Ok(connection) => connection.close().await.is_ok(),
                Err(_starting) => false,
            }
        })
        .await;
        Instant::now()
    }

    pub(crate) fn begin_to_start(&self) {
        let log = self.folder.join("log");
        let mut start = self.programs.command("pg_ctl", &self.data());
        start.args(["start", "--no-wait", "--silent", "-D"]).arg(self.data()).arg("--log").arg(log);
        ran(start.arg("-o").arg(format!("-p {}", self.address.port())));
    }

    /// `fast` or `immediate`.
    pub(crate) fn stop(&self, mode: &str) {
        ran(self
            .programs
            .command("pg_ctl", &self.data())
            .args(["stop", "--wait", "--silent", "--mode", mode, "-D"])
            .arg(self.data()));
    }

    /// With SIGKILL, and every process of it; returns when all of them are gone.
    pub(crate) async fn kill(&self) {
        let processes = self.processes();
        ran_at_all(Command::new("kill").arg("-KILL").args(&processes));
        within(PATIENCE, "Postgres is gone", async || !processes.iter().any(|pid| is_alive(pid))).await;
        // Nobody is there any more who could have removed it, and its number may be another's by now.
        let _it_was_gone = fs::remove_file(self.data().join("postmaster.pid"));
    }

    /// Another one that follows this one, and without which nothing is committed here from now on.
    pub(crate) async fn standby(&self, folder: &Path) -> Self {
        let standby = self.follower(folder).await;
        self.sql("alter system set synchronous_standby_names = '*'").await;
        self.sql("select pg_reload_conf()").await;
        let in_step = "select count(*) from pg_stat_replication where sync_state = 'sync'";
        within(PATIENCE, "the standby is in step", async || self.number(in_step).await == 1).await;
        standby
    }

    /// Another one that follows this one, which waits for nobody.
    pub(crate) async fn follower(&self, folder: &Path) -> Self {
        let follower = Self { programs: self.programs.clone(), folder: folder.to_owned(), address: ports::free() };
        follower.make_folder();
        let mut copy = self.programs.command("pg_basebackup", &follower.data());
        let from = format!("host=127.0.0.1 port={} user=chaos password={PASSWORD}", self.address.port());
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname", &from, "--pgdata"]);
        ran(copy.arg(follower.data()));
        follower.start().await;
        let follows = "select count(*) from pg_stat_replication where state = 'streaming'";
        within(PATIENCE, "the standby follows", async || self.number(follows).await == 1).await;
        follower
    }

    /// Whoever follows hears nothing more until this one is killed.
    pub(crate) async fn stop_sending(&self) {
        let sender = self.number("select pid::bigint from pg_stat_replication").await;
        ran(Command::new("kill").args(["-STOP", &sender.to_string()]));
    }

    pub(crate) async fn promote(&self) {
        ran(self
            .programs
            .command("pg_ctl", &self.data())
            .args(["promote", "--wait", "--silent", "-D"])
            .arg(self.data()));
    }

    /// Statements that Postgres may refuse, or end by.
    pub(crate) async fn try_sql(&self, statements: &str) {
        if let Ok(mut connection) = self.connect().await {
            let _refused = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await;
        }
    }

    /// From now on until it is killed, only who commits writes the log: the process that writes what the others left is
    /// stopped. So what an acknowledgement did not wait for is lost for certain by the kill.
    ///
    /// It is stopped while it waits for work: in the midst of writing it holds a lock that every commit needs.
    pub(crate) async fn stop_writing(&self) {
        let writer = self.number("select pid::bigint from pg_stat_activity where backend_type = 'walwriter'").await;
        loop {
            ran(Command::new("kill").args(["-STOP", &writer.to_string()]));
            if self.number(WRITER_WAITS).await == 1 {
                return;
            }
            ran(Command::new("kill").args(["-CONT", &writer.to_string()]));
        }
    }

    /// The postmaster first.
    pub(crate) fn processes(&self) -> Vec<String> {
        let Ok(text) = fs::read_to_string(self.data().join("postmaster.pid")) else { return Vec::new() };
        let postmaster = text.lines().next().unwrap_or_default().trim().to_owned();
        let listed = Command::new("ps").args(["-o", "pid=", "--ppid", &postmaster]).output().unwrap();
        let children = String::from_utf8(listed.stdout).unwrap();
        std::iter::once(postmaster).chain(children.split_whitespace().map(str::to_owned)).collect()
    }

    /// Where it is, as its superuser sees it.
    pub(crate) fn url(&self) -> String {
        url(self.address, "confirmd")
    }

    /// Makes the database, once.
    pub(crate) async fn create_database(&self) {
        let mut admin = PgConnection::connect(&url(self.address, "postgres")).await.unwrap();
        sqlx::raw_sql("create database confirmd").execute(&mut admin).await.unwrap();
        admin.close().await.unwrap();
    }

    pub(crate) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&self.url()).await
    }

    pub(crate) async fn sql(&self, statements: &str) {
        let mut connection = self.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// What a query says that gives one number.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        let mut connection = self.connect().await.unwrap();
        let number = sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        number
    }

    /// What a query says that gives words, one a row.
    pub(crate) async fn words(&self, query: &str) -> Vec<String> {
        let mut connection = self.connect().await.unwrap();
        let words = sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        words
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let processes = self.processes();
        if !processes.is_empty() {
            ran_at_all(Command::new("kill").arg("-KILL").args(&processes));
        }
    }
}

/// The same database by way of another address.
pub(crate) fn url(address: SocketAddr, database: &str) -> String {
    format!("postgres://chaos:{PASSWORD}@{address}/{database}?sslmode=disable")
}

fn is_alive(pid: &str) -> bool {
    // A zombie is no longer alive; its parent may take its time.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

fn ran(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Some of the processes may have ended by then.
fn ran_at_all(command: &mut Command) {
    command.output().unwrap();
}
