//! The way of log lines to stderr. Whoever reads them may stop reading: then lines are dropped and counted, and nobody who
//! logs waits.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use metrics::counter;
use tracing_subscriber::fmt::MakeWriter;

use super::names::LOG_LINES_DROPPED_TOTAL;

/// Most lines that wait for who reads them.
const MAX_WAITING: usize = 8192;
/// Longest that the end of the process waits for the last lines.
const LONGEST_FLUSH: Duration = Duration::from_millis(500);
/// Between two looks whether there is room.
const LOOK: Duration = Duration::from_millis(5);

/// Of this process: there is one log in it.
static LINES: OnceLock<Lines> = OnceLock::new();

enum Said {
    Line(Vec<u8>),
    /// All lines before this one are written.
    Flush(SyncSender<()>),
}

/// Takes lines, and never waits.
#[derive(Clone)]
pub(super) struct Lines(SyncSender<Said>);

impl Lines {
    /// To stderr, by a thread of their own.
    pub(super) fn start() -> io::Result<Self> {
        let (lines, waiting) = sync_channel(MAX_WAITING);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&waiting, io::stderr()))?;
        let lines = Self(lines);
        let _there_is_one_already = LINES.set(lines.clone());
        Ok(lines)
    }

    fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let (written, all_written) = sync_channel(1);
        let mut flush = Said::Flush(written);
        while let Err(TrySendError::Full(again)) = self.0.try_send(flush) {
            if until <= Instant::now() {
                return;
            }
            flush = again;
            thread::sleep(LOOK);
        }
        // Who reads nothing does not get the last lines either.
        let _late = all_written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

fn write_all(waiting: &Receiver<Said>, mut to: impl io::Write) {
    while let Ok(said) = waiting.recv() {
        match said {
            // Nobody reads any more: there is nowhere to say it.
            Said::Line(line) => drop(to.write_all(&line)),
            Said::Flush(written) => drop(written.try_send(())),
        }
    }
}

/// Waits a moment for the last lines. For the end of the process.
pub fn flush_logs() {
    if let Some(lines) = LINES.get() {
        lines.flush(LONGEST_FLUSH);
    }
}

/// One line, handed on whole when it is dropped.
pub(super) struct Line<'a> {
    lines: &'a Lines,
    text: Vec<u8>,
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.text);
        if !line.is_empty() && self.lines.0.try_send(Said::Line(line)).is_err() {
            counter!(LOG_LINES_DROPPED_TOTAL).increment(1);
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, text: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Reader(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_whole_and_in_order_and_a_flush_waits_for_them() {
        let (lines, waiting) = sync_channel(100);
        let (lines, reader) = (Lines(lines), Reader::default());
        let read = reader.clone();
        let writing = thread::spawn(move || write_all(&waiting, read));
        for number in 0..50 {
            let mut line = lines.make_writer();
            write!(line, "line ").unwrap();
            writeln!(line, "{number}").unwrap();
        }
        lines.flush(Duration::from_secs(10));
        let expected: String = (0..50).map(|number| format!("line {number}\n")).collect();
        assert_eq!(String::from_utf8(reader.0.lock().unwrap().clone()).unwrap(), expected);
        drop(lines);
        writing.join().unwrap();
    }

    #[test]
    fn nobody_who_logs_waits_for_who_does_not_read() {
        let (lines, _unread) = sync_channel(3);
        let lines = Lines(lines);
        for _ in 0..100 {
            writeln!(lines.make_writer(), "a line").unwrap();
        }
        let begun = Instant::now();
        lines.flush(Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(5), "a flush has its limit");
    }
}
