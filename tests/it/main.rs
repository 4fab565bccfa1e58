//! confirmd's promises, one chapter each, in one binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail at that line")]

mod sdk; // Twilio's own SDK cannot tell the simulator from Twilio
mod simulator; // a Twilio to practise on
