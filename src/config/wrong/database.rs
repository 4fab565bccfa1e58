//! What is wrong about Postgres.

use super::keys;
use crate::config::tests::{environment, least};

#[test]
fn a_wrong_line_about_the_database_is_a_fault_of_its_key() {
    for (line, key) in [
        ("", "database.url"),
        ("url = \"\"", "database.url"),
        ("url = \"hunter2\"", "database.url"),
        ("url = \"mysql://localhost/confirmd\"", "database.url"),
        ("url = \"postgres://u:hunter2@localhost:99999/confirmd\"", "database.url"),
        ("url = \"postgres://u:hunter2@db.example/confirmd\"", "database.url"),
        ("url = \"postgres://u:hunter2@db.example/confirmd?sslmode=require\"", "database.url"),
        ("url = \"postgres://u:hunter2@db.example/confirmd?sslmode=verify-ca\"", "database.url"),
        ("url = \"postgres://u:hunter2@localhost/confirmd?host=db.example\"", "database.url"),
        ("url = \"postgres://localhost/confirmd?passwrod=hunter2\"", "database.url"),
        ("url = \"postgres://localhost/confirmd?sslmode=hunter2\"", "database.url"),
        ("url_file = \"/nowhere/at/all\"", "database.url_file"),
        ("url_file = \"/tmp\"", "database.url_file"),
        ("url = \"postgres://localhost/x\"\nurl_file = \"/nowhere/at/all\"", "database.url_file"),
        ("url = \"postgres://localhost/x\"\nallow_insecure = \"yes\"", "database.allow_insecure"),
        ("url = \"postgres://localhost/x\"\nintake_connections = 3", "database.intake_connections"),
        ("url = \"postgres://localhost/x\"\ndelivery_connections = 1", "database.delivery_connections"),
        ("url = \"postgres://localhost/x\"\nread_connections = 0", "database.read_connections"),
        ("url = \"postgres://localhost/x\"\nlock_timeout = \"6s\"", "database.lock_timeout"),
        ("url = \"postgres://localhost/x\"\nstatement_timeout = \"0s\"", "database.statement_timeout"),
        ("url = \"postgres://localhost/x\"\npool = 3", "database.pool"),
    ] {
        let file = least().replace("url = \"postgres://localhost/confirmd\"", line);
        assert_eq!(keys(&file, &environment([])), [key], "{line}");
    }
    for right in [
        "postgres://u:p@db.example/confirmd?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql://u:p@[::1]:5433/confirmd",
        "postgres://u@%2Frun%2Fpostgresql/confirmd",
        "postgres:///confirmd?host=/run/postgresql",
    ] {
        let file = least().replace("postgres://localhost/confirmd", right);
        assert_eq!(keys(&file, &environment([])), ["no fault"], "{right}");
    }
}
