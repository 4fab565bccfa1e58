//! The only words Twilio hears, and a simulator that speaks them back.

pub mod sim;
pub mod wire;
