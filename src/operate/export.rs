//! `confirmd export`: confirmations, events or dead letters as a whole, as NDJSON or CSV, a page at a time.

use std::io;

use chrono::{DateTime, SecondsFormat, Utc};
use csv_core::{WriteResult, Writer};
use serde_json::Value;

use super::import::Format;
use super::progress::Progress;
use crate::domain::{Label, LetterReason, MessageSid};
use crate::store::{
    ConfirmationRow, Cursor, DeadLetter, EventPlace, EventRow, Ledger, LetterFilter, LetterSubject, Span, StoreError,
};

/// What is written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Whole {
    /// What Twilio has; the span is of confirmed_at
    Confirmations,
    /// What was accepted; the span is of accepted_at
    Events,
    /// What was given up or expired; the span is of died_at
    DeadLetters,
}

/// Rows that are held at once.
const PAGE: u32 = 1000;

/// Why an export ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("cannot be written on: {0}")]
    Output(#[from] io::Error),
}

/// Writes a whole to `out`; of dead letters, those of `reason`. Gives how many rows it has.
///
/// # Errors
/// Where Postgres does not answer, or nobody takes what is written.
pub async fn export(
    ledger: &Ledger,
    whole: Whole,
    span: &Span,
    reason: Option<LetterReason>,
    format: Format,
    out: &mut impl io::Write,
) -> Result<u64, ExportError> {
    let mut sheet = Sheet { format, rows: 0, out };
    let mut progress = Progress::new(None);
    if format == Format::Csv {
        sheet.line_of_csv(columns(whole).iter().map(|column| (*column).to_owned()))?;
    }
    let mut place = Place { reason, ..Place::default() };
    loop {
        let (rows, more) = place.turn(ledger, whole, span).await?;
        for row in &rows {
            sheet.row(columns(whole), row)?;
        }
        progress.show(0, || format!("{} rows", sheet.rows));
        if !more {
            break;
        }
    }
    sheet.out.flush()?;
    Ok(sheet.rows)
}

const fn columns(whole: Whole) -> &'static [&'static str] {
    match whole {
        Whole::Confirmations => &[
            "message_sid",
            "account_sid",
            "namespace",
            "action_id",
            "sent_at",
            "owed_at",
            "confirmed_at",
            "attempts",
            "date_updated",
            "request_id",
            "country",
            "sender",
            "template",
            "channel",
        ],
        Whole::Events => {
            &["event_id", "namespace", "action_id", "resolve", "occurred_at", "accepted_at", "state", "message_sids"]
        }
        Whole::DeadLetters => &[
            "message_sid",
            "event_id",
            "account_sid",
            "namespace",
            "action_id",
            "reason",
            "attempts",
            "last_status",
            "last_code",
            "died_at",
        ],
    }
}

/// A row's values, in the order of its columns.
type Row = Vec<Value>;

/// Where the next page starts.
#[derive(Default)]
struct Place {
    reason: Option<LetterReason>,
    message_sid: Option<MessageSid>,
    event: Option<EventPlace>,
    letter: Option<Cursor>,
}

impl Place {
    /// The next page, and whether there may be more.
    async fn turn(&mut self, ledger: &Ledger, whole: Whole, span: &Span) -> Result<(Vec<Row>, bool), StoreError> {
        let full = |rows: usize| usize::try_from(PAGE).is_ok_and(|page| rows == page);
        match whole {
            Whole::Confirmations => {
                let page = ledger.confirmations_after(span, self.message_sid.as_ref(), PAGE).await?;
                self.message_sid = page.last().map(|row| row.message_sid.clone());
                Ok((page.iter().map(confirmation).collect(), full(page.len())))
            }
            Whole::Events => {
                let page = ledger.events_after(span, self.event.as_ref(), PAGE).await?;
                self.event = page.last().map(|row| (row.accepted_at, row.key.clone()));
                Ok((page.iter().map(event).collect(), full(page.len())))
            }
            Whole::DeadLetters => {
                let Span { namespace, since, until } = span.clone();
                let filter = LetterFilter { namespace, reason: self.reason, since, until, ..LetterFilter::default() };
                let page = ledger.dead_letters(&filter, PAGE, self.letter.take()).await?;
                self.letter = page.next;
                Ok((page.items.iter().map(letter).collect(), self.letter.is_some()))
            }
        }
    }
}

