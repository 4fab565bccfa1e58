//! The callers: so many connections that each wait for their answer before they ask again, or so many events a second
//! whatever the answers. A process of its own, with one thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

use super::ids;
use super::wire::{Messages, micros, status};

/// What the callers do.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LoadArgs {
    #[arg(long)]
    target: SocketAddr,
    #[arg(long)]
    token: String,
    #[arg(long)]
    connections: u32,
    /// The number of the first event.
    #[arg(long)]
    from: u32,
    /// Most events.
    #[arg(long)]
    most: u32,
    /// Stops after so long; what is in flight is waited for.
    #[arg(long, value_parser = humantime::parse_duration)]
    during: Duration,
    /// Events in one request; more than one go to /v1/events/batch.
    #[arg(long, default_value_t = 1)]
    batch: u32,
    /// Events a second; as many as are answered, if left out.
    #[arg(long)]
    rate: Option<u32>,
    /// Where to write when each event was sent and answered, in microseconds; 16 bytes an event.
    #[arg(long)]
    times: Option<PathBuf>,
}

/// How it went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LoadReport {
    /// Events whose request was sent.
    pub(super) sent: u32,
    pub(super) answered: u32,
    /// Requests that were not answered with 2xx.
    pub(super) refused: u32,
    pub(super) seconds: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

struct Callers {
    args: LoadArgs,
    next: Cell<u32>,
    began: Instant,
    refused: Cell<u32>,
    /// Sent and answered, by number from `args.from`.
    times: RefCell<Vec<(u64, u64)>>,
}

/// Runs the load, and prints the report.
pub(super) async fn run(args: LoadArgs) -> io::Result<()> {
    let size = usize::try_from(args.most).unwrap_or(usize::MAX);
    let callers = Rc::new(Callers {
        next: Cell::new(0),
        began: Instant::now(),
        refused: Cell::new(0),
        times: RefCell::new(vec![(0, 0); size]),
        args,
    });
    let connections = LocalSet::new();
    connections
        .run_until(async {
            let mut calling = tokio::task::JoinSet::new();
            for _ in 0..callers.args.connections {
                calling.spawn_local(call(callers.clone()));
            }
            while let Some(ended) = calling.join_next().await {
                ended??;
            }
            io::Result::Ok(())
        })
        .await?;
    let report = report(&callers)?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn call(callers: Rc<Callers>) -> io::Result<()> {
    let args = &callers.args;
    let mut stream = TcpStream::connect(args.target).await?;
    stream.set_nodelay(true)?;
    let (reads, mut writes) = stream.split();
    let mut answers = Messages::new(reads);
    let mut request = Vec::new();
    loop {
        let first = callers.next.get();
        let last = first.saturating_add(args.batch).min(args.most);
        if first == last || args.during <= callers.began.elapsed() {
            return Ok(());
        }
        callers.next.set(last);
        if let Some(rate) = args.rate {
            let due = callers.began + Duration::from_secs(1) * first / rate;
            if args.during <= due - callers.began {
                return Ok(());
            }
            sleep_until(due).await;
        }
        write_request(&mut request, args, first, last);
        let sent = micros();
        writes.write_all(&request).await?;
        let Some((head, _)) = answers.next().await? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        let taken = matches!(status(head), 200..300);
        if !taken {
            callers.refused.set(callers.refused.get() + 1);
        }
        let answered = if taken { micros() } else { 0 };
        let mut times = callers.times.borrow_mut();
        (first..last).filter_map(|n| usize::try_from(n).ok()).for_each(|n| times[n] = (sent, answered));
    }
}

fn write_request(request: &mut Vec<u8>, args: &LoadArgs, first: u32, last: u32) {
    let event = |n: u32| {
        let (event_id, action_id) = (ids::event_id(args.from + n), ids::action_id(args.from + n));
        format!("{{\"event_id\":\"{event_id}\",\"type\":\"otp.completed\",\"action_id\":\"{action_id}\"}}")
    };
    let (path, body) = match args.batch {
        1 => ("/v1/events", event(first)),
        _ => {
            let events: Vec<String> = (first..last).map(event).collect();
            ("/v1/events/batch", format!("{{\"events\":[{}]}}", events.join(",")))
        }
    };
    request.clear();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        args.target,
        args.token,
        body.len()
    );
    request.extend_from_slice(head.as_bytes());
    request.extend_from_slice(body.as_bytes());
}

fn report(callers: &Callers) -> io::Result<LoadReport> {
    let times = callers.times.borrow();
    let sent = times.iter().filter(|(sent, _)| *sent != 0);
    let mut took: Vec<u64> =
        times.iter().filter(|(_, answered)| *answered != 0).map(|(s, a)| a.saturating_sub(*s)).collect();
    took.sort_unstable();
    let first = sent.clone().map(|(sent, _)| *sent).min().unwrap_or_default();
    let last = times.iter().map(|(_, answered)| *answered).max().unwrap_or_default();
    if let Some(path) = &callers.args.times {
        let bytes: Vec<u8> = times.iter().flat_map(|(s, a)| [s.to_le_bytes(), a.to_le_bytes()]).flatten().collect();
        std::fs::write(path, bytes)?;
    }
    Ok(LoadReport {
        sent: u32::try_from(sent.count()).unwrap_or(u32::MAX),
        answered: u32::try_from(took.len()).unwrap_or(u32::MAX),
        refused: callers.refused.get(),
        seconds: last.saturating_sub(first) as f64 / 1e6,
        p50_ms: super::stats::quantile(&took, 0.50) / 1e3,
        p99_ms: super::stats::quantile(&took, 0.99) / 1e3,
    })
}
