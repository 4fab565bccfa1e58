//! What to run: words after `cargo test --test chaos --`.

use std::time::Duration;

use crate::harness::run::Form;
use crate::rows::{ROWS, Row};

/// The seed of every `cargo test`, so that one run is like the other.
const SEED: u64 = 20_003;

pub(crate) struct Args {
    pub(crate) form: Form,
    pub(crate) seed: u64,
    /// Only these; all that the form has where there are none.
    rows: Vec<String>,
    /// Rows at once.
    pub(crate) jobs: usize,
    /// Whether to write `deploy/RELIABILITY.md`.
    pub(crate) record: bool,
    /// How long the soak goes on.
    pub(crate) soak: Duration,
    pub(crate) list: bool,
    /// Whether to play the rows against faults of our own making instead.
    pub(crate) bugs: bool,
}

impl Args {
    pub(crate) fn read(words: &[String]) -> Result<Self, String> {
        let mut args = Self {
            form: Form::Short,
            seed: SEED,
            rows: Vec::new(),
            jobs: 3,
            record: false,
            soak: Duration::from_secs(300),
            list: false,
            bugs: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--full" => args.form = Form::Full,
                "--record" => args.record = true,
                "--bugs" => args.bugs = true,
                "--list" => args.list = true,
                "--seed" => args.seed = value()?.parse().map_err(|_| "--seed needs a number")?,
                "--jobs" => args.jobs = value()?.parse().map_err(|_| "--jobs needs a number")?,
                "--minutes" => {
                    let minutes: u64 = value()?.parse().map_err(|_| "--minutes needs a number")?;
                    args.soak = Duration::from_secs(60 * minutes);
                }
                "--row" => args.rows.push(value()?.clone()),
                // What cargo and its like say to every test binary.
                "--nocapture" | "--quiet" | "-q" | "--include-ignored" => {}
                "--test-threads" | "--format" => drop(value()?),
                name if !name.starts_with('-') => args.rows.push(name.to_owned()),
                other => {
                    return Err(format!(
                        "{other} is unknown: --full, --seed N, --row F08, --jobs N, --minutes N, --record, --bugs, --list"
                    ));
                }
            }
        }
        Ok(args)
    }

    pub(crate) fn chosen(&self) -> Vec<&'static Row> {
        let chosen = |row: &&Row| {
            if self.rows.is_empty() {
                self.form == Form::Full || row.short
            } else {
                self.rows.iter().any(|id| id == row.id)
            }
        };
        ROWS.iter().filter(chosen).collect()
    }

    /// Whether rows were asked for by name.
    pub(crate) fn is_choice(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Whether this is chosen; without a choice everything is.
    pub(crate) fn names(&self, what: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|row| row == what)
    }

    /// The command that does one row again.
    pub(crate) fn replay(&self, row: &str) -> String {
        let (release, full) = match self.form {
            Form::Short => ("", ""),
            Form::Full => ("--release ", "--full "),
        };
        format!("cargo test {release}--test chaos -- {full}--seed {} --row {row}", self.seed)
    }
}
