//! The Twilio simulator answers as Twilio does, remembers what it was asked, and fails as it is told to.

mod control;
mod credentials;
mod faults;
mod feedback;
mod limits;
mod messages;
mod severed;
pub(crate) mod staging;
