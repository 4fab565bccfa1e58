//! confirmd tells Twilio which one-time passwords worked.
//!
//! ```text
//! callers ──▶ intake ──▶ store ──▶ delivery ──▶ twilio ──▶ Twilio
//! ```

pub mod config; // what an operator decides
pub mod domain; // the words
pub mod store; // what we remember
