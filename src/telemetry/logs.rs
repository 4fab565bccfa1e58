//! Log lines: JSON for collectors, text for a terminal. They go to stderr; stdout belongs to what a command answers.

use std::{
    env,
    error::Error,
    fmt::{self, Write as _},
    io::{self, IsTerminal},
    sync::OnceLock,
};

use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Level, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    field::MakeExt,
    filter::filter_fn,
    fmt::{FormatFields, MakeWriter, format, layer},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt,
};

use super::{lines::Lines, traces::tracer};
use crate::config::LogFormat;

/// Sets the filter of the log anew.
type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// Of this process: there is one log in it.
static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Logs from here on. Fails if `filter` is none, or if somebody logs already.
pub fn init_logs(log_format: LogFormat, filter: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let terminal = io::stderr().is_terminal();
    let style = match log_format {
        LogFormat::Json => Style::Json,
        LogFormat::Auto if !terminal => Style::Json,
        LogFormat::Auto | LogFormat::Pretty => Style::Text { colour: terminal && wants_colour() },
    };
    let filter = EnvFilter::builder().parse(filter)?;
    let lines = Lines::start()?;
    let (subscriber, set_filter) = match tracer()? {
        None => subscriber(style, filter, lines),
        Some(tracer) => with_traces(style, filter, lines, tracer),
    };
    subscriber.try_init()?;
    let _it_was_set_by_who_logs = SET_FILTER.set(set_filter);
    Ok(())
}

/// From now on the log holds what this filter lets through.
///
/// # Errors
/// Where it is no filter, or nobody logs.
pub fn set_log_filter(filter: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let set = SET_FILTER.get().ok_or("nobody logs")?;
    Ok(set(EnvFilter::builder().parse(filter)?)?)
}

/// Source: <https://no-color.org>
fn wants_colour() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[derive(Clone, Copy)]
enum Style {
    Json,
    Text { colour: bool },
}

fn subscriber<W>(style: Style, filter: EnvFilter, writer: W) -> (Box<dyn Subscriber + Send + Sync>, SetFilter)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let logs = tracing_subscriber::fmt();
    match style {
        Style::Json => {
            let logs = logs.json().flatten_event(true).with_span_list(false).with_writer(MakeHarmless(writer));
            let logs = logs.with_env_filter(filter).with_filter_reloading();
            let handle = logs.reload_handle();
            (Box::new(logs.finish()), Box::new(move |filter| handle.reload(filter)))
        }
        Style::Text { colour } => {
            let logs = logs.with_ansi(colour).fmt_fields(harmless_fields()).with_writer(writer);
            let logs = logs.with_env_filter(filter).with_filter_reloading();
            let handle = logs.reload_handle();
            (Box::new(logs.finish()), Box::new(move |filter| handle.reload(filter)))
        }
    }
}

/// The same, and spans of ours to who collects traces, whatever the log's filter leaves out; those at debug are there for
/// that filter alone.
fn with_traces<W>(
    style: Style,
    filter: EnvFilter,
    writer: W,
    tracer: SdkTracer,
) -> (Box<dyn Subscriber + Send + Sync>, SetFilter)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let ours =
        filter_fn(|about| about.is_span() && about.target().starts_with("confirmd") && *about.level() <= Level::INFO);
    let traces = tracing_opentelemetry::layer().with_location(false).with_threads(false).with_tracer(tracer);
    let everything = Registry::default().with(traces.with_filter(ours));
    let (filter, handle) = reload::Layer::new(filter);
    let set_filter = Box::new(move |filter| handle.reload(filter));
    match style {
        Style::Json => {
            let lines = layer().json().flatten_event(true).with_span_list(false).with_writer(MakeHarmless(writer));
            (Box::new(everything.with(lines.with_filter(filter))), set_filter)
        }
        Style::Text { colour } => {
            let lines = layer().with_ansi(colour).fmt_fields(harmless_fields()).with_writer(writer);
            (Box::new(everything.with(lines.with_filter(filter))), set_filter)
        }
    }
}

