//! confirmd itself, as it is shipped: `confirmd serve`, in a process of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use super::ids;
use super::part::{Serving, this_binary};
use crate::operate::token;

/// What differs from the defaults.
#[derive(Clone, Debug)]
pub(super) struct ServiceOptions<'a> {
    pub(super) database_url: &'a str,
    pub(super) role: &'a str,
    pub(super) sink: SocketAddr,
    pub(super) concurrency: u32,
    pub(super) token: &'a str,
    pub(super) also: &'a [(&'static str, String)],
}

const TO_START: Duration = Duration::from_secs(20);

/// Starts it and waits until it is ready.
pub(super) async fn serve(options: &ServiceOptions<'_>) -> anyhow::Result<Serving> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let concurrency = options.concurrency.to_string();
    let mut command = this_binary()?;
    command
        .env_clear()
        .env("DATABASE_URL", options.database_url)
        .env("TWILIO_BASE_URL", format!("http://{}", options.sink))
        .env("CONFIRMD_ACCOUNTS__0__ACCOUNT_SID", ids::ACCOUNT_SID)
        .env("CONFIRMD_ACCOUNTS__0__AUTH_TOKEN", "of-the-bench")
        .env("CONFIRMD_SERVER__LISTEN", address.to_string())
        .env("CONFIRMD_SERVER__MAX_CONNECTIONS", "2000")
        .env("CONFIRMD_SERVER__MAX_CONNECTIONS_PER_PEER", "2000")
        .env("CONFIRMD_INTAKE__MAX_WAITING_PER_CALLER", "10000")
        .env("CONFIRMD_CALLERS__0__NAME", "bench")
        .env("CONFIRMD_CALLERS__0__SCOPES", "ingest,read,operate")
        .env("CONFIRMD_CALLERS__0__TOKENS_SHA256", digest(options.token))
        .env("CONFIRMD_ACCOUNTS__0__MAX_CONCURRENCY", &concurrency)
        .env("CONFIRMD_ACCOUNTS__0__YIELD_ABOVE", "10000")
        .env("CONFIRMD_LOG", "warn")
        .env("CONFIRMD_SERVER__DRAIN_DELAY", "0s")
        .envs(options.also.iter().map(|(name, value)| (*name, value)))
        .args(["serve", "--role", options.role])
        .stdout(Stdio::null());
    let service = Serving::of(command.spawn()?, address)?;
    ready(service).await
}

async fn ready(mut service: Serving) -> anyhow::Result<Serving> {
    let until = Instant::now() + TO_START;
    while tokio::net::TcpStream::connect(service.address).await.is_err() {
        service.check()?;
        anyhow::ensure!(Instant::now() < until, "the service did not start in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(service)
}

/// A token's digest, as the configuration wants it.
pub(super) fn digest(token: &str) -> String {
    token::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A token for the callers.
pub(super) fn new_token() -> String {
    let (token, _) = token::generate();
    token.expose_secret().to_owned()
}

/// Asks the sink what has come, of `from..to`: all requests so far, and the moment of each in microseconds.
pub(super) async fn arrivals(sink: SocketAddr, from: u32, to: u32) -> anyhow::Result<(u64, Vec<u64>)> {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = tokio::net::TcpStream::connect(sink).await?;
    stream.write_all(format!("GET /arrivals/{from}/{to} HTTP/1.1\r\nHost: sink\r\n\r\n").as_bytes()).await?;
    let mut answers = super::wire::Messages::new(stream);
    let (_, body) = answers.next().await?.context("the sink has ended")?;
    let mut numbers = body.chunks_exact(8).map(|eight| u64::from_le_bytes(eight.try_into().unwrap_or_default()));
    Ok((numbers.next().context("the sink says nothing")?, numbers.collect()))
}

/// One request, which has to be answered with 2xx.
pub(super) async fn ask(to: SocketAddr, token: &str, method: &str, path: &str, body: &str) -> anyhow::Result<()> {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = tokio::net::TcpStream::connect(to).await?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answers = super::wire::Messages::new(stream);
    let (head, body) = answers.next().await?.context("the service closed the connection")?;
    let status = super::wire::status(head);
    anyhow::ensure!(matches!(status, 200..300), "{method} {path}: {status} {}", String::from_utf8_lossy(body));
    Ok(())
}
