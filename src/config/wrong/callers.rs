//! What is wrong about callers.

use super::keys;
use crate::config::tests::{DIGEST, environment, least};

#[test]
fn a_wrong_line_about_a_caller_is_a_fault_of_its_key() {
    let right = |name: &str, digest: &str| {
        format!("[[callers]]\nname = \"{name}\"\nscopes = [\"ingest\"]\ntokens_sha256 = [\"{digest}\"]\n")
    };
    let login = right("login", DIGEST);
    for (callers, key) in [
        (String::new(), "callers"),
        ("callers = []\n".to_owned(), "callers"),
        ("callers = \"hunter2\"\n".to_owned(), "callers"),
        ("callers = [\"hunter2\"]\n".to_owned(), "callers[0]"),
        (login.replace("name = \"login\"\n", ""), "callers[0].name"),
        (right("log in", DIGEST), "callers[0].name"),
        (format!("{login}namespace = \"\"\n"), "callers[0].namespace"),
        (format!("{login}namespace = \"a/b\"\n"), "callers[0].namespace"),
        (format!("{login}token = \"hunter2\"\n"), "callers[0].token"),
        (login.replace("scopes = [\"ingest\"]\n", ""), "callers[0].scopes"),
        (login.replace("[\"ingest\"]", "[]"), "callers[0].scopes"),
        (login.replace("[\"ingest\"]", "\"ingest\""), "callers[0].scopes"),
        (login.replace("[\"ingest\"]", "[\"ingest\", \"hunter2\"]"), "callers[0].scopes"),
        (login.replace("[\"ingest\"]", "[\"ingest\", 7]"), "callers[0].scopes"),
        (right("login", &DIGEST[1..]), "callers[0].tokens_sha256"),
        (right("login", &format!("{DIGEST}0")), "callers[0].tokens_sha256"),
        (right("login", &DIGEST.replace('0', "g")), "callers[0].tokens_sha256"),
        (right("login", "cfd_hunter2"), "callers[0].tokens_sha256"),
        (login.replace(&format!("[\"{DIGEST}\"]"), "[]"), "callers[0].tokens_sha256"),
        (right("login", &format!("{DIGEST}\", \"{DIGEST}")), "callers[0].tokens_sha256"),
        (format!("{login}{}", right("signup", DIGEST)), "callers[1].tokens_sha256"),
        (format!("{login}{}", right("login", &DIGEST.replace('0', "1"))), "callers[1].name"),
    ] {
        let start = least().find("[[callers]]").unwrap();
        let end = least().find("[[accounts]]").unwrap();
        // Top level keys come before all tables.
        let (top, tables) = if callers.starts_with("callers") { (&callers[..], "") } else { ("", &callers[..]) };
        let file = format!("{top}{}{tables}{}", &least()[..start], &least()[end..]);
        let found = keys(&file, &environment([]));
        assert_eq!(found, [key], "{callers}");
    }
}
