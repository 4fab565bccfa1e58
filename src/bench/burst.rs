//! What every round needs: the server, the sinks, numbers that were not used before, and one burst of load measured.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::Instant;

use super::load::LoadReport;
use super::part::{self, Serving};
use super::plan::Plan;
use super::rig::{Database, Rig};
use super::service::{ServiceOptions, arrivals, serve};
use super::{os, stats};

/// The bench while it runs.
pub(super) struct Bench {
    pub(super) plan: Plan,
    pub(super) rig: Rig,
    pub(super) sink: Serving,
    pub(super) slow_sink: Serving,
    pub(super) token: String,
    pub(super) missing: Vec<String>,
    folder: PathBuf,
    next: u32,
    /// By the database's URL.
    registered: HashMap<String, Registered>,
    began: Instant,
}

/// A database's numbers: up to `told` there were events, up to `registered` there are messages, up to `end` all are its own.
struct Registered {
    told: u32,
    registered: u32,
    end: u32,
}

/// Numbers that a database takes at once.
const A_BLOCK: u32 = 500_000;

/// One load on one server.
#[derive(Clone, Debug)]
pub(super) struct Burst<'a> {
    pub(super) database: &'a Database,
    pub(super) connections: u32,
    pub(super) during: Duration,
    /// Most events. At least so many messages are registered before, if `map`.
    pub(super) most: u32,
    pub(super) batch: u32,
    pub(super) rate: Option<u32>,
    pub(super) map: bool,
    /// Wait until everything is confirmed.
    pub(super) until_confirmed: bool,
}

/// What came of a burst. Costs are per event.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) load: LoadReport,
    pub(super) accepted_per_second: f64,
    /// From the first request to the last confirmation's commit.
    pub(super) confirmed_per_second: f64,
    pub(super) service_us: Option<f64>,
    pub(super) postgres_us: Option<f64>,
    pub(super) wal_bytes: f64,
    /// Pages that went to the log whole.
    pub(super) full_pages: Option<f64>,
    pub(super) dead_tuples: f64,
    /// From the caller's request to the request at the sink, sorted, in microseconds.
    pub(super) post_to_post: Vec<u64>,
    /// From the caller's answer to the request at the sink.
    pub(super) answer_to_post: Vec<u64>,
    /// When each event was sent, and when its request came to the sink, in the order of the events.
    pub(super) sent_and_confirmed: Vec<(u64, u64)>,
}

/// How long everything that is owed may take to be confirmed after a burst.
const TO_CONFIRM: Duration = Duration::from_secs(120);

