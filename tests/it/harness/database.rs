//! A database of its own for each test: a copy of a template that is migrated once a run.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::sync::OnceCell;

use super::{migrate, postgres::Server};

/// One server for all tests of the binary, each of which has a runtime of its own.
static RUN: OnceCell<Result<Run, String>> = OnceCell::const_new();

/// A migrated database that nobody else uses. It is dropped with this value, unless the test has failed.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    pub(crate) name: String,
    /// For the service: as the role that may do what it needs, and nothing else.
    pub(crate) service_url: String,
}

impl TestDatabase {
    /// The same database, for one of the roles of `deploy/postgres/roles.sql`.
    pub(crate) fn url_of(&self, role: &str) -> String {
        as_role(&self.url.parse().unwrap(), role)
    }
}

fn as_role(options: &PgConnectOptions, role: &str) -> String {
    options.clone().username(role).password(ROLE_PASSWORD).to_url_lossy().to_string()
}

pub(crate) async fn database() -> TestDatabase {
    let run = Run::get().await;
    let mut database = run.create(&run.template()).await;
    database.service_url = database.url_of("confirmd_app");
    database
}

/// A database that nobody else uses, and that nobody has migrated.
pub(crate) async fn empty_database() -> TestDatabase {
    Run::get().await.create("template0").await
}

/// For tests that need the server itself: its roles, its restart, a database that is not migrated.
pub(crate) async fn server_url() -> String {
    Run::get().await.server.admin().to_url_lossy().to_string()
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return eprintln!("the database of this test is kept until the next run: {}", self.name);
        }
        let drop = format!("drop database {} with (force)", self.name);
        // The test's runtime cannot be waited for in here.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut admin = Run::get().await.connect().await;
                execute(&mut admin, drop).await.unwrap();
                admin.close().await.unwrap();
            });
        });
        dropped.join().unwrap();
    }
}

/// This run of the tests. Its databases are named `confirmd_test_<when it began>_<which run>_<which database>`, so that
/// on a server that outlives it a later run knows what is left over.
struct Run {
    server: Server,
    prefix: String,
    /// How a template is copied: 9 ms for a test instead of 39, where Postgres leaves the choice (since 15).
    strategy: &'static str,
}

impl Run {
    async fn get() -> &'static Self {
        match RUN.get_or_init(Self::begin).await {
            Ok(run) => run,
            Err(error) => panic!("no Postgres for the tests: {error}"),
        }
    }

    async fn begin() -> Result<Self, String> {
        let server = Server::start().await?;
        let run = Self::prepare(server).await.map_err(|error| error.to_string())?;
        migrate(&as_role(&run.server.options(&run.template()), "confirmd_migrate")).await?;
        Ok(run)
    }

    async fn prepare(server: Server) -> Result<Self, sqlx::Error> {
        let mut admin = server.admin().connect().await?;
        drop_leftovers(&mut admin).await?;
        let (now, version): (i64, i32) =
            sqlx::query_as("select extract(epoch from now())::bigint, current_setting('server_version_num')::integer")
                .fetch_one(&mut admin)
                .await?;
        let prefix = format!("confirmd_test_{now}_{:08x}", rand::random::<u32>());
        let strategy = if version < 150_000 { "" } else { "strategy file_copy" };
        let run = Self { server, prefix, strategy };
        execute(&mut admin, format!("create database {}", run.template())).await?;
        admin.close().await?;
        let mut template = run.server.options(&run.template()).connect().await?;
        sqlx::raw_sql(AssertSqlSafe(roles_with_passwords())).execute(&mut template).await?;
        template.close().await?;
        Ok(run)
    }

    async fn create(&self, template: &str) -> TestDatabase {
        let name = self.name(&format!("{:012x}", rand::random::<u64>() >> 16));
        let mut admin = self.connect().await;
        execute(&mut admin, format!("create database {name} template {template} {}", self.strategy)).await.unwrap();
        admin.close().await.unwrap();
        let url = self.server.options(&name).to_url_lossy().to_string();
        TestDatabase { service_url: url.clone(), url, name }
    }

    fn name(&self, database: &str) -> String {
        format!("{}_{database}", self.prefix)
    }

    fn template(&self) -> String {
        self.name("template")
    }

    async fn connect(&self) -> PgConnection {
        self.server.admin().connect().await.unwrap()
    }
}

/// Of each role of [`ROLES`].
pub(crate) const ROLE_PASSWORD: &str = "of-a-role-only-for-tests";

/// The roles as they are deployed.
pub(crate) const ROLES: &str = include_str!("../../../deploy/postgres/roles.sql");

/// The roles, and a password for each. They are the server's, so they are given once a run.
fn roles_with_passwords() -> String {
    let passwords = ["confirmd_migrate", "confirmd_app", "confirmd_read"]
        .map(|role| format!("alter role {role} password '{ROLE_PASSWORD}';"));
    format!("{ROLES}\n{}", passwords.join("\n"))
}

/// What runs left that were killed, or whose tests failed. A run takes minutes: an hour later it is over.
async fn drop_leftovers(admin: &mut PgConnection) -> Result<(), sqlx::Error> {
    let leftovers: Vec<String> = sqlx::query_scalar(
        "select datname::text
         from pg_database
         where substring(datname from '^confirmd_test_([0-9]{10})_[0-9a-f]{8}_')::bigint
               < extract(epoch from now() - interval '1 hour')",
    )
    .fetch_all(&mut *admin)
    .await?;
    for name in leftovers {
        execute(admin, format!("drop database if exists {name} with (force)")).await?;
    }
    Ok(())
}

/// The names in these statements are all made here.
async fn execute(admin: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(sql)).execute(admin).await.map(drop)
}
