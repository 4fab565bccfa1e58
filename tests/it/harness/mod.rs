//! What stories start from.

pub(crate) mod database; // a database of its own for each test
pub(crate) mod held; // a server in another process, to be killed
pub(crate) mod outside; // waiting for a process that is not ours
mod postgres; // the one server behind all of them

/// Makes the template that each test's database is a copy of.
async fn migrate(_url: &str) -> Result<(), String> {
    Ok(())
}
