//! A Postgres of our own: for `confirmd dev`, which needs nothing else installed, and for the tests.
//!
//! ```text
//! binaries ──▶ account ──▶ home ──▶ cluster ──▶ server, with its watchdog
//! on this      whose       where    the data    ends when we end,
//! machine      process                          however we end
//! ```
//!
//! Invariant: one folder, one confirmd, one server. `home/lock` is ours while we run; `home/cluster.lock` belongs to
//! whoever works on the data, and the watchdog of a killed confirmd does so until its server has stopped.

mod account; // whose process the server is
mod binaries; // the server's programs on this machine
mod cluster; // the data, made once
mod error; // why there is none
mod home; // the folder, and who may use it
mod server; // the running server and its watchdog
mod sweeper; // no trace of a throwaway server

use std::{fmt, path::Path, path::PathBuf};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub use error::EmbeddedError;

use self::{binaries::Binaries, home::Home, server::Server};

/// The one user of the embedded server; it may do everything there.
const USER: &str = "confirmd";

/// How an embedded Postgres should be.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Holds the data, the password and `postgres.log`. Made if absent.
    pub data_dir: PathBuf,
    pub durability: Durability,
    pub afterwards: Afterwards,
    pub max_connections: u16,
    /// More of the server's settings, as `name=value`: <https://www.postgresql.org/docs/current/runtime-config.html>.
    pub settings: Vec<String>,
}

/// What is left after the machine, not only the server, has crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Everything that was committed.
    Durable,
    /// Perhaps nothing, for speed: tests only.
    Fast,
}

/// What becomes of the folder when the server has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    Keep,
    /// It is removed, even if we were killed.
    Remove,
}

impl EmbeddedOptions {
    /// For `confirmd dev`: what was committed is there tomorrow.
    pub fn lasting(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            data_dir,
            durability: Durability::Durable,
            afterwards: Afterwards::Keep,
            max_connections: 50,
            settings: Vec::new(),
        }
    }

    /// For tests: as fast as can be, for many at once, and gone afterwards.
    pub fn throwaway(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            data_dir,
            durability: Durability::Fast,
            afterwards: Afterwards::Remove,
            max_connections: 200,
            settings: Vec::new(),
        }
    }
}

/// A running Postgres, which stops when this is dropped or when our process ends in any way.
pub struct EmbeddedPostgres {
    // Fields drop in this order: the server has stopped before the home is given up.
    server: Server,
    password: String,
    home: Home,
}

impl EmbeddedPostgres {
    /// Finds a server on this machine, makes its data if there is none yet, and starts it.
    ///
    /// Blocks for 0.1 to 5 seconds: call it in `spawn_blocking`.
    pub fn start(options: EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let made_by = cluster::version(&options.data_dir)?;
        let binaries = Binaries::find(made_by, &options.data_dir)?;
        let home = Home::open(&options.data_dir, options.afterwards)?;
        home.require_access_to(&binaries)?;
        let lock = home.lock_cluster()?;
        cluster::make_unless_there(&home, &binaries, options.durability, &lock)?;
        let password = cluster::password(&home)?;
        let server = Server::start(&home, &binaries, &options, lock)?;
        Ok(Self { server, password, home })
    }

    /// Where the server's programs are that new data would be made with.
    pub fn programs() -> Result<PathBuf, EmbeddedError> {
        Binaries::find(None, Path::new("")).map(|binaries| binaries.dir)
    }

    /// Where `database` answers. Holds the password: do not log it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.server.port())
    }

    /// Where the data really is: not always where it was asked to be, see [`EmbeddedOptions::data_dir`] and `home.rs`.
    pub fn data_dir(&self) -> &Path {
        self.home.dir()
    }

    pub async fn create_database_if_absent(&self, name: &str) -> Result<(), EmbeddedError> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        let there: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await?;
        if !there {
            let create = format!("create database \"{}\"", name.replace('"', "\"\""));
            sqlx::query(AssertSqlSafe(create)).execute(&mut connection).await?;
        }
        Ok(connection.close().await?)
    }

    /// Stops the server and waits for its end; those still connected are disconnected.
    ///
    /// Blocks like [`EmbeddedPostgres::start`]. Dropping does the same, but cannot tell what went wrong.
    pub fn stop(mut self) -> Result<(), EmbeddedError> {
        self.server.stop(self.home.dir())
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        if let Err(error) = self.server.stop(self.home.dir()) {
            tracing::warn!("Could not stop the embedded Postgres: {error}");
        }
    }
}

impl fmt::Debug for EmbeddedPostgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedPostgres")
            .field("data_dir", &self.home.dir())
            .field("port", &self.server.port())
            .finish_non_exhaustive()
    }
}
