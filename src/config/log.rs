//! What is logged, and in which form.

use tracing_subscriber::EnvFilter;

use super::table::Table;

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// A level, or directives as `tracing_subscriber::EnvFilter` reads them.
    pub filter: String,
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Readable in a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

impl Log {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let filter = table.text("filter").map_or("info", |given| given.text);
        if !is_filter(filter) {
            table.fault(
                "filter",
                "must be error, warn, info, debug or trace, or with parts: info,confirmd::store=debug",
            );
        }
        let format = match table.text("format").map(|given| given.text) {
            Some("json") => LogFormat::Json,
            Some("pretty") => LogFormat::Pretty,
            Some("auto") | None => LogFormat::Auto,
            Some(_) => {
                table.fault("format", "must be auto, json or pretty");
                LogFormat::Auto
            }
        };
        Self { filter: filter.to_owned(), format }
    }
}

/// A misspelt level is the name of a part to `EnvFilter`, and would silence all others: a part needs its level.
fn is_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let spelt = |part: &str| part.contains('=') || LEVELS.contains(&part.trim().to_ascii_lowercase().as_str());
    text.split(',').all(spelt) && EnvFilter::builder().parse(text).is_ok()
}
