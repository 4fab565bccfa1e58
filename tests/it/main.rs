//! confirmd's promises, one chapter each, in one binary: so that there is one Postgres for all of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail at that line")]

mod harness; // what stories start from

mod databases; // a database of its own for each test
mod embedded; // a Postgres of our own
