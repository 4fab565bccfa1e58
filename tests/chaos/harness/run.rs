//! What all rows of a run share: its form, its seed, its folder, and the cluster that each row's is a copy of.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::cluster::Cluster;

/// How much a row does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// With every `cargo test`.
    Short,
    /// As the record has it.
    Full,
}

impl Form {
    pub(crate) fn pick<T>(self, short: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }
}

pub(crate) struct Run {
    pub(crate) form: Form,
    pub(crate) seed: u64,
    /// How long the soak goes on.
    pub(crate) soak: Duration,
    /// The confirmd that is tried.
    pub(crate) binary: PathBuf,
    template: Cluster,
    folder: TempDir,
    worlds: AtomicU32,
    _sweeper: Sweeper,
}

impl Run {
    pub(crate) async fn begin(form: Form, seed: u64, soak: Duration, binary: PathBuf) -> Self {
        let folder = tempfile::Builder::new().prefix("confirmd-chaos-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let sweeper = Sweeper::start(folder.path());
        let template = Cluster::make(&folder.path().join("template"));
        template.start().await;
        template.create_database().await;
        confirmd::store::migrate(&confirmd::store::connect_options(&template.url()).unwrap()).await.unwrap();
        template.stop("fast");
        Self { form, seed, soak, binary, template, folder, worlds: AtomicU32::new(0), _sweeper: sweeper }
    }

    /// A folder that nobody else uses, and a migrated cluster in it that is not started.
    pub(crate) fn place(&self, name: &str) -> (PathBuf, Cluster) {
        let number = self.worlds.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.path().join(format!("{number}-{name}"));
        std::fs::create_dir(&folder).unwrap();
        let cluster = self.template.copy(&folder.join("postgres"));
        (folder, cluster)
    }

    /// Another sequence of dice for each name, the same for each run of the same seed.
    pub(crate) fn seed_for(&self, name: &str) -> u64 {
        // FNV-1a: small, and the same everywhere.
        name.bytes().fold(self.seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// Ends what is left when the run ends, however it ends: servers, replicas, the folder.
struct Sweeper(Child);

const SWEEP: &str = r#"
    trap '' HUP INT TERM
    cat >/dev/null
    for file in "$1"/template/data/postmaster.pid "$1"/*/postgres*/data/postmaster.pid; do
        [ -e "$file" ] && kill -QUIT "$(head -n 1 "$file")"
    done
    for file in "$1"/*/*.pid; do
        [ -e "$file" ] && kill -KILL "$(cat "$file")"
    done
    sleep 1
    rm -rf "$1"
"#;

impl Sweeper {
    fn start(folder: &Path) -> Self {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SWEEP, "confirmd-chaos-sweeper"]).arg(folder).process_group(0);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}
