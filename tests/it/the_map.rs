//! The map of `src/lib.rs`, held against the territory: whoever moves a wall sees it at once.

use std::fs;
use std::path::{Path, PathBuf};

/// A room speaks only of the rooms beside its name.
const MAP: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("store", &["domain", "telemetry"]),
    ("twilio", &["domain", "telemetry"]),
    ("intake", &["domain", "store", "telemetry"]),
    ("delivery", &["domain", "store", "twilio", "telemetry"]),
    ("operate", &["domain", "store", "delivery", "twilio", "telemetry", "config"]),
    ("config", &["domain"]),
    ("telemetry", &["domain", "config"]),
    ("postgres", &[]),
];

/// What belongs to somebody: nobody else names it. A folder or a file of `src`.
const OWNED: &[(&str, &[&str])] = &[
    ("sqlx::", &["store/", "bench/", "postgres/", "config/database.rs", "cli/commands.rs"]),
    ("axum::", &["intake/", "bench/obvious.rs", "app.rs"]),
    ("reqwest::", &["twilio/", "bench/obvious.rs", "config/"]),
    ("crate::config", &["config/", "app.rs", "app/", "cli/", "dev.rs", "operate/check.rs", "telemetry/"]),
];

/// The code of a file or folder, with its path below `src`; without tests, and without what is only said of it.
fn code(below: &Path) -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut to_read: Vec<PathBuf> = vec![src.join(below)];
    while let Some(path) = to_read.pop() {
        if path.is_dir() {
            to_read.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        let is_test = ["tests", "wrong"].iter().any(|word| name.split(['/', '.', '_']).any(|part| part == *word));
        if name.ends_with(".rs") && !is_test {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.push((name, code.collect::<Vec<_>>().join("\n")));
        }
    }
    found
}

/// The rooms that are named after each `crate::`, one by one or in braces.
fn rooms_named(code: &str) -> Vec<&str> {
    let mut rooms = Vec::new();
    for path in code.split("crate::").skip(1) {
        let word = |text: &'_ str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        match path.strip_prefix('{') {
            None => rooms.push(&path[..word(path)]),
            Some(group) => {
                let mut depth = 0;
                let mut at_start = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '}' if depth == 0 => break,
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => at_start = true,
                        c if at_start && c.is_alphabetic() => {
                            rooms.push(&group[at..at + word(&group[at..])]);
                            at_start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms
}

#[test]
fn a_room_speaks_only_of_the_rooms_beside_its_name() {
    for (room, neighbours) in MAP {
        let files = code(Path::new(room));
        assert!(!files.is_empty(), "{room} is on the map, and nowhere else");
        for (file, code) in files {
            for named in rooms_named(&code) {
                assert!(named == *room || neighbours.contains(&named), "src/{file} speaks of {named}");
            }
        }
    }
}

#[test]
fn what_belongs_to_a_room_is_named_nowhere_else() {
    for (file, code) in code(Path::new("")) {
        for (name, owners) in OWNED {
            let may = owners.iter().any(|owner| file.starts_with(owner));
            assert!(may || !code.contains(name), "src/{file} speaks of {name}");
        }
    }
}

#[test]
fn rooms_are_found_alone_and_in_braces() {
    let code = "use crate::domain::Class;\nuse crate::{\n    store::{Inbox, Outbox},\n    twilio,\n};\ncrate::telemetry::drift(0)";
    assert_eq!(rooms_named(code), ["domain", "store", "twilio", "telemetry"]);
}
