//! confirmd tells Twilio which one-time passwords worked.
//!
//! ```text
//! callers ──▶ intake ──▶ store ──▶ delivery ──▶ twilio ──▶ Twilio
//! ```
//!
//! Login and signup services report each completed one-time password over HTTP. [`intake`] parses the report and
//! answers when [`store`] has committed it; [`delivery`] claims what is due and sends it through [`twilio`]; how that
//! ended is settled in the store.
//!
//! Three invariants, all of them absences: intake never learns what Twilio said; delivery never learns who told us;
//! nothing waits for anything to its right. The one arrow that points left, settling, ends a lease and carries nothing
//! that intake reads. Twilio may be down all day, and a caller's answer is as fast as ever.
//!
//! The rooms, in reading order:

pub mod domain; // the words
pub mod intake; // what callers tell us
pub mod store; // what we remember
pub mod delivery; // what we owe Twilio
pub mod twilio; // the only words Twilio hears
pub mod operate; // what an operator asks and does

pub mod app; // opens every room, and closes them in order
pub mod bench; // how fast it is, and what it costs
pub mod cli; // the command line
pub mod config; // what an operator decides
pub mod dev; // first contact: everything on one machine, with one command
pub mod postgres; // a Postgres of our own, for first contact and for tests
pub mod telemetry; // what confirmd says of itself
