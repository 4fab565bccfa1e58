//! confirmd tells Twilio which one-time passwords worked.
//!
//! ```text
//! callers ──▶ intake ──▶ store ──▶ delivery ──▶ twilio ──▶ Twilio
//! ```

pub mod config; // what an operator decides
pub mod delivery; // what we owe Twilio
pub mod domain; // the words
pub mod intake; // what callers tell us
pub mod postgres; // a Postgres of our own, for first contact and for tests
pub mod store; // what we remember
pub mod telemetry; // logs and metrics
pub mod twilio; // the only words Twilio hears
