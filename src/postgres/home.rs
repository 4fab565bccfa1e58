//! The folder of an embedded Postgres: where it is, who may enter it, and whose it is now.
//!
//! ```text
//! home/lock           the confirmd that runs holds it, and writes its process id into it
//! home/cluster.lock   whoever works on the data holds it: initdb, or the watchdog
//! home/password       of the one database user, readable by its owner only
//! home/postgres.log   what the server said
//! home/cluster/       the data
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    path::{self, Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest, Sha256};

use super::{Afterwards, EmbeddedError, account::Account, binaries::Binaries, error::while_doing, sweeper::Sweeper};

/// Root's data goes here if the server's user cannot reach the folder that was asked for, such as one below /root.
const ELSEWHERE: &str = "/var/lib";

pub(super) struct Home {
    dir: PathBuf,
    account: Option<Account>,
    sweeper: Option<Sweeper>,
    /// Held until we end; the operating system lets go of it for us if we are killed.
    _running: File,
}

impl Home {
    /// Makes the folder if need be, and takes it for this process.
    pub(super) fn open(data_dir: &Path, afterwards: Afterwards) -> Result<Self, EmbeddedError> {
        let asked = path::absolute(data_dir).map_err(while_doing("find", data_dir))?;
        let account = Account::lent(&asked.join("cluster"))?;
        let dir = place(&asked, account.as_ref())?;
        let running = take(&dir)?;
        let sweeper = match afterwards {
            Afterwards::Keep => None,
            Afterwards::Remove => Some(Sweeper::start(&dir).map_err(while_doing("run a shell to remove", &dir))?),
        };
        Ok(Self { dir, account, sweeper, _running: running })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    /// The right to work on the data; it lasts as long as any process holds the file open.
    pub(super) fn lock_cluster(&self) -> Result<File, EmbeddedError> {
        let path = self.dir.join("cluster.lock");
        let file = open_lock(&path)?;
        if file.try_lock().is_err() {
            tracing::info!("Waiting for the Postgres of an earlier run to stop");
            file.lock().map_err(while_doing("lock", &path))?; // bounded by the time limits in watchdog.sh
        }
        Ok(file)
    }

    pub(super) fn require_access_to(&self, binaries: &Binaries) -> Result<(), EmbeddedError> {
        match &self.account {
            Some(account) if !account.can_enter(&binaries.dir) => {
                Err(EmbeddedError::OutOfReach { account: account.name.clone(), path: binaries.dir.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Runs as the server's user, speaks English, and ignores where we were called from.
    pub(super) fn command(&self, program: &Path) -> Result<Command, EmbeddedError> {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").env_remove("PGDATA").current_dir(&self.dir).stdout(Stdio::null());
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        if let Some(sweeper) = &self.sweeper {
            command.stdout(sweeper.wait_for().map_err(while_doing("prepare to run", program))?);
        }
        Ok(command)
    }

    /// Gives what we made to the server's user.
    pub(super) fn give(&self, path: &Path) -> Result<(), EmbeddedError> {
        match &self.account {
            Some(account) => chown(path, Some(account.uid), Some(account.gid)).map_err(while_doing("give away", path)),
            None => Ok(()),
        }
    }
}

/// Where the home is: where it was asked to be, or else where a link in that place points to.
fn place(asked: &Path, account: Option<&Account>) -> Result<PathBuf, EmbeddedError> {
    let parent = asked.parent().unwrap_or(asked);
    fs::create_dir_all(parent).map_err(while_doing("create", parent))?;
    if asked.is_symlink() && !asked.exists() {
        fs::remove_file(asked).map_err(while_doing("remove", asked))?; // what it pointed to was removed: we start afresh
    }
    let real = match asked.canonicalize() {
        Ok(real) => real,
        Err(_) => {
            parent.canonicalize().map_err(while_doing("find", parent))?.join(asked.file_name().unwrap_or_default())
        }
    };
    match account {
        None => open_to(&real, 0o700),
        Some(account) if real.parent().is_none_or(|parent| account.can_enter(parent)) => open_to(&real, 0o711),
        Some(account) => elsewhere(asked, &real, account),
    }
}

/// A link is left where the data was asked to be, so that it is seen there and found by the next run.
fn elsewhere(asked: &Path, real: &Path, account: &Account) -> Result<PathBuf, EmbeddedError> {
    let name = Sha256::digest(real.as_os_str().as_encoded_bytes());
    let home = Path::new(ELSEWHERE).join(format!("confirmd-dev-{}", &format!("{name:x}")[..12]));
    match fs::remove_dir(asked) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            // Somebody's files are in there already, and they cannot be served from where they are.
            return Err(EmbeddedError::OutOfReach { account: account.name.clone(), path: real.to_owned() });
        }
        _ => {}
    }
    let home = open_to(&home, 0o711)?;
    symlink(&home, asked).map_err(while_doing("create", asked))?;
    tracing::info!(
        "Keeping the data in {}, because Postgres runs as {}, who cannot enter {}",
        home.display(),
        account.name,
        real.display()
    );
    Ok(home)
}

/// Makes the folder. It stays ours, and the server's user may at most pass it: what we write in there is nobody's to bend.
fn open_to(dir: &Path, mode: u32) -> Result<PathBuf, EmbeddedError> {
    DirBuilder::new().recursive(true).mode(mode).create(dir).map_err(while_doing("create", dir))?;
    let found = fs::metadata(dir).map_err(while_doing("read", dir))?;
    let wanted = (found.mode() & 0o7777) | mode;
    if found.mode() & 0o7777 != wanted {
        fs::set_permissions(dir, fs::Permissions::from_mode(wanted)).map_err(while_doing("open up", dir))?;
    }
    dir.canonicalize().map_err(while_doing("find", dir))
}

fn take(dir: &Path) -> Result<File, EmbeddedError> {
    let path = dir.join("lock");
    let mut file = open_lock(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            file.read_to_string(&mut process).map_err(while_doing("read", &path))?;
            let holder = format!("another confirmd, process {}", process.trim());
            return Err(EmbeddedError::AlreadyRunning { data_dir: dir.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(while_doing("lock", &path)(error)),
    }
    let told = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    told.map_err(while_doing("write", &path))?;
    Ok(file)
}

fn open_lock(path: &Path) -> Result<File, EmbeddedError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600);
    options.open(path).map_err(while_doing("open", path))
}
