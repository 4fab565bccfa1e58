//! Other job queues over Postgres, at their best settings, draining the same backlog to the same sink. They live in
//! `benches/peers`, outside of confirmd's own dependencies, and are built when they are asked for.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use super::burst::Bench;
use super::drain;
use super::runs::Runs;
use super::table::{Figure, Goal};

const ROUND: &str = "peers: the same backlog, the same sink (0 ms), 64 in flight";
const CONCURRENCY: u32 = 64;

/// A peer, and the command that runs it.
struct Peer {
    name: &'static str,
    command: Vec<String>,
}

/// What a peer says at its end.
#[derive(Deserialize)]
struct Said {
    jobs_per_second: f64,
}

pub(super) async fn round(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let peers = prepared(bench).await?;
    let database = bench.rig.database("drain").await?;
    // The peers count their jobs from 0, and the sink notes the first arrival of a number.
    bench.numbers(bench.plan.backlog);
    let mut runs = Runs::new(ROUND);
    for run in 1..=bench.plan.runs {
        bench.tell(&format!("confirmd beside its peers, run {run} of {}", bench.plan.runs));
        let mut fastest = 0_f64;
        for peer in &peers {
            bench.tell(&format!("{}, run {run} of {}", peer.name, bench.plan.runs));
            let per_second = drained(bench, peer, run).await.with_context(|| format!("{} failed", peer.name))?;
            runs.add(peer.name, per_second);
            fastest = fastest.max(per_second);
        }
        runs.add("confirmd", drain::at_once(bench, &database, CONCURRENCY, bench.plan.backlog).await?.per_second);
        runs.add("fastest", fastest);
    }
    let mut figures =
        vec![runs.ratio("confirmd", "/s", "fastest", "the fastest peer of the run", Some(Goal::AtLeast(1.2)))];
    figures.extend(peers.iter().map(|peer| runs.figure(peer.name, "/s", None)));
    Ok(figures.into_iter().flatten().collect())
}

/// Builds the peers. Those in Rust are needed; those in Node are left out where there is no Node.
async fn prepared(bench: &mut Bench) -> anyhow::Result<Vec<Peer>> {
    let folder = PathBuf::from("benches/peers");
    ensure!(folder.is_dir(), "the peers are in benches/peers of confirmd's source: run this from there");
    bench.tell("building the peers in Rust");
    let built = Command::new("cargo")
        .args(["build", "--release", "--locked", "--manifest-path", "benches/peers/Cargo.toml"])
        .output()
        .await
        .context("cannot run cargo")?;
    ensure!(built.status.success(), "the peers cannot be built: {}", String::from_utf8_lossy(&built.stderr));
    let rust = folder.join("target/release/confirmd-peers").display().to_string();
    let mut peers = vec![
        Peer { name: "graphile_worker (Rust)", command: vec![rust.clone(), "graphile_worker".into()] },
        Peer { name: "apalis-postgres (Rust)", command: vec![rust, "apalis".into()] },
    ];
    bench.tell("installing the peers in Node");
    let installed = Command::new("npm").args(["ci", "--silent", "--prefix", "benches/peers"]).output().await;
    match installed {
        Ok(done) if done.status.success() => {
            let script = folder.join("peers.mjs").display().to_string();
            for (name, peer) in [("graphile-worker (Node)", "graphile-worker"), ("pg-boss (Node)", "pg-boss")] {
                peers.push(Peer { name, command: vec!["node".into(), script.clone(), peer.into()] });
            }
        }
        Ok(failed) => {
            bench.missing.push(format!("peers in Node: npm: {}", String::from_utf8_lossy(&failed.stderr).trim()))
        }
        Err(error) => bench.missing.push(format!("peers in Node: npm: {error}")),
    }
    Ok(peers)
}

/// One peer over a database of its own: it enqueues, says that it is ready, drains when told to, and says how long it took.
async fn drained(bench: &mut Bench, peer: &Peer, run: usize) -> anyhow::Result<f64> {
    let name: String = peer.name.chars().filter(char::is_ascii_alphanumeric).collect();
    let database = bench.rig.empty_database(&format!("peer_{}_{run}", name.to_lowercase())).await?;
    let (program, args) = peer.command.split_first().context("a peer has a command")?;
    let mut child = Command::new(program)
        .args(args)
        .args(["--database-url", &database.url, "--sink", &format!("http://{}", bench.sink.address)])
        .args(["--jobs", &bench.plan.backlog.to_string(), "--concurrency", &CONCURRENCY.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let mut lines = BufReader::new(child.stdout.take().context("it has no output")?).lines();
    let ready = lines.next_line().await?;
    ensure!(ready.as_deref().is_some_and(|line| line.contains("ready")), "it did not get ready: {ready:?}");
    let mut stdin = child.stdin.take().context("it has no input")?;
    stdin.write_all(b"go\n").await?;
    let mut last = None;
    while let Some(line) = lines.next_line().await? {
        last = Some(line);
    }
    let status = child.wait().await?;
    ensure!(status.success(), "it ended with {status}");
    let said: Said = serde_json::from_str(&last.context("it said nothing")?)?;
    Ok(said.jobs_per_second)
}
