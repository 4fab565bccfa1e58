//! A real PgBouncer before Postgres: in session mode nobody notices it, in transaction mode it is refused.

use std::net::TcpListener;
use std::process::Stdio;

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::database::ROLE_PASSWORD;
use crate::harness::process::{Confirmd, Site, tool};

/// Killed when it is dropped.
struct PgBouncer {
    url: String,
    _process: Confirmd,
    _folder: TempDir,
}

impl PgBouncer {
    /// None where it is not installed.
    async fn before(url: &str, pool_mode: &str) -> Option<Self> {
        let program = tool("pgbouncer")?;
        let server: PgConnectOptions = url.parse().unwrap();
        let database = server.get_database().unwrap();
        // It cannot be told to take any port; nobody else is given this one so soon.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let user = server.get_username();
        let ini = format!(
            "[databases]\n{database} = host={} port={} dbname={database} user={user} password={ROLE_PASSWORD}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {pool_mode}\ndefault_pool_size = 40\nignore_startup_parameters = extra_float_digits\n",
            server.get_host(),
            server.get_port(),
        );
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("pgbouncer.ini");
        std::fs::write(&config, ini).unwrap();
        let mut command = Command::new(program);
        // As root it refuses to run; it reads its file before it becomes somebody else.
        if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
            command.args(["--user", "nobody"]);
        }
        command.arg(config).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let process = Confirmd::begin(command);
        process.logs("process up").await;
        let url = format!("postgres://{user}@127.0.0.1:{port}/{database}?sslmode=disable");
        Some(Self { url, _process: process, _folder: folder })
    }
}

#[tokio::test]
async fn a_pooler_that_lends_sessions_out_from_transaction_to_transaction_is_refused_at_start() {
    let mut site = Site::new().await;
    let Some(pooler) = PgBouncer::before(&site.database.service_url, "transaction").await else { return };
    site.set_variable("DATABASE_URL", &pooler.url);
    for command in [&["serve"][..], &["serve", "--role", "worker"], &["migrate"]] {
        let refused = site.run(command).await;
        assert_eq!(refused.code, Some(78), "{refused:?}");
        assert!(refused.stderr.contains("database.url") && refused.stderr.contains("pool_mode"), "{refused:?}");
    }
    let checked = site.run(&["check"]).await;
    assert!(checked.stdout.contains("WRONG database: a pooler"), "{checked:?}");
}

#[tokio::test]
async fn a_pooler_that_leaves_each_client_its_session_is_not_noticed() {
    let mut site = Site::new().await;
    let Some(pooler) = PgBouncer::before(&site.database.service_url, "session").await else { return };
    site.set_variable("DATABASE_URL", &pooler.url);
    let process = site.serve().await;
    for number in 1..=30 {
        process.caller.insist(number).await;
    }
    site.everything_is_settled().await;
    assert_eq!(site.count("confirmation").await, 30);
    site.is_lawful().await;
}
