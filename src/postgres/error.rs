//! Why there is no embedded Postgres, in words for whoever has just cloned this project.

use std::{fmt, io, path::Path, path::PathBuf};

use super::binaries::OLDEST;

#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error(
        "no PostgreSQL server (version {OLDEST} or later) was found on this machine; any one of these will do:\n{ways_out}"
    )]
    NoBinaries { ways_out: String },

    #[error(
        "CONFIRMD_PG_BIN is {}, but initdb, pg_ctl and postgres (version {OLDEST} or later) are not in there; point it \
         to the bin folder of a PostgreSQL, or unset it to have one looked for", dir.display()
    )]
    NotInNamedFolder { dir: PathBuf },

    #[error(
        "the data in {} was made by PostgreSQL {data}, and this machine has PostgreSQL {}, which cannot read it; \
         install PostgreSQL {data} beside it, or move that folder away to start afresh", data_dir.display(), list(found)
    )]
    OtherVersion { data_dir: PathBuf, data: u32, found: Vec<u32> },

    #[error("{} is in use by {holder}; stop that one first, or choose another folder", data_dir.display())]
    AlreadyRunning { data_dir: PathBuf, holder: String },

    #[error(
        "Postgres refuses to run as root, and neither a user postgres nor a user nobody is in /etc/passwd to run it; \
         run confirmd as another user, or create one of them"
    )]
    NoAccount,

    #[error(
        "Postgres refuses to run as root, so it runs as {account}, who cannot enter {}; let that user in, or choose \
         another folder", path.display()
    )]
    OutOfReach { account: String, path: PathBuf },

    #[error("initdb could not make the data: {said}")]
    InitdbFailed { said: String },

    #[error("Postgres did not start; the end of {} says:\n{said}", log.display())]
    DidNotStart { log: PathBuf, said: String },

    #[error("Postgres did not stop; see {}", log.display())]
    DidNotStop { log: PathBuf },

    #[error("could not {doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },

    #[error("the embedded Postgres runs, but refused to create a database: {0}")]
    Database(#[from] sqlx::Error),
}

/// Adds what was being done to which path, without which an I/O error tells nothing.
pub(super) fn while_doing(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    let path = path.to_owned();
    move |source| EmbeddedError::Io { doing, path, source }
}

fn list(versions: &[u32]) -> impl fmt::Display {
    versions.iter().map(u32::to_string).collect::<Vec<_>>().join(" and ")
}
