//! What an operator asks and does: over the same store, at the command line.

pub mod audit;
pub mod check;
pub mod dead_letters;
pub mod explain;
pub mod export;
pub mod housekeeping;
pub mod import;
pub mod lanes;
pub mod migrations;
pub mod operations;
mod progress;
pub mod shadow;
pub mod token;
pub mod trace;
