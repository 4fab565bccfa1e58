//! Configurations that make no sense. Each has one fault, which names its key and shows nothing of its value.

mod accounts;
mod callers;
mod database;
mod variables;

use super::{
    layers::documented_keys,
    tests::{environment, least},
    *,
};

/// The one fault of a file and variables; all of them, if there are more.
fn keys(file: &str, variables: &Environment) -> Vec<String> {
    let error = match Config::from_layers(Some(("confirmd.toml", file)), variables, Role::All) {
        Err(error) => error,
        Ok(_) => return vec!["no fault".to_owned()],
    };
    let lines = error.to_string();
    assert!(!lines.contains("hunter2"), "{lines}");
    assert_eq!(lines.lines().count(), error.faults.len());
    error.faults.into_iter().map(|fault| fault.key).collect()
}

#[test]
fn a_wrong_line_in_a_section_is_a_fault_of_its_key() {
    for (section, line, key) in [
        ("server", "listen = \"hunter2\"", "server.listen"),
        ("server", "listen = 8080", "server.listen"),
        ("server", "listen = \"\"", "server.listen"),
        ("server", "listen = \"localhost:8080\"", "server.listen"),
        ("server", "lisen = \"127.0.0.1:8080\"", "server.lisen"),
        ("server", "operations_listen = \"127.0.0.1:8080\"", "server.operations_listen"),
        ("server", "operations_listen = \"0.0.0.0:8080\"", "server.operations_listen"),
        ("server", "operations_listen = \"9090\"", "server.operations_listen"),
        ("server", "drain_delay = \"25s\"", "server.drain_delay"),
        ("server", "drain_delay = 5", "server.drain_delay"),
        ("server", "drain_deadline = \"0s\"", "server.drain_deadline"),
        ("server", "drain_deadline = \"2h\"", "server.drain_deadline"),
        ("server", "max_connections = 0", "server.max_connections"),
        ("server", "max_connections = -1", "server.max_connections"),
        ("server", "max_connections = \"800\"", "server.max_connections"),
        ("server", "max_connections = 800.5", "server.max_connections"),
        ("server", "max_connections_per_peer = 0", "server.max_connections_per_peer"),
        ("server", "header_timeout = \"0s\"", "server.header_timeout"),
        ("server", "body_timeout = \"11s\"", "server.body_timeout"),
        ("server", "request_timeout = \"7s\"", "server.request_timeout"),
        ("intake", "max_waiting = 999", "intake.max_waiting"),
        ("intake", "max_waiting = 5000000000", "intake.max_waiting"),
        ("intake", "max_waiting_per_caller = 999", "intake.max_waiting_per_caller"),
        ("intake", "writers = 0", "intake.writers"),
        ("intake", "writers = [4]", "intake.writers"),
        ("intake", "batch = 0", "intake.batch"),
        ("intake", "park_limit = \"7 parsecs\"", "intake.park_limit"),
        ("intake", "park_limit = \"\"", "intake.park_limit"),
        ("delivery", "base_url = \"http://api.twilio.com\"", "delivery.base_url"),
        ("delivery", "base_url = \"http://simulator:4010\"", "delivery.base_url"),
        ("delivery", "base_url = \"https://u:hunter2@api.twilio.com\"", "delivery.base_url"),
        ("delivery", "base_url = \"https://api.twilio.com/2010-04-01\"", "delivery.base_url"),
        ("delivery", "base_url = \"\"", "delivery.base_url"),
        ("delivery", "lease = \"21s\"", "delivery.lease"),
        ("delivery", "lease = \"5s\"", "delivery.lease"),
        ("delivery", "request_timeout = \"0s\"", "delivery.request_timeout"),
        ("delivery", "request_timeout = true", "delivery.request_timeout"),
        ("delivery", "connect_timeout = \"11s\"", "delivery.connect_timeout"),
        ("delivery", "poll_interval = \"60s\"", "delivery.poll_interval"),
        ("delivery", "backoff_first = \"16m\"", "delivery.backoff_first"),
        ("delivery", "give_up_after = \"10m\"", "delivery.give_up_after"),
        ("delivery", "young_for = \"8d\"", "delivery.young_for"),
        ("delivery", "max_lost_leases = 0", "delivery.max_lost_leases"),
        ("delivery", "max_ambiguous = 101", "delivery.max_ambiguous"),
        ("delivery", "probe_every = \"2h\"", "delivery.probe_every"),
        ("delivery", "breaker_threshold = 0", "delivery.breaker_threshold"),
        ("retention", "history = \"0s\"", "retention.history"),
        ("retention", "dead_letters = \"11000d\"", "retention.dead_letters"),
        ("log", "filter = \"inof\"", "log.filter"),
        ("log", "filter = \"confirmd=hunter2\"", "log.filter"),
        ("log", "format = \"yaml\"", "log.format"),
        ("colours", "", "colours"),
    ] {
        let file = format!("{}\n[{section}]\n{line}", least());
        assert_eq!(keys(&file, &environment([])), [key], "[{section}] {line}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let file = format!(
        "colour = \"red\"\n{}max_concurrency = \"many\"\n[server]\nlisten = 1\ndrain_delay = \"30s\"\n\
         [delivery]\nlease = \"5s\"\nbase_url = \"http://example.org\"\n[log]\nformat = \"yaml\"\n\"\\u001b[31m\" = 1\n\"\" = 1\n",
        least().replace("[\"ingest\", \"read\"]", "[\"admin\"]")
    );
    let variables =
        environment([("CONFIRMD_INTAKE__WRITERS", "many"), ("CONFIRMD_NONSENSE", "1"), ("TWILIO_REGION", "ie1")]);
    let found: std::collections::BTreeSet<_> = keys(&file, &variables).into_iter().collect();
    let expected = [
        "CONFIRMD_INTAKE__WRITERS",
        "CONFIRMD_NONSENSE",
        "TWILIO_REGION",
        "accounts[0].max_concurrency",
        "callers[0].scopes",
        "colour",
        "delivery.base_url",
        "delivery.lease",
        "log.\"\"",
        "log.\"\\u{1b}[31m\"",
        "log.format",
        "server.drain_delay",
        "server.listen",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
}

#[test]
fn a_file_that_cannot_be_read_is_one_fault() {
    let missing = Config::load(Some(Path::new("/nowhere/confirmd.toml")), &environment([]), Role::All).unwrap_err();
    assert_eq!(missing.faults.len(), 1);
    assert!(missing.to_string().starts_with("/nowhere/confirmd.toml: cannot be read"), "{missing}");
    let huge = Config::from_layers(Some(("f", "x = 99999999999999999999")), &environment([]), Role::All).unwrap_err();
    assert_eq!(huge.to_string(), "f: holds a number that is too large");
}

#[test]
fn every_key_of_a_section_refuses_what_it_cannot_be() {
    let sections = ["server", "intake", "delivery", "retention", "log"];
    let keys_of_sections = documented_keys()
        .into_iter()
        .filter(|path| path.split_once('.').is_some_and(|(section, _)| sections.contains(&section)));
    let mut tried = 0;
    for path in keys_of_sections {
        let (section, key) = path.split_once('.').unwrap();
        for nonsense in ["[[\"hunter2\"]]", "{ hunter2 = 1 }", "-1", "1.5", "\"\"", "\"hunter2\"", "\"-1s\""] {
            let file = format!("{}\n[{section}]\n{key} = {nonsense}", least());
            assert_eq!(keys(&file, &environment([])), [path.as_str()], "{path} = {nonsense}");
            tried += 1;
        }
    }
    assert!(150 < tried, "{tried}");
}
