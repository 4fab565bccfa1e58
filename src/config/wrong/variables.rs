//! What is wrong about the environment.

use super::keys;
use crate::config::{
    layers::documented_keys,
    tests::{SID, environment, least},
};

#[test]
fn a_wrong_variable_is_a_fault_under_its_own_name() {
    for (name, value) in [
        ("CONFIRMD_SERVER__LISTEN", "hunter2"),
        ("CONFIRMD_SERVER__LISTEN", ""),
        ("CONFIRMD_SERVER__LISEN", "127.0.0.1:8080"),
        ("CONFIRMD_SERVER_LISTEN", "127.0.0.1:8080"),
        ("CONFIRMD_SERVER", "hunter2"),
        ("CONFIRMD_DELIVERY__LEASE", "5s"),
        ("CONFIRMD_DELIVERY__LEASE__X", "5s"),
        ("CONFIRMD_DELIVERY__MAX_AMBIGUOUS", "five"),
        ("CONFIRMD_DELIVERY__BASE_URL", "http://simulator"),
        ("CONFIRMD_ALLOW_INSECURE_TWILIO", "1"),
        ("CONFIRMD_CALLERS__0__SCOPES", "ingest,hunter2"),
        ("CONFIRMD_CALLERS__0__TOKENS_SHA256", "hunter2"),
        ("CONFIRMD_ACCOUNTS__0__SECOND__AUTH_TOKEN_FILE", "/nowhere/at/all"),
        ("CONFIRMD_ACCOUNTS__999999999__NAME", "hunter2"),
        ("CONFIRMD_", "hunter2"),
        ("CONFIRMD_LOG", "inof"),
        ("DATABASE_URL", "postgres://u:hunter2@db.example/confirmd"),
        ("DATABASE_URL_FILE", "/nowhere/at/all"),
        ("TWILIO_BASE_URL", "http://api.twilio.com"),
        ("TWILIO_AUTH_TOKEN", ""),
        ("TWILIO_AUTH_TOKEN", "hunter2 \u{fffd}"),
        ("TWILIO_AUTH_TOKEN_FILE", "/nowhere/at/all"),
        ("TWILIO_API_KEY", "hunter2"),
        ("TWILIO_REGION", "ie1"),
        ("TWILIO_EDGE", "Dublin!"),
    ] {
        let variables = environment([(name, value)]);
        let found = keys(&least(), &variables);
        assert_eq!(found.first().map(String::as_str), Some(name), "{name}={value}: {found:?}");
    }
}

#[test]
fn variables_that_contradict_each_other_are_faults() {
    let other = SID.replace("AC0", "AC1");
    let key_sid = SID.replace("AC", "SK");
    for (variables, expected) in [
        (environment([("TWILIO_ACCOUNT_SID", &other)]), vec!["TWILIO_AUTH_TOKEN"]),
        (environment([("TWILIO_ACCOUNT_SID", "AChunter2"), ("TWILIO_AUTH_TOKEN", "x")]), vec!["TWILIO_ACCOUNT_SID"]),
        (environment([("TWILIO_ACCOUNT_SID", &other), ("TWILIO_API_KEY", &key_sid)]), vec!["TWILIO_API_SECRET"]),
        (environment([("TWILIO_ACCOUNT_SID", &other), ("TWILIO_API_SECRET", "x")]), vec!["TWILIO_API_KEY"]),
        (
            environment([("TWILIO_AUTH_TOKEN", "x"), ("TWILIO_API_KEY", &key_sid), ("TWILIO_API_SECRET", "x")]),
            vec!["TWILIO_AUTH_TOKEN"],
        ),
        (environment([("TWILIO_AUTH_TOKEN", "x"), ("TWILIO_AUTH_TOKEN_FILE", "/x")]), vec!["TWILIO_AUTH_TOKEN_FILE"]),
        (
            environment([
                ("DATABASE_URL", "postgres://localhost/x"),
                ("CONFIRMD_DATABASE__URL", "postgres://localhost/y"),
            ]),
            vec!["DATABASE_URL"],
        ),
        (
            environment([("DATABASE_URL", "postgres://localhost/x"), ("DATABASE_URL_FILE", "/x")]),
            vec!["DATABASE_URL_FILE"],
        ),
        (
            environment([("CONFIRMD_ACCOUNTS__2__NAME", "x")]),
            vec!["accounts[1]", "accounts[2].account_sid", "accounts[2].auth_token"],
        ),
    ] {
        assert_eq!(keys(&least(), &variables), expected, "{variables:?}");
    }
    let two = format!("{}[[accounts]]\naccount_sid = \"{other}\"\nauth_token = \"x\"\n", least());
    assert_eq!(keys(&two, &environment([("TWILIO_AUTH_TOKEN", "x")])), ["TWILIO_AUTH_TOKEN"]);
}

#[test]
fn a_variable_that_is_empty_is_not_taken_for_one_that_is_not_set() {
    for path in documented_keys() {
        let path = path.replace("accounts.", "accounts.0.").replace("callers.", "callers.0.");
        let name = format!("CONFIRMD_{}", path.replace('.', "__").to_uppercase());
        assert_eq!(keys(&least(), &environment([(name.as_str(), "")])), [name.as_str()]);
    }
}

#[test]
fn a_variable_whose_name_would_steer_a_terminal_is_told_without_doing_so() {
    let name = "CONFIRMD_\u{1b}[31m";
    let shown = "CONFIRMD_\\u{1b}[31m";
    assert_eq!(keys(&least(), &environment([(name, "1")])), [shown]);
    assert_eq!(keys(&least(), &environment([(name, "")])), [shown, shown], "it is empty, and unknown");
}
