//! What Twilio heard and what it said, one line each, appended as it happens: an entry is never changed.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::request::Request;

pub(super) struct Ledger(Mutex<(u64, File)>);

/// A line of the ledger.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A request, to its last byte. Written before anything is answered.
    Heard {
        number: u64,
        /// Milliseconds since 1970.
        at: u64,
        by: String,
        method: String,
        path: String,
        authorized: bool,
        content_type: String,
        body: String,
        /// `SM…`, where the path names a message of the account.
        message_sid: Option<String>,
        taken: bool,
    },
    /// How the request of this number ended.
    Said {
        number: u64,
        at: u64,
        status: u16,
        /// A 2xx about this message and this outcome.
        agrees: bool,
        /// Every byte of the answer was sent.
        whole: bool,
    },
}

impl Ledger {
    pub(super) fn create(path: &Path) -> Self {
        let file = OpenOptions::new().append(true).create(true).open(path).expect("the ledger can be written");
        Self(Mutex::new((0, file)))
    }

    pub(super) fn heard(
        &self,
        by: &str,
        request: &Request,
        authorized: bool,
        message_sid: Option<String>,
        taken: bool,
    ) -> u64 {
        let mut inner = self.0.lock().expect("no holder panics");
        inner.0 += 1;
        let number = inner.0;
        let entry = Entry::Heard {
            number,
            at: now(),
            by: by.to_owned(),
            method: request.method.clone(),
            path: request.path.clone(),
            authorized,
            content_type: request.header("content-type").to_owned(),
            body: request.body.clone(),
            message_sid,
            taken,
        };
        append(&mut inner.1, &entry);
        number
    }

    pub(super) fn said(&self, number: u64, status: u16, agrees: bool, whole: bool) {
        let entry = Entry::Said { number, at: now(), status, agrees, whole };
        append(&mut self.0.lock().expect("no holder panics").1, &entry);
    }
}

/// One write a line, so that a line is there whole or not at all.
fn append(file: &mut File, entry: &Entry) {
    let mut line = serde_json::to_vec(entry).expect("plain data always becomes JSON");
    line.push(b'\n');
    file.write_all(&line).expect("the ledger can be written");
}

#[expect(clippy::disallowed_methods, reason = "Twilio has a clock of its own")]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_millis()).expect("it is before the year 500000000")
}
