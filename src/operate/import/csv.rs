//! CSV, a line at a time: no value of ours holds a line break, so a record never takes more than one.

use csv_core::{ReadRecordResult, Reader};
use serde_json::{Map, Value};

use super::Fault;

/// Every column that there may be: the members of an event.
const COLUMNS: [&str; 7] = ["event_id", "type", "action_id", "message_sid", "account_sid", "resolve", "occurred_at"];

/// The columns, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Header(Vec<&'static str>);

const fn of_the_line(detail: &'static str) -> Fault {
    (String::new(), detail)
}

impl Header {
    pub(super) fn read(line: &str) -> Result<Self, Fault> {
        const UNKNOWN: &str = "names a column that is none of event_id, type, action_id, message_sid, account_sid, \
                               resolve, occurred_at";
        let mut columns = Vec::new();
        for name in fields(line)? {
            let column = COLUMNS.into_iter().find(|column| *column == name.trim());
            let column = column.ok_or(of_the_line(UNKNOWN))?;
            if columns.contains(&column) {
                return Err(of_the_line("names a column twice"));
            }
            columns.push(column);
        }
        Ok(Self(columns))
    }

    /// A record as the JSON object that it means. What is empty is not given.
    pub(super) fn json(&self, line: &str) -> Result<String, Fault> {
        let values = fields(line)?;
        if values.len() != self.0.len() {
            return Err(of_the_line("must have as many fields as the first line has columns"));
        }
        let given = self.0.iter().zip(values).filter(|(_, value)| !value.is_empty());
        let object: Map<String, Value> = given.map(|(column, value)| ((*column).to_owned(), value.into())).collect();
        Ok(Value::Object(object).to_string())
    }
}

fn fields(line: &str) -> Result<Vec<String>, Fault> {
    let (mut text, mut ends) = (vec![0; line.len() + 1], vec![0; line.len() + 1]);
    let mut reader = Reader::new();
    let (_, _, written, ended) = reader.read_record(line.as_bytes(), &mut text, &mut ends);
    // No more input ends the record; a quote that is still open ends with it.
    let (result, _, more, last) = reader.read_record(&[], &mut text[written..], &mut ends[ended..]);
    if !matches!(result, ReadRecordResult::Record) {
        return Err(of_the_line("must be one record of CSV"));
    }
    text.truncate(written + more);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let field = |(start, end): (usize, usize)| String::from_utf8(text[start..end].to_vec());
    let fields: Result<Vec<_>, _> = starts.zip(ends.iter().copied()).take(ended + last).map(field).collect();
    fields.map_err(|_| of_the_line("must be one record of CSV"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quoted(values: &[String]) -> String {
        values.iter().map(|value| format!("\"{}\"", value.replace('"', "\"\""))).collect::<Vec<_>>().join(",")
    }

    proptest! {
        #[test]
        fn no_line_stops_the_reading(line in any::<String>()) {
            let line = line.replace(['\n', '\r'], "");
            let _faulty_or_not = Header::read(&line);
            if let Ok(fields) = fields(&line) {
                prop_assert!(fields.iter().map(String::len).sum::<usize>() <= line.len());
            }
            let header = Header::read("event_id,message_sid").unwrap();
            if let Ok(json) = header.json(&line) {
                prop_assert!(serde_json::from_str::<Map<String, Value>>(&json).is_ok());
            }
        }

        #[test]
        fn what_is_quoted_comes_back_whatever_it_is(values in prop::collection::vec("[^\r\n]{0,40}", 1..8)) {
            prop_assert_eq!(fields(&quoted(&values)).unwrap(), values);
        }
    }
}
