//! The lines of a file, one by one, each within its bound: NDJSON as it stands, CSV as the JSON that it means.

use std::io::{self, BufRead, Read as _};

use tokio::sync::mpsc;

use super::Fault;
use super::csv::Header;

/// How the lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A line of column names, then a line for each event.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

/// One line that holds an event.
#[derive(Debug)]
pub struct Line {
    /// Counted from 1, as editors do.
    pub number: u64,
    /// How many bytes of the file have been read with it.
    pub end: u64,
    /// Its JSON, or what is wrong with the line; an error where the file cannot be read on.
    pub content: io::Result<Result<String, Fault>>,
}

/// Longest line, in bytes. One that is longer is passed over, and never held.
const LONGEST: u64 = 16 << 10;

const TOO_LONG: &str = "must have at most 16384 bytes";
const NOT_UTF_8: &str = "must be in UTF-8";

/// Reads to the end, or until nobody listens any more.
pub(super) fn read(mut file: impl BufRead, format: Option<Format>, from_line: u64, ahead: &mpsc::Sender<Line>) {
    let (mut format, mut header): (_, Option<Result<Header, Fault>>) = (format, None);
    let (mut number, mut end) = (0, 0);
    loop {
        let mut bytes = Vec::new();
        let line = match next(&mut file, &mut bytes) {
            Ok(0) => return,
            Ok(length) => {
                (number, end) = (number + 1, end + length);
                text(bytes, number == 1)
            }
            Err(error) => {
                let _nobody_listens = ahead.blocking_send(Line { number: number + 1, end, content: Err(error) });
                return;
            }
        };
        if line.as_ref().is_ok_and(|line| line.trim().is_empty()) {
            continue;
        }
        let starts_json = line.as_ref().is_ok_and(|line| line.trim_start().starts_with('{'));
        let format = *format.get_or_insert(if starts_json { Format::Ndjson } else { Format::Csv });
        let content = match (format, line, &header) {
            (Format::Ndjson, line, _) => line,
            (Format::Csv, line, None) => {
                let read = line.and_then(|line| Header::read(&line));
                let faulty = read.as_ref().err().cloned();
                header = Some(read);
                match faulty {
                    // Without its columns no line means anything.
                    Some(fault) => {
                        let _nobody_listens = ahead.blocking_send(Line { number, end, content: Ok(Err(fault)) });
                        return;
                    }
                    None => continue,
                }
            }
            (Format::Csv, line, Some(header)) => {
                line.and_then(|line| header.as_ref().map_err(Clone::clone).and_then(|header| header.json(&line)))
            }
        };
        if from_line <= number && ahead.blocking_send(Line { number, end, content: Ok(content) }).is_err() {
            return;
        }
    }
}

/// Reads one line with its line break; of one that is too long, no more than that it is. Gives how many bytes it has.
fn next(file: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<u64> {
    let mut length = file.take(LONGEST + 2).read_until(b'\n', bytes)? as u64;
    while LONGEST + 2 <= length && !bytes.ends_with(b"\n") {
        let mut more = Vec::new();
        let read = file.take(LONGEST).read_until(b'\n', &mut more)? as u64;
        length += read;
        if read == 0 || more.ends_with(b"\n") {
            break;
        }
    }
    Ok(length)
}

fn text(mut bytes: Vec<u8>, is_first: bool) -> Result<String, Fault> {
    while bytes.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        bytes.pop();
    }
    if LONGEST < bytes.len() as u64 {
        return Err((String::new(), TOO_LONG));
    }
    let text = String::from_utf8(bytes).map_err(|_| (String::new(), NOT_UTF_8))?;
    // What some editors and spreadsheets begin a file with.
    Ok(if is_first { text.trim_start_matches('\u{feff}').to_owned() } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(file: &[u8], from_line: u64) -> Vec<(u64, Result<String, &'static str>)> {
        let (ahead, mut lines) = mpsc::channel(1000);
        read(file, None, from_line, &ahead);
        drop(ahead);
        let mut read = Vec::new();
        while let Ok(line) = lines.try_recv() {
            read.push((line.number, line.content.unwrap().map_err(|(_, detail)| detail)));
        }
        read
    }

    #[test]
    fn lines_are_counted_as_editors_count_them() {
        let file = b"\xef\xbb\xbf{\"a\":1}\r\n\n  \n{\"b\":2}\n{\"c\":3}";
        let json = |text: &str| Ok(text.to_owned());
        assert_eq!(lines(file, 1), [(1, json("{\"a\":1}")), (4, json("{\"b\":2}")), (5, json("{\"c\":3}"))]);
        assert_eq!(lines(file, 5), [(5, json("{\"c\":3}"))]);
        assert_eq!(lines(b"", 1), []);
    }

    #[test]
    fn a_line_that_is_too_long_or_no_text_is_a_fault_of_its_own() {
        for too_many in [LONGEST as usize + 1, LONGEST as usize + 2, LONGEST as usize * 3] {
            let file = [b"{}\n".to_vec(), vec![b'x'; too_many], b"\n{}\n\xff\n{}".to_vec()].concat();
            let [one, two, three, four, five] = lines(&file, 1).try_into().unwrap();
            assert_eq!((one.1.is_ok(), two, three.1.is_ok()), (true, (2, Err(TOO_LONG)), true), "{too_many}");
            assert_eq!((four, five), ((4, Err(NOT_UTF_8)), (5, Ok("{}".to_owned()))));
        }
        let just_short = [vec![b'{'], vec![b'x'; LONGEST as usize - 1], b"\r\n".to_vec()].concat();
        assert!(lines(&just_short, 1)[0].1.is_ok());
    }

    #[test]
    fn a_line_of_csv_means_an_object_of_what_it_gives() {
        let file = b"event_id,message_sid,occurred_at\n\"a,\"\"b\",SM1,\n\nc,,2026\nd,e\n";
        let json = |text: &str| Ok(text.to_owned());
        assert_eq!(
            lines(file, 1),
            [
                (2, json("{\"event_id\":\"a,\\\"b\",\"message_sid\":\"SM1\"}")),
                (4, json("{\"event_id\":\"c\",\"occurred_at\":\"2026\"}")),
                (5, Err("must have as many fields as the first line has columns")),
            ]
        );
    }

    #[test]
    fn without_columns_that_are_known_nothing_is_read() {
        for (file, detail) in [
            (
                "event_id,phone\na,b",
                "names a column that is none of event_id, type, action_id, message_sid, account_sid, resolve, occurred_at",
            ),
            ("event_id,event_id\na,b", "names a column twice"),
            (
                "SM1\nSM2",
                "names a column that is none of event_id, type, action_id, message_sid, account_sid, resolve, occurred_at",
            ),
        ] {
            assert_eq!(lines(file.as_bytes(), 1), [(1, Err(detail))], "{file}");
        }
    }
}