impl Bench {
    pub(super) async fn start(plan: Plan) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("confirmd-bench-{}", std::process::id()));
        let mut missing = Vec::new();
        let rig = Rig::start(&folder, &mut missing).await?;
        let sink = |delay: &str| [String::from("sink"), "--delay".into(), delay.into()];
        if os::cpu(std::process::id()).is_none() {
            missing.push("processor time and memory: this system has no /proc".to_owned());
        }
        Ok(Self {
            sink: Serving::part(&sink("0ms")).await?,
            slow_sink: Serving::part(&sink("80ms")).await?,
            token: super::service::new_token(),
            plan,
            rig,
            missing,
            folder,
            next: 0,
            registered: HashMap::new(),
            began: Instant::now(),
        })
    }

    /// Tells what is being done, to whoever waits for it.
    pub(super) fn tell(&self, what: &str) {
        let seconds = self.began.elapsed().as_secs();
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K{seconds:4} s  {what}");
        } else {
            eprintln!("{seconds:4} s  {what}");
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Numbers that nobody has used.
    pub(super) fn numbers(&mut self, number: u32) -> u32 {
        let from = self.next;
        self.next += number;
        from
    }

    /// confirmd over a database, in a process of its own.
    pub(super) async fn confirmd(&self, database: &Database, role: &str, concurrency: u32) -> anyhow::Result<Serving> {
        self.confirmd_with(database, role, concurrency, &self.sink).await
    }

    pub(super) async fn confirmd_with(
        &self,
        database: &Database,
        role: &str,
        concurrency: u32,
        sink: &Serving,
    ) -> anyhow::Result<Serving> {
        let options = ServiceOptions {
            database_url: &database.url,
            role,
            sink: sink.address,
            concurrency,
            token: &self.token,
            also: &[],
        };
        serve(&options).await
    }

    /// The obvious design over a database; it also delivers if `delivers`.
    pub(super) async fn obvious(&self, database: &Database, pool: u32, delivers: bool) -> anyhow::Result<Serving> {
        let mut args = vec!["obvious".to_owned(), "--database-url".into(), database.url.clone()];
        args.extend(["--pool".to_owned(), pool.to_string()]);
        if delivers {
            args.extend(["--sink".to_owned(), format!("http://{}", self.sink.address)]);
        }
        Serving::part(&args).await
    }

    /// Puts one burst of load on a server, and measures it.
    pub(super) async fn burst(&mut self, server: &mut Serving, burst: &Burst<'_>) -> anyhow::Result<Measured> {
        if !burst.map {
            let from = self.numbers(burst.most);
            return self.burst_of(server, burst, from).await;
        }
        let mut registered = self.registered(burst.database, burst.most).await?;
        let measured = self.burst_of(server, burst, registered.told).await?;
        registered.told += measured.load.sent;
        self.registered.insert(burst.database.url.clone(), registered);
        Ok(measured)
    }

    /// Messages of a database of which nothing was told yet, at least so many. A burst ends when its time is over, and
    /// what it leaves is there for the next.
    async fn registered(&mut self, database: &Database, most: u32) -> anyhow::Result<Registered> {
        let before = self.registered.remove(&database.url).filter(|before| most <= before.end - before.told);
        let registered = before.unwrap_or_else(|| {
            let size = most.max(A_BLOCK);
            let from = self.numbers(size);
            Registered { told: from, registered: from, end: from + size }
        });
        let until = registered.registered.max(registered.told + most);
        database.map(registered.registered, until - registered.registered).await?;
        Ok(Registered { registered: until, ..registered })
    }

    /// The same, of numbers that were taken, and whose messages were registered, before.
    pub(super) async fn burst_of(
        &mut self,
        server: &mut Serving,
        burst: &Burst<'_>,
        from: u32,
    ) -> anyhow::Result<Measured> {
        let Burst { database, connections, during, most, batch, rate, until_confirmed, .. } = burst.clone();
        let times = self.folder.with_extension("times");
        let mut args = vec!["--target".to_owned(), server.address.to_string(), "--token".into(), self.token.clone()];
        for (name, value) in [("connections", connections), ("from", from), ("most", most), ("batch", batch)] {
            args.extend([format!("--{name}"), value.to_string()]);
        }
        args.extend(["--during".to_owned(), format!("{}ms", during.as_millis())]);
        args.extend(rate.iter().flat_map(|rate| ["--rate".to_owned(), rate.to_string()]));
        if until_confirmed {
            args.extend(["--times".to_owned(), times.display().to_string()]);
        }
        let heard_before = heard(&self.sink).await?;
        let full_pages = database.full_pages().await;
        let (wal, pg, cpu) = (database.wal().await?, self.rig.cpu(), os::cpu(server.pid));
        let began = Instant::now();
        let load = part::load(&args).await?;
        if until_confirmed {
            confirmed(database, server, &self.sink, heard_before + u64::from(load.answered)).await?;
        }
        let took = began.elapsed().as_secs_f64();
        server.check()?;
        ensure!(load.refused == 0, "{} requests were refused, and none should be", load.refused);
        let events = f64::from(load.answered.max(1));
        let cost = |after: Option<Duration>, before: Option<Duration>| {
            Some(after?.saturating_sub(before?).as_secs_f64() * 1e6 / events)
        };
        let mut measured = Measured {
            accepted_per_second: events / load.seconds.max(1e-6),
            confirmed_per_second: events / took,
            service_us: cost(os::cpu(server.pid), cpu),
            postgres_us: cost(self.rig.cpu(), pg),
            wal_bytes: (database.wal().await? - wal) as f64 / events,
            full_pages: database.full_pages().await.zip(full_pages).map(|(now, before)| (now - before) as f64 / events),
            dead_tuples: database.dead_tuples().await? as f64,
            load,
            ..Measured::default()
        };
        if until_confirmed {
            let told = std::fs::read(&times).with_context(|| format!("cannot read {}", times.display()))?;
            std::fs::remove_file(&times)?;
            let (_, at) = arrivals(self.sink.address, from, from + most).await?;
            measured.note_lags(&told, &at);
        }
        Ok(measured)
    }

    /// Ends all processes and removes the data.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
        self.sink.stop().await?;
        self.slow_sink.stop().await?;
        self.rig.stop().await
    }
}

/// Waits until the sink has heard of so many in all, and then until nothing is owed any more. The sink is asked first, for
/// asking costs Postgres more with each row that a drain leaves behind, and would be counted among the costs of the drain.
pub(super) async fn confirmed(
    database: &Database,
    server: &mut Serving,
    sink: &Serving,
    in_all: u64,
) -> anyhow::Result<()> {
    let until = Instant::now() + TO_CONFIRM;
    while heard(sink).await? < in_all || database.owes_something().await? {
        server.check()?;
        ensure!(Instant::now() < until, "not everything was confirmed within {TO_CONFIRM:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// How many requests have come to a sink.
pub(super) async fn heard(sink: &Serving) -> anyhow::Result<u64> {
    arrivals(sink.address, 0, 0).await.map(|(requests, _)| requests)
}

impl Measured {
    /// From when each event was sent and answered, and when its request came to the sink.
    fn note_lags(&mut self, told: &[u8], arrived: &[u64]) {
        let moments = told.chunks_exact(8).map(|eight| u64::from_le_bytes(eight.try_into().unwrap_or_default()));
        let moments: Vec<u64> = moments.collect();
        for (told, at) in moments.chunks_exact(2).zip(arrived).filter(|(told, at)| told[1] != 0 && **at != 0) {
            self.sent_and_confirmed.push((told[0], *at));
            self.post_to_post.push(at.saturating_sub(told[0]));
            self.answer_to_post.push(at.saturating_sub(told[1]));
        }
        self.post_to_post.sort_unstable();
        self.answer_to_post.sort_unstable();
    }
}

/// A quantile in milliseconds.
pub(super) fn ms(sorted: &[u64], share: f64) -> f64 {
    stats::quantile(sorted, share) / 1e3
}
