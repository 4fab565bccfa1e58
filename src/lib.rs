//! confirmd tells Twilio which one-time passwords worked.
//!
//! ```text
//! callers ──▶ intake ──▶ store ──▶ delivery ──▶ twilio ──▶ Twilio
//! ```

pub mod domain; // the words
pub mod intake; // what callers tell us
pub mod store; // what we remember