/// The library's own fields would let a value through that holds a line break, and so a line of its own.
fn harmless_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    format::debug_fn(|writer, field, value| match field.name() {
        "message" => write!(Harmless(writer), "{value:?}"),
        name => write!(Harmless(writer), "{name}={value:?}"),
    })
    .delimited(" ")
}

/// Whether a character could act on a terminal, end the line, or turn what follows around.
fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes text, and harmful characters as JSON would: `\u001b`.
struct Harmless<W>(W);

impl<W: fmt::Write> fmt::Write for Harmless<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if is_harmful(c) { write!(self.0, "\\u{:04x}", u32::from(c))? } else { self.0.write_char(c)? }
        }
        Ok(())
    }
}

/// Lines of JSON, which itself escapes only some of the harmful characters.
struct MakeHarmless<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for MakeHarmless<M> {
    type Writer = HarmlessLines<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        HarmlessLines(self.0.make_writer())
    }
}

struct HarmlessLines<W>(W);

impl<W: io::Write> io::Write for HarmlessLines<W> {
    /// Takes a whole line, as it is handed one.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let mut harmless = Harmless(String::with_capacity(text.len()));
        let body = text.trim_end_matches('\n');
        if body.chars().any(is_harmful) {
            harmless.write_str(body).map_err(io::Error::other)?;
            harmless.0.push('\n');
            self.0.write_all(harmless.0.as_bytes())?;
        } else {
            self.0.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged meanwhile.
    fn logged(style: Style, filter: &str, act: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let filter = EnvFilter::builder().parse(filter).unwrap();
        tracing::subscriber::with_default(subscriber(style, filter, move || writer.clone()).0, act);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    const HOSTILE: &str = "a\x1b[31mb\nc\rd\u{9b}e\u{7f}f\u{202e}g\u{2028}h";

    fn say_hostile() {
        let span = tracing::info_span!("request", id = %HOSTILE);
        let _inside = span.enter();
        tracing::info!(display = %HOSTILE, debug = ?HOSTILE, text = HOSTILE, "Said {HOSTILE}");
    }

    #[test]
    fn no_value_can_act_on_a_terminal_or_make_a_line_of_its_own() {
        for style in [Style::Text { colour: false }, Style::Json] {
            let text = logged(style, "info", say_hostile);
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.chars().any(is_harmful), "{line:?}");
        }
    }

    #[test]
    fn a_json_line_is_json_and_keeps_what_was_said() {
        let text = logged(Style::Json, "info", say_hostile);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["text"], HOSTILE);
        assert_eq!(line["message"], format!("Said {HOSTILE}"));
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["span"]["id"], HOSTILE);
    }

    #[test]
    fn colour_is_there_only_when_wanted() {
        let say = || tracing::info!(lane = %"main", "Confirmed");
        assert!(logged(Style::Text { colour: true }, "info", say).contains("\x1b["));
        let plain = logged(Style::Text { colour: false }, "info", say);
        assert!(plain.contains("Confirmed lane=main") && !plain.contains('\x1b'), "{plain}");
    }

    #[test]
    fn a_filter_that_is_set_anew_decides_from_then_on() {
        for style in [Style::Text { colour: false }, Style::Json] {
            let lines = Lines::default();
            let writer = lines.clone();
            let (subscriber, set_filter) = subscriber(style, EnvFilter::new("warn"), move || writer.clone());
            tracing::subscriber::with_default(subscriber, || {
                tracing::debug!("before");
                set_filter(EnvFilter::new("debug")).unwrap();
                tracing::debug!("after");
            });
            let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            assert!(text.contains("after") && !text.contains("before"), "{text}");
        }
    }

    #[test]
    fn the_filter_decides_what_is_said() {
        let say = || {
            tracing::debug!("quiet");
            tracing::warn!("loud");
        };
        let text = logged(Style::Json, "warn", say);
        assert!(text.contains("loud") && !text.contains("quiet"), "{text}");
    }
}
