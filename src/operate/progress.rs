//! How far a long command is, on stderr: one line that changes in a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

const IN_A_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Of something whose whole is known, or is not.
pub(super) struct Progress {
    whole: Option<u64>,
    terminal: bool,
    began: Instant,
    shown: Option<Instant>,
}

impl Progress {
    pub(super) fn new(whole: Option<u64>) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { whole: whole.filter(|whole| 0 < *whole), terminal, began: Instant::now(), shown: None }
    }

    /// Says how far it is, unless it has just been said.
    pub(super) fn show(&mut self, done: u64, what: impl FnOnce() -> String) {
        let now = Instant::now();
        let pause = if self.terminal { IN_A_TERMINAL } else { ELSEWHERE };
        if now < self.shown.unwrap_or(self.began) + pause {
            return;
        }
        self.shown = Some(now);
        self.say(&format!("{}{}", what(), self.share(done, now - self.began)));
    }

    /// Says what it came to.
    pub(super) fn end(&mut self, what: impl AsRef<str>) {
        self.say(what.as_ref());
        if self.terminal {
            eprintln!();
        }
    }

    /// How much of the whole, and how long the rest will take at this pace.
    fn share(&self, done: u64, took: Duration) -> String {
        let Some(whole) = self.whole else { return String::new() };
        let share = (done as f64 / whole as f64).min(1.0);
        if share == 0.0 {
            return String::new();
        }
        let left = Duration::from_secs((took.as_secs_f64() * (1.0 - share) / share) as u64);
        format!(" ({:.0} %, {} left)", share * 100.0, humantime::format_duration(left))
    }

    fn say(&self, text: &str) {
        let mut stderr = io::stderr();
        // Nobody may be looking any more; the work goes on.
        let _nobody_looks = if self.terminal { write!(stderr, "\r\x1b[K{text}") } else { writeln!(stderr, "{text}") };
    }
}
