//! What is logged, and in which form.

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
