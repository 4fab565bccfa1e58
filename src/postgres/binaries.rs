//! The server's programs, wherever this machine keeps them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::EmbeddedError;

/// The oldest Postgres that confirmd's SQL is written for.
pub(super) const OLDEST: u32 = 13;

const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Folders that hold one Postgres for each major version: the parent, what stands before the version, what follows it.
const VERSIONED: [(&str, &str, &str); 8] = [
    ("/usr/lib/postgresql", "", "bin"),          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                   // the RPMs of postgresql.org
    ("/usr/lib", "postgresql", "bin"),           // SUSE
    ("/usr/libexec", "postgresql", ""),          // Alpine
    ("/opt/homebrew/opt", "postgresql@", "bin"), // Homebrew on Apple silicon
    ("/usr/local/opt", "postgresql@", "bin"),    // Homebrew on Intel
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// One Postgres: the folder of its programs, and its major version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    /// The first Postgres that will do; if there is data already, the first that can read it.
    pub(super) fn find(made_by: Option<u32>, data_dir: &Path) -> Result<Self, EmbeddedError> {
        let found: Vec<_> = match env::var_os("CONFIRMD_PG_BIN").filter(|named| !named.is_empty()) {
            Some(named) => {
                let dir = PathBuf::from(named);
                vec![Self::in_folder(&dir).ok_or(EmbeddedError::NotInNamedFolder { dir })?]
            }
            None => folders().iter().filter_map(|folder| Self::in_folder(folder)).collect(),
        };
        choose(found, made_by, data_dir)
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        // A PATH often holds links to some of the programs only; their real folder holds all of them.
        let initdb = folder.join("initdb").canonicalize().ok()?;
        let dir = initdb.parent()?.to_owned();
        let all_there = PROGRAMS.iter().all(|program| dir.join(program).is_file());
        let major = all_there.then(|| major_version(&dir.join("postgres")))??;
        (OLDEST <= major).then_some(Self { dir, major })
    }
}

fn choose(found: Vec<Binaries>, made_by: Option<u32>, data_dir: &Path) -> Result<Binaries, EmbeddedError> {
    if found.is_empty() {
        return Err(EmbeddedError::NoBinaries { ways_out: ways_out() });
    }
    let mut majors: Vec<_> = found.iter().map(|binaries| binaries.major).collect();
    match found.into_iter().find(|binaries| made_by.is_none_or(|data| data == binaries.major)) {
        Some(binaries) => Ok(binaries),
        None => {
            majors.sort_unstable();
            majors.dedup();
            let data = made_by.unwrap_or_default();
            Err(EmbeddedError::OtherVersion { data_dir: data_dir.to_owned(), data, found: majors })
        }
    }
}

/// Understands `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` and `postgres (PostgreSQL) 18beta1`.
fn major_version(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    let told = String::from_utf8(output.stdout).ok()?;
    let version = told.split_whitespace().nth(2)?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let versioned = VERSIONED.iter().flat_map(|(parent, before, after)| newest_first(parent.as_ref(), before, after));
    env::split_paths(&path).chain(versioned).collect()
}

fn newest_first(parent: &Path, before: &str, after: &str) -> Vec<PathBuf> {
    let mut versions: Vec<u32> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(before)?.parse().ok())
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.iter().map(|version| parent.join(format!("{before}{version}")).join(after)).collect()
}

fn ways_out() -> String {
    let install = if cfg!(target_os = "macos") {
        "brew install postgresql@17"
    } else if Path::new("/usr/bin/apt-get").exists() {
        "sudo apt-get install -y postgresql"
    } else {
        "install PostgreSQL's server with this machine's package manager"
    };
    format!(
        "  {install}\n  docker compose up\n  set DATABASE_URL to a Postgres that you already have\n  \
         set CONFIRMD_PG_BIN to the folder that holds initdb, pg_ctl and postgres"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(major: u32) -> Binaries {
        Binaries { dir: format!("/usr/lib/postgresql/{major}/bin").into(), major }
    }

    #[test]
    fn data_is_read_by_the_version_that_made_it() {
        let found = vec![postgres(17), postgres(15)];
        assert_eq!(choose(found.clone(), None, Path::new("d")).unwrap().major, 17);
        assert_eq!(choose(found.clone(), Some(15), Path::new("d")).unwrap().major, 15);

        let refused = choose(found, Some(14), Path::new("d")).unwrap_err().to_string();
        assert!(refused.contains("made by PostgreSQL 14, and this machine has PostgreSQL 15 and 17"), "{refused}");
    }

    #[test]
    fn a_machine_without_postgres_is_told_the_ways_out() {
        let told = choose(vec![], None, Path::new("d")).unwrap_err().to_string();
        if Path::new("/usr/bin/apt-get").exists() && !cfg!(target_os = "macos") {
            assert!(told.contains("\n  sudo apt-get install -y postgresql\n"), "{told}");
        }
        for way_out in ["docker compose up", "DATABASE_URL", "CONFIRMD_PG_BIN"] {
            assert!(told.contains(way_out), "{told}");
        }
    }

    #[test]
    fn the_newest_version_comes_first_and_other_folders_are_passed_over() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["9", "17", "15", "latest"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        let expected = ["17", "15", "9"].map(|version| parent.path().join(version).join("bin"));
        assert_eq!(newest_first(parent.path(), "", "bin"), expected);
    }
}
