//! Secrets: in the environment, in the configuration file, or best in a file of their own.

use std::{
    fs::{self, File, Metadata},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use secrecy::SecretString;

/// Longer than any secret, shorter than a mistake.
const LONGEST: u64 = 64 * 1024;

/// Docker and Podman mount secrets here with mode 0444, and Kubernetes with 0644 unless told otherwise. "Everybody" is
/// then nobody but this container's own processes, so being readable by everybody is no fault here. Elsewhere it is.
const MOUNTED_FOR_US_ALONE: &str = "/run/secrets";

pub(super) fn from_text(text: &str) -> Result<SecretString, String> {
    if text.chars().any(char::is_control) || text.trim() != text {
        return Err("must not begin or end with a space, nor hold a line break".to_owned());
    }
    Ok(SecretString::from(text))
}

/// The file's text without the line break at its end.
pub(super) fn from_file(path: &str) -> Result<SecretString, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let path = fs::canonicalize(path).map_err(unreadable)?;
    // Before opening: opening a pipe would wait for its writer.
    if !fs::metadata(&path).map_err(unreadable)?.is_file() {
        return Err("must name a regular file".to_owned());
    }
    let file = File::open(&path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if let Some(fault) = exposed(&path, &metadata) {
        return Err(fault);
    }
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
    if LONGEST < text.len() as u64 {
        return Err(format!("holds more than {LONGEST} bytes: no secret is that long"));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    match text.as_str() {
        "" => Err("holds nothing".to_owned()),
        text => from_text(text).map_err(|problem| format!("its content {problem}")),
    }
}

/// Who else can read or replace it.
fn exposed(path: &Path, metadata: &Metadata) -> Option<String> {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        return Some(format!("can be replaced by others than its owner (mode {mode:04o}): chmod 0440 or stricter"));
    }
    if mode & 0o007 != 0 && !path.starts_with(MOUNTED_FOR_US_ALONE) {
        return Some(format!(
            "can be read by everybody (mode {mode:04o}): chmod 0440 or stricter, in Kubernetes defaultMode: 0440 with \
             an fsGroup"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use secrecy::ExposeSecret;
    use tempfile::TempDir;

    use super::*;

    fn file(mode: u32, content: &[u8]) -> (TempDir, String) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let path = path.to_str().unwrap().to_owned();
        (folder, path)
    }

    #[test]
    fn the_line_break_at_the_end_of_a_file_is_not_part_of_the_secret() {
        for content in ["s3cret", "s3cret\n", "s3cret\r\n"] {
            let (_folder, path) = file(0o400, content.as_bytes());
            assert_eq!(from_file(&path).unwrap().expose_secret(), "s3cret");
        }
    }

    #[test]
    fn a_secret_is_for_its_owner_and_group_alone() {
        for mode in [0o400, 0o440, 0o600, 0o640] {
            let (_folder, path) = file(mode, b"s3cret");
            assert!(from_file(&path).is_ok(), "{mode:o}");
        }
        for mode in [0o444, 0o644, 0o404, 0o660, 0o602, 0o666, 0o777] {
            let (_folder, path) = file(mode, b"s3cret");
            let fault = from_file(&path).unwrap_err();
            assert!(fault.contains("chmod 0440"), "{mode:o}: {fault}");
        }
    }

    #[test]
    fn what_a_container_runtime_mounts_may_be_readable_but_never_writable_by_all() {
        let mounted = Path::new("/run/secrets/twilio");
        for (mode, tolerated) in [(0o444, true), (0o644, true), (0o440, true), (0o666, false), (0o464, false)] {
            let (_folder, path) = file(mode, b"s3cret");
            assert_eq!(exposed(mounted, &fs::metadata(path).unwrap()).is_none(), tolerated, "{mode:o}");
        }
    }

    #[test]
    fn a_file_that_cannot_hold_a_secret_is_a_fault_that_shows_nothing_of_it() {
        for content in ["", "\n", " hunter2", "hun\nter2", "hunter2\0", &"hunter2".repeat(10_000)] {
            let (_folder, path) = file(0o400, content.as_bytes());
            assert!(!from_file(&path).unwrap_err().contains("hunter"), "{content:.20?}");
        }
        let (folder, _) = file(0o400, b"");
        assert!(from_file(folder.path().to_str().unwrap()).unwrap_err().contains("regular file"));
        assert!(from_file("/nowhere/at/all").is_err());
    }

    #[test]
    fn bytes_that_are_no_text_are_a_fault() {
        let (_folder, path) = file(0o400, b"\xff\xfe");
        assert!(from_file(&path).is_err());
    }
}
