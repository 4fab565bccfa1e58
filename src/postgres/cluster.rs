//! The data of an embedded Postgres, made once by initdb, and the password that opens it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{Durability, EmbeddedError, USER, binaries::Binaries, error::while_doing, home::Home};

/// The major version that made the data, if there is data.
pub(super) fn version(data_dir: &Path) -> Result<Option<u32>, EmbeddedError> {
    let path = data_dir.join("cluster/PG_VERSION");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(while_doing("read", &path)(error)),
    };
    match text.trim().split('.').next().unwrap_or_default().parse() {
        Ok(major) => Ok(Some(major)),
        Err(_) => Err(while_doing("understand", &path)(ErrorKind::InvalidData.into())),
    }
}

/// The data appears whole, by a rename: an initdb that was killed leaves nothing that the next run would take for it.
pub(super) fn make_unless_there(
    home: &Home,
    binaries: &Binaries,
    durability: Durability,
    lock: &File,
) -> Result<(), EmbeddedError> {
    let cluster = home.cluster();
    if cluster.exists() {
        return Ok(());
    }
    let unfinished = home.dir().join("cluster.unfinished");
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(while_doing("remove", &unfinished)(error)),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(&unfinished).map_err(while_doing("create", &unfinished))?;
    home.give(&unfinished)?;
    let password = write_password(home)?;
    initdb(home, binaries, durability, lock, &unfinished, &password)?;
    fs::rename(&unfinished, &cluster).map_err(while_doing("rename", &unfinished))?;
    let synced = File::open(home.dir()).and_then(|dir| dir.sync_all());
    synced.map_err(while_doing("sync", home.dir()))
}

pub(super) fn password(home: &Home) -> Result<String, EmbeddedError> {
    let path = password_path(home);
    fs::read_to_string(&path).map_err(while_doing("read", &path))
}

fn initdb(
    home: &Home,
    binaries: &Binaries,
    durability: Durability,
    lock: &File,
    into: &Path,
    password: &Path,
) -> Result<(), EmbeddedError> {
    let program = binaries.program("initdb");
    let mut command = home.command(&program)?;
    command.arg("--pgdata").arg(into).arg("--pwfile").arg(password);
    command.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]);
    if durability == Durability::Fast {
        command.arg("--no-sync");
    }
    // It reads nothing. Holding the lock as its input, it keeps the next run out for as long as it lives.
    command.stdin(lock.try_clone().map_err(while_doing("share the lock of", into))?);
    let output = command.output().map_err(while_doing("run", &program))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(EmbeddedError::InitdbFailed { said: String::from_utf8_lossy(&output.stderr).trim().to_owned() }),
    }
}

/// A new password for new data. Other users of this machine reach the port, so there has to be one, and unknown to them.
fn write_password(home: &Home) -> Result<PathBuf, EmbeddedError> {
    let path = password_path(home);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(while_doing("remove", &path)(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(while_doing("create", &path))?;
    let written = write!(file, "{:032x}", rand::random::<u128>()).and_then(|()| file.sync_all());
    written.map_err(while_doing("write", &path))?;
    home.give(&path)?;
    Ok(path)
}

fn password_path(home: &Home) -> PathBuf {
    home.dir().join("password")
}
