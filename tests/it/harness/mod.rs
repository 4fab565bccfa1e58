//! What stories start from.

pub(crate) mod caller; // a login service
pub(crate) mod database; // a database of its own for each test
pub(crate) mod documented; // answers, held against the OpenAPI document
pub(crate) mod gate; // writers wait there before they commit
pub(crate) mod far; // a Postgres that is far away
pub(crate) mod held; // a server in another process, to be killed
pub(crate) mod outside; // waiting for a process that is not ours
pub(crate) mod process; // the real binary
pub(crate) mod peer; // a port that keeps every byte it hears
mod postgres; // the one server behind all of them
pub(crate) mod service; // the HTTP interface on a socket, and its callers
pub(crate) mod traffic; // logins that never cease
pub(crate) mod world; // a database, a Twilio, and confirmd in between

/// Makes the template that each test's database is a copy of.
async fn migrate(url: &str) -> Result<(), String> {
    let connect = confirmd::store::connect_options(url)?;
    confirmd::store::migrate(&connect).await.map(drop).map_err(|error| error.to_string())
}
