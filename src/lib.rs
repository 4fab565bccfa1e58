//! confirmd tells Twilio which one-time passwords worked.
//!
//! ```text
//! callers ──▶ intake ──▶ store ──▶ delivery ──▶ twilio ──▶ Twilio
//! ```

pub mod domain; // the words
pub mod postgres;
pub mod store; // what we remember // a Postgres of our own, for first contact and for tests
