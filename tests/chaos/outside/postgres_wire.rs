//! Which statement is under way on a connection to Postgres, read from what its client says.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use std::collections::HashMap;

/// The client's side of one connection.
#[derive(Default)]
pub(super) struct ClientSide {
    started: bool,
    /// Names of prepared statements, and what they are called in the code.
    prepared: HashMap<Vec<u8>, String>,
    pending: Vec<u8>,
}

/// A whole message, and the statement that it runs, if it runs one.
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) runs: Option<String>,
}

impl ClientSide {
    /// The messages that are whole now.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.pending.extend_from_slice(bytes);
        let mut messages = Vec::new();
        while let Some(message) = self.next() {
            messages.push(message);
        }
        messages
    }

    fn next(&mut self) -> Option<Message> {
        // The first message has no type.
        let at = usize::from(self.started);
        let length = self.pending.get(at..at + 4)?;
        let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
        let length = at + usize::try_from(length).expect("a message fits into memory");
        if self.pending.len() < length {
            return None;
        }
        let bytes: Vec<u8> = self.pending.drain(..length).collect();
        let runs = if self.started { self.understand(&bytes) } else { None };
        self.started = true;
        Some(Message { bytes, runs })
    }

    fn understand(&mut self, bytes: &[u8]) -> Option<String> {
        let mut texts = bytes[5..].split(|byte| *byte == 0);
        match bytes[0] {
            b'Q' => Some(called(texts.next()?)),
            b'P' => {
                let (name, statement) = (texts.next()?.to_vec(), called(texts.next()?));
                self.prepared.insert(name, statement);
                None
            }
            b'B' => {
                let (_portal, name) = (texts.next()?, texts.next()?);
                self.prepared.get(name).cloned()
            }
            _ => None,
        }
    }
}

/// Statements say their name in a comment on their first line; others are called by their first word.
fn called(statement: &[u8]) -> String {
    let text = String::from_utf8_lossy(statement);
    let text = text.trim_start();
    match text.strip_prefix("-- ") {
        Some(named) => named.split(['\n', ',']).next().unwrap_or_default().trim().to_owned(),
        None => text.split_whitespace().next().unwrap_or_default().to_uppercase(),
    }
}
