//! A soak: so many events a second for as long as one likes, and how each minute of it was.

use std::io::Write as _;
use std::time::Duration;

use super::burst::{Bench, Burst};
use super::os;
use super::stats::quantile;

/// Events a second.
const RATE: u32 = 5_000;

/// Runs the soak, and writes a line for each minute.
pub(super) async fn run(bench: &mut Bench, during: Duration) -> anyhow::Result<()> {
    let database = bench.rig.database("soak").await?;
    let most = u32::try_from(during.as_secs()).unwrap_or(u32::MAX).saturating_mul(RATE);
    let mut confirmd = bench.confirmd(&database, "all", 64).await?;
    let from = bench.numbers(most);
    bench.tell("registering the messages");
    database.map(from, most).await?;
    bench.tell(&format!("{RATE} events/s for {}", humantime::format_duration(during)));
    let burst = Burst {
        database: &database,
        connections: 256,
        during: during + Duration::from_secs(60),
        most,
        batch: 1,
        rate: Some(RATE),
        map: false,
        until_confirmed: true,
    };
    let measured = bench.burst_of(&mut confirmd, &burst, from).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{RATE} events/s for {}, on {}", humantime::format_duration(during), os::machine())?;
    let minutes: Vec<Minute> =
        measured.sent_and_confirmed.chunks(usize::try_from(RATE * 60)?).map(Minute::of).collect();
    for (n, minute) in minutes.iter().enumerate() {
        let Minute { per_second, p50_ms, p99_ms } = minute;
        writeln!(
            out,
            "  minute {:2}: {per_second:6.0} events/s, POST to POST p50 {p50_ms:6.2} ms, p99 {p99_ms:6.2} ms",
            n + 1
        )?;
    }
    if let (Some(second), Some(last)) = (minutes.get(1), minutes.last()) {
        let (rate, tail) = (last.per_second / second.per_second, last.p99_ms / second.p99_ms);
        writeln!(out, "  the last minute against the second: {rate:.2} times the events, {tail:.2} times the p99")?;
    }
    if let Some(peak) = os::peak_memory(confirmd.pid) {
        writeln!(
            out,
            "  peak memory of the service {:.0} MB; dead tuples of the hot table {:.0}",
            peak as f64 / 1e6,
            measured.dead_tuples
        )?;
    }
    confirmd.stop().await
}

struct Minute {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Minute {
    /// Of the moments at which each event was sent, and its request came to the sink; in microseconds.
    fn of(events: &[(u64, u64)]) -> Self {
        let mut lags: Vec<u64> = events.iter().map(|(sent, came)| came.saturating_sub(*sent)).collect();
        lags.sort_unstable();
        let (first, last) = (events.iter().map(|(sent, _)| *sent).min(), events.iter().map(|(_, came)| *came).max());
        let took = last.unwrap_or_default().saturating_sub(first.unwrap_or_default()) as f64 / 1e6;
        let per_second = if took == 0.0 { 0.0 } else { events.len() as f64 / took };
        Self { per_second, p50_ms: quantile(&lags, 0.5) / 1e3, p99_ms: quantile(&lags, 0.99) / 1e3 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_told_by_its_events() {
        let events: Vec<(u64, u64)> = (0..1000).map(|n| (n * 1000, n * 1000 + 2000)).collect();
        let Minute { per_second, p50_ms, p99_ms } = Minute::of(&events);
        assert_eq!((p50_ms, p99_ms), (2.0, 2.0));
        assert!((990.0..1010.0).contains(&per_second), "{per_second}");
        assert_eq!(Minute::of(&[]).per_second, 0.0);
    }
}
