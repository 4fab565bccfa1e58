//! Twilio's ledger, as it stands in its file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::outside::Entry;

/// A request that Twilio heard, and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) at: u64,
    /// Which replica asked.
    pub(crate) by: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
    pub(crate) message_sid: Option<String>,
    pub(crate) said: Option<Said>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) at: u64,
    pub(crate) status: u16,
    pub(crate) agrees: bool,
    pub(crate) whole: bool,
}

impl Heard {
    /// The client was given a 2xx about its message, to the last byte.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.said.is_some_and(|said| said.whole && said.agrees && (200..300).contains(&said.status))
    }
}

/// All requests so far, in the order they were heard.
pub(crate) fn read(folder: &Path) -> Vec<Heard> {
    let text = std::fs::read_to_string(folder.join("twilio.ledger")).unwrap();
    let mut requests = BTreeMap::new();
    // The last line may be under way.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines() {
        match serde_json::from_str(line).unwrap() {
            Entry::Heard { number, at, by, method, path, content_type, body, message_sid, .. } => {
                let said = None;
                let heard = Heard { at, by, method, path, content_type, body, message_sid, said };
                requests.insert(number, heard);
            }
            Entry::Said { number, at, status, agrees, whole } => {
                let heard: &mut Heard = requests.get_mut(&number).expect("what is answered was heard");
                heard.said = Some(Said { at, status, agrees, whole });
            }
        }
    }
    requests.into_values().collect()
}
