//! The version before runs on each schema, because migrations only add: the rule of deploy/UPGRADING.md, statement by statement.

use std::path::Path;

/// The last migration that may still change what those before it made: nobody runs a version before the first release.
const BEFORE_THE_FIRST_RELEASE: u64 = 7;

/// What a version before would miss, or stumble over; and why.
const NOT_ADDED: [(&str, &str); 16] = [
    ("drop table", "old binaries use it"),
    ("drop column", "old binaries name it"),
    ("drop view", "old binaries use it"),
    ("drop function", "old binaries call it"),
    ("drop index", "old binaries' statements are planned with it, and `on conflict` may need it"),
    ("drop trigger", "old binaries count on it"),
    ("drop default", "old binaries leave the column out"),
    ("drop constraint", "`on conflict` of old binaries may need it"),
    ("rename ", "old binaries use the old name"),
    ("set not null", "old binaries may write null"),
    ("add constraint", "old binaries may write what it refuses"),
    ("add check", "old binaries may write what it refuses"),
    ("add primary key", "old binaries may write what it refuses"),
    ("add unique", "old binaries may write what it refuses"),
    ("truncate", "it forgets what was acknowledged"),
    ("delete from", "it forgets what was acknowledged"),
];

/// What a migration does that the rule does not allow.
fn faults(migration: &str) -> Vec<String> {
    let says_why = migration.lines().any(|line| {
        let told = line.strip_prefix("-- contract: nothing since ").and_then(|rest| rest.split_once(" uses it"));
        told.is_some_and(|(version, _)| version.starts_with(|c: char| c.is_ascii_digit()))
    });
    if says_why {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let statements = without_bodies(&without_comments(migration).to_lowercase());
    let made: Vec<&str> = statements.iter().filter_map(|statement| statement.strip_prefix("create table ")).collect();
    let fires = statements.iter().any(|statement| statement.starts_with("create trigger "));
    if fires && !made.is_empty() && !migration.to_lowercase().contains("grant ") {
        faults
            .push(format!("a trigger beside {made:?}: old binaries fire it before they are granted what it writes to"));
    }
    for statement in &statements {
        for (words, why) in NOT_ADDED {
            if statement.contains(words) {
                faults.push(format!("{statement}: {why}"));
            }
        }
        // What a table of this migration's own is bound to is nobody else's business.
        let of_new = |on: &str| made.iter().any(|table| table.split([' ', '(']).next() == Some(on));
        for added in statement.split("add column ").skip(1) {
            let added = added.split(", add ").next().unwrap_or(added);
            if added.contains("not null") && !added.contains("default") {
                faults.push(format!("{statement}: old binaries leave the column out"));
            }
            if ["check", "unique", "references", "primary key"].iter().any(|bound| added.contains(bound)) {
                faults.push(format!("{statement}: old binaries may write what it refuses"));
            }
        }
        if statement.contains("alter column") && statement.contains(" type ") {
            faults.push(format!("{statement}: old binaries read the old type"));
        }
        if let Some((_, on)) = statement.split_once("create unique index").and_then(|(_, rest)| rest.split_once(" on "))
        {
            let table = on.split([' ', '(']).next().unwrap_or_default();
            if !of_new(table) {
                faults.push(format!("{statement}: old binaries may write what it refuses"));
            }
        }
    }
    faults
}

fn without_comments(sql: &str) -> String {
    sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Each statement on one line, and instead of what a function does its `$$`.
fn without_bodies(sql: &str) -> Vec<String> {
    let outside: String = sql.split("$$").step_by(2).collect::<Vec<_>>().join("$$");
    let statements = outside.split(';').map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "));
    statements.filter(|statement| !statement.is_empty()).collect()
}

#[test]
fn each_migration_since_the_first_release_only_adds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut before = 0;
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let version: u64 = name.split('_').next().unwrap().parse().unwrap();
        let found = faults(&std::fs::read_to_string(&file).unwrap());
        if version <= BEFORE_THE_FIRST_RELEASE {
            before += usize::from(!found.is_empty());
        } else {
            assert!(found.is_empty(), "{name} does more than add: {found:#?}");
        }
    }
    assert!(0 < before, "the rule finds what was done before it held");
}

#[test]
fn what_an_old_binary_would_stumble_over_is_found_and_what_only_adds_is_not() {
    for fault in [
        "drop table event;",
        "alter table event drop column answer;",
        "alter table event\n    rename column answer to reply;",
        "alter table event alter column answer set not null;",
        "alter table event alter column answer type text;",
        "alter table event add column mood text not null;",
        "alter table event add column mood text not null, add column tone text default 'x';",
        "alter table event add column mood text check (mood <> '');",
        "alter table event add constraint mood_is_known check (mood in ('good'));",
        "create unique index event_by_mood on event (mood);",
        "delete from event where mood is null;",
        "create table tally (n integer);
         create trigger count_events after insert on event for each statement execute function count_events();",
        "-- contract: I think nobody uses it\nalter table event drop column mood;",
    ] {
        assert!(!faults(fault).is_empty(), "{fault} is let through");
    }
    for good in [
        crate::upgraded_while_it_runs::TOMORROW,
        "create table mood (name text primary key, unique (name), check (name <> ''));
         create unique index mood_by_name on mood (name);",
        "-- We do not drop table event here.\nalter table event add column mood text;",
        "alter table event add column mood text not null default 'good';",
        "create function f() returns void language sql as $$ delete from dead_letter_tally $$;",
        "-- contract: nothing since 1.3.0 uses it\nalter table event drop column mood;",
    ] {
        assert_eq!(faults(good), [""; 0], "{good}");
    }
}
