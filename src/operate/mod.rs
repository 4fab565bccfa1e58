//! What an operator asks and does.

pub mod token;
