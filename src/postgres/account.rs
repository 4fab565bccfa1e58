//! Whose process the server is: ours, unless we are root, as whom Postgres refuses to run.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Stdio},
};

use super::{EmbeddedError, error::while_doing};

const PASSWD: &str = "/etc/passwd";

/// A user that root lends to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// `None` means that our own user will do. Data that is there already keeps its owner.
    pub(super) fn lent(cluster: &Path) -> Result<Option<Self>, EmbeddedError> {
        if !we_are_root().map_err(while_doing("run", Path::new("id")))? {
            return Ok(None);
        }
        let passwd = fs::read_to_string(PASSWD).map_err(while_doing("read", Path::new(PASSWD)))?;
        let owner = fs::metadata(cluster).ok().filter(|found| found.uid() != 0);
        match owner {
            Some(owner) => {
                let name = format!("the data's owner, user {}", owner.uid());
                Ok(Some(Self { name, uid: owner.uid(), gid: owner.gid() }))
            }
            None => match Self::named("postgres", &passwd).or_else(|| Self::named("nobody", &passwd)) {
                Some(account) => Ok(Some(account)),
                None => Err(EmbeddedError::NoAccount),
            },
        }
    }

    /// Whether this user may go into `folder`, which takes the right to pass every folder above it.
    pub(super) fn can_enter(&self, folder: &Path) -> bool {
        folder.ancestors().all(|step| fs::metadata(step).is_ok_and(|found| self.may_pass(&found)))
    }

    fn may_pass(&self, folder: &fs::Metadata) -> bool {
        let execute = match (folder.uid() == self.uid, folder.gid() == self.gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        folder.mode() & execute != 0
    }

    fn named(name: &str, passwd: &str) -> Option<Self> {
        passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| match fields[..] {
            [found, _, uid, gid, ..] if found == name => {
                Some(Self { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
            }
            _ => None,
        })
    }
}

/// Asks `id`, because the standard library does not tell.
fn we_are_root() -> io::Result<bool> {
    let output = Command::new("id").arg("-u").stderr(Stdio::inherit()).output()?;
    Ok(output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:nobody:/:/usr/sbin/nologin\n";

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let nobody = Account { name: "nobody".into(), uid: 65534, gid: 65533 };
        assert_eq!(Account::named("nobody", PASSWD), Some(nobody));
        assert_eq!(Account::named("no", PASSWD), None);
        assert_eq!(Account::named("postgres", PASSWD), None);
    }

    #[test]
    fn a_folder_is_out_of_reach_if_one_above_it_is_closed() {
        let stranger = Account { name: "stranger".into(), uid: 54321, gid: 54321 };
        let closed = tempfile::tempdir_in("/tmp").unwrap();
        let inner = closed.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!stranger.can_enter(&inner));

        fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert!(stranger.can_enter(&inner));
    }
}
