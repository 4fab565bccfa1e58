//! confirmd tells Twilio which one-time passwords worked.
//!
//! ```text
//! callers ──▶ intake ──▶ store ──▶ delivery ──▶ twilio ──▶ Twilio
//! ```

pub mod domain; // the words
pub mod store; // what we remember
pub mod twilio; // the only words Twilio hears
