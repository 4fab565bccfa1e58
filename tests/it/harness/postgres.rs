//! The one Postgres server behind all tests of a run, and its end with the run.
//!
//! It is the server of `TEST_DATABASE_URL` if that is set, else a container if a Docker engine answers and has the image
//! or can pull it, else a Postgres that is installed on this machine. With `CONFIRMD_REQUIRE_DOCKER=1` a missing Docker
//! is a failure.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    str::FromStr,
};

use confirmd::postgres::{EmbeddedOptions, EmbeddedPostgres};
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt, TestcontainersError,
    core::{IntoContainerPort, WaitFor},
    runners::AsyncRunner,
};

use super::outside::eventually;

const PASSWORD: &str = "only-for-tests";

/// Waits until the run has ended in any way, then removes the container `$1`: more than once, because the engine may
/// still be making it for a run that was killed. Not every machine that reaches an engine has its command line tool.
const CONTAINER_WATCHDOG: &str = r#"
    trap '' HUP INT TERM
    cat
    for pause in 0 1 4; do
        sleep $pause
        docker rm --force --volumes "$1" ||
        curl --unix-socket /var/run/docker.sock --request DELETE "http://docker/containers/$1?force=true&v=true"
    done"#;

pub(super) struct Server {
    admin: PgConnectOptions,
    _origin: Origin,
}

/// What has to be held for the server to live.
enum Origin {
    Given,
    Container { _container: Box<ContainerAsync<GenericImage>>, _watchdog: Child },
    Embedded { _postgres: EmbeddedPostgres },
}

impl Server {
    pub(super) async fn start() -> Result<Self, String> {
        let (server, origin) = match env::var("TEST_DATABASE_URL") {
            Ok(url) => (Self::new(&url, Origin::Given)?, "TEST_DATABASE_URL"),
            Err(_) => match container().await? {
                Some(server) => (server, "a container"),
                None => (embedded().await?, "the Postgres of this machine"),
            },
        };
        server.tell(origin).await.map_err(|error| format!("{origin} does not answer: {error}"))?;
        Ok(server)
    }

    /// Options to connect to a database of this server. Each test has a runtime of its own, and a connection is bound to
    /// the runtime that opened it: so tests share this, and never a connection or a pool.
    pub(super) fn options(&self, database: &str) -> PgConnectOptions {
        self.admin.clone().database(database)
    }

    /// The database that is there before any test.
    pub(super) fn admin(&self) -> &PgConnectOptions {
        &self.admin
    }

    fn new(url: &str, origin: Origin) -> Result<Self, String> {
        let admin = PgConnectOptions::from_str(url).map_err(|error| format!("the database URL is wrong: {error}"))?;
        Ok(Self { admin, _origin: origin })
    }

    /// Written past the test harness, which would hide it.
    async fn tell(&self, origin: &str) -> Result<(), sqlx::Error> {
        let mut connection = self.admin.connect().await?;
        let version: String = sqlx::query_scalar("select version()").fetch_one(&mut connection).await?;
        connection.close().await?;
        let _ = writeln!(std::io::stderr(), "tests run on {origin}: {version}");
        Ok(())
    }
}

/// `None` if there is no Docker here.
async fn container() -> Result<Option<Server>, String> {
    let name = format!("confirmd-tests-{:016x}", rand::random::<u64>());
    let watchdog = watch(&name).map_err(|error| format!("could not run a watchdog for the container: {error}"))?;
    let settings = "postgres -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200";
    let started = GenericImage::new("postgres", "17-alpine")
        .with_exposed_port(5432.tcp())
        .with_wait_for(WaitFor::message_on_stderr("database system is ready to accept connections"))
        .with_env_var("POSTGRES_PASSWORD", PASSWORD)
        .with_container_name(name)
        .with_cmd(settings.split(' '))
        .start()
        .await;
    let container = match started {
        Ok(container) => container,
        Err(TestcontainersError::Client(error)) if env::var_os("CONFIRMD_REQUIRE_DOCKER").is_none() => {
            let _ = writeln!(std::io::stderr(), "no Docker for the tests: {error}");
            return Ok(None);
        }
        Err(error) => return Err(format!("could not start postgres in Docker: {error}")),
    };
    let unknown = |error| format!("Docker does not tell where the container is: {error}");
    let host = container.get_host().await.map_err(unknown)?;
    let port = container.get_host_port_ipv4(5432).await.map_err(unknown)?;
    let origin = Origin::Container { _container: Box::new(container), _watchdog: watchdog };
    let server = Server::new(&format!("postgres://postgres:{PASSWORD}@{host}:{port}/postgres"), origin)?;
    // The image says "ready" a first time while it still prepares, and does not listen yet.
    eventually("the Postgres in the container answers", || async { server.admin.connect().await.ok() }).await;
    Ok(Some(server))
}

/// Started before the container, so that there is no moment in which the container could be left behind.
fn watch(container: &str) -> std::io::Result<Child> {
    use std::os::unix::process::CommandExt;
    Command::new("/bin/sh")
        .args(["-c", CONTAINER_WATCHDOG, "confirmd-container-watchdog", container])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0) // Ctrl-C is for the run; the watchdog outlives it
        .spawn()
}

async fn embedded() -> Result<Server, String> {
    let started = tokio::task::spawn_blocking(|| {
        // Not below target/: as root the server runs as another user, who cannot enter a home below /root.
        let folder = tempfile::Builder::new().prefix("confirmd-tests-").tempdir_in(ground());
        let folder = folder.map_err(|error| error.to_string())?;
        let started = EmbeddedPostgres::start(EmbeddedOptions::throwaway(folder.path()));
        let postgres = started.map_err(|error| error.to_string())?;
        let _removed_by_postgres = folder.keep();
        Ok::<_, String>(postgres)
    });
    let postgres = started.await.map_err(|error| error.to_string())??;
    Server::new(&postgres.url("postgres"), Origin::Embedded { _postgres: postgres })
}

/// Where the server's files are: in memory, if there is room for them, and nobody has named another place. Each test makes
/// a thousand files and removes them; ext4 looks through those that were just removed for each that it makes, which was a
/// third of what many stories took.
fn ground() -> PathBuf {
    const IN_MEMORY: &str = "/dev/shm";
    // A run took 165 MB, and its log may grow to a GB. A container has 64 MB, unless it was given more.
    const ROOM: u64 = 2 << 30;
    let room = rustix::fs::statvfs(IN_MEMORY).map_or(0, |there| there.f_bavail.saturating_mul(there.f_frsize));
    match env::var_os("TMPDIR") {
        None if room >= ROOM => Path::new(IN_MEMORY).to_owned(),
        _ => env::temp_dir(),
    }
}