fn confirmation(row: &ConfirmationRow) -> Row {
    let label = |label: &Option<Label>| text(label.as_ref().map(Label::as_str));
    vec![
        row.message_sid.as_str().into(),
        row.account_sid.as_str().into(),
        row.namespace.as_str().into(),
        text(row.action_id.as_ref().map(|action| action.as_str())),
        time(row.sent_at),
        time(row.owed_at),
        time(Some(row.confirmed_at)),
        row.attempts.into(),
        time(row.date_updated),
        text(row.request_id.as_deref()),
        label(&row.labels.country),
        label(&row.labels.sender),
        label(&row.labels.template),
        label(&row.labels.channel),
    ]
}

fn event(row: &EventRow) -> Row {
    vec![
        row.key.event_id.as_str().into(),
        row.key.namespace.as_str().into(),
        text(row.action_id.as_ref().map(|action| action.as_str())),
        row.resolve.as_str().into(),
        time(Some(row.occurred_at)),
        time(Some(row.accepted_at)),
        row.state.as_str().into(),
        row.message_sids.iter().map(|sid| Value::from(sid.as_str())).collect::<Vec<_>>().into(),
    ]
}

fn letter(DeadLetter { namespace, subject, action_id, reason, died_at }: &DeadLetter) -> Row {
    let (message_sid, event_id, account_sid, attempts, status, code) = match subject {
        LetterSubject::Feedback { message_sid, account_sid, attempts, last_status, last_code } => {
            (Some(message_sid.as_str()), None, Some(account_sid.as_str()), Some(*attempts), *last_status, *last_code)
        }
        LetterSubject::Event { event_id } => (None, Some(event_id.as_str()), None, None, None, None),
    };
    vec![
        text(message_sid),
        text(event_id),
        text(account_sid),
        namespace.as_str().into(),
        text(action_id.as_ref().map(|action| action.as_str())),
        reason.as_str().into(),
        attempts.into(),
        status.into(),
        code.into(),
        time(Some(*died_at)),
    ]
}

fn text(text: Option<&str>) -> Value {
    text.into()
}

fn time(at: Option<DateTime<Utc>>) -> Value {
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true)).into()
}

/// What is written on.
struct Sheet<'o, O> {
    format: Format,
    rows: u64,
    out: &'o mut O,
}

impl<O: io::Write> Sheet<'_, O> {
    fn row(&mut self, columns: &[&str], row: &Row) -> io::Result<()> {
        self.rows += 1;
        match self.format {
            Format::Csv => self.line_of_csv(row.iter().map(plain)),
            Format::Ndjson => {
                for (at, (column, value)) in columns.iter().zip(row).enumerate() {
                    write!(self.out, "{}\"{column}\":{value}", if at == 0 { '{' } else { ',' })?;
                }
                self.out.write_all(b"}\n")
            }
        }
    }

    fn line_of_csv(&mut self, fields: impl Iterator<Item = String>) -> io::Result<()> {
        let mut writer = Writer::new();
        // At worst each character is a quote that is doubled, and the field is in quotes.
        let mut line = Vec::new();
        for (at, field) in fields.enumerate() {
            let mut room = vec![0; field.len() * 2 + 8];
            let mut written = 0;
            if at != 0 {
                written += writer.delimiter(&mut room).1;
            }
            let (result, _, length) = writer.field(field.as_bytes(), &mut room[written..]);
            written += length;
            if !matches!(result, WriteResult::InputEmpty) {
                return Err(io::Error::other("a field of CSV does not fit its bound"));
            }
            line.extend_from_slice(&room[..written]);
        }
        let mut end = [0; 8];
        let (_, written) = writer.terminator(&mut end);
        line.extend_from_slice(&end[..written]);
        self.out.write_all(&line)
    }
}

/// A value as a spreadsheet shows it: nothing for null, several with a space between them.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, rows: &[Row]) -> String {
        let mut out = Vec::new();
        let mut sheet = Sheet { format, rows: 0, out: &mut out };
        rows.iter().for_each(|row| sheet.row(&["a", "b", "c"], row).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_row_is_a_line_whatever_it_holds() {
        let rows: [Row; 2] = [
            vec!["x,\"y\"".into(), Value::Null, vec![Value::from("1"), Value::from("2")].into()],
            vec!["".into(), 7.into(), "\"".repeat(300).into()],
        ];
        let quotes = "\"".repeat(602);
        assert_eq!(
            written(Format::Csv, &rows),
            format!("\"x,\"\"y\"\"\",,1 2\n\"\",7,{quotes}\n").replacen("\"\",7", ",7", 1)
        );
        assert_eq!(written(Format::Ndjson, &rows[..1]), "{\"a\":\"x,\\\"y\\\"\",\"b\":null,\"c\":[\"1\",\"2\"]}\n");
    }
}
