//! `deploy/SECURITY.md` names what is there: each of its stories is a test, each of its files a file. And what the tree of
//! dependencies must not hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// All of the code, and the tests.
fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// The words in backquotes of a cell.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_story_that_the_table_names_is_one() {
    let mut code = String::new();
    ["src", "tests/it"].iter().for_each(|folder| sources(&root(folder), &mut code));
    let text = fs::read_to_string(root("deploy/SECURITY.md")).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| S"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), 32);
    for (number, row) in rows.iter().enumerate() {
        let [_, id, promise, place, stories, gaps, _] = row[..] else { panic!("{row:?}") };
        assert_eq!(id, format!("S{:02}", number + 1));
        assert!(!promise.is_empty() && (!stories.is_empty() || !gaps.is_empty()), "{id} has neither a story nor a gap");
        for file in quoted(place) {
            assert!(root(file).exists(), "{id}: there is no {file}");
        }
        for story in quoted(stories).into_iter().filter(|word| word.len() > 15 && !word.contains([' ', '/', '.', ':']))
        {
            let is_test = code.contains(&format!("fn {story}(")) || code.contains(&format!("fn {story}<"));
            assert!(is_test, "{id}: there is no story {story}");
        }
    }
}

#[test]
fn only_the_tls_that_is_meant_is_in_the_tree() {
    let lock = fs::read_to_string(root("Cargo.lock")).unwrap();
    let manifest = fs::read_to_string(root("Cargo.toml")).unwrap();
    assert!(manifest.contains("tls-rustls"));
    for unwanted in ["openssl", "openssl-sys", "native-tls", "schannel-sys", "rsa"] {
        assert!(!lock.contains(&format!("name = \"{unwanted}\"\n")), "{unwanted} is in the tree");
    }
}

#[test]
fn every_crate_comes_from_crates_io_and_is_checked_by_its_digest() {
    let lock = fs::read_to_string(root("Cargo.lock")).unwrap();
    let mut crates =
        lock.split("[[package]]\n").skip(1).filter(|one| !one.starts_with("name = \"confirmd\"\n")).peekable();
    assert!(crates.peek().is_some());
    for one in crates {
        let from_there = one.contains("\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n");
        assert!(from_there && one.contains("\nchecksum = \""), "{one}");
    }
}

/// Licences that ask for no more than to be named and kept, by their names in [SPDX](https://spdx.org/licenses/).
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "LLVM-exception",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[test]
fn every_licence_is_permissive() {
    let told = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let compiler = told(Command::new("rustc").arg("-vV"));
    let platform = compiler.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = told(
        Command::new(env!("CARGO"))
            .args(["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", platform])
            .current_dir(env!("CARGO_MANIFEST_DIR")),
    );
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let crates = metadata["packages"].as_array().unwrap().iter().filter(|one| one["name"] != "confirmd");
    let mut number = 0;
    for one in crates {
        number += 1;
        let licence = one["license"].as_str().unwrap_or_else(|| panic!("{} names no licence", one["name"]));
        let names = licence.split([' ', '/', '(', ')']).filter(|word| !["", "AND", "OR", "WITH"].contains(word));
        for name in names {
            assert!(PERMISSIVE.contains(&name), "{} is licensed as {licence}", one["name"]);
        }
    }
    assert!(100 < number, "{number} crates");
}
