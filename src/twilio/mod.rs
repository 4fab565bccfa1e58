//! Room 4: the only words Twilio hears.
//!
//! [`Twilio`] is the one client, and [`Twilio::send_feedback`] the one request. What the answer means for the feedback
//! is decided in `delivery`; here it is only read. [`sim`] is a Twilio to practise on.

mod answer;
mod client;
pub mod sim;
pub mod wire;

pub use answer::{Agreement, Answer, Failure, Reply};
pub use client::{Account, Credential, Twilio, TwilioOptions};
