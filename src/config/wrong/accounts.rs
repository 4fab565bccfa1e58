//! What is wrong about accounts.

use super::keys;
use crate::config::tests::{SID, environment, least};

#[test]
fn a_wrong_line_about_an_account_is_a_fault_of_its_key() {
    let right = format!("[[accounts]]\naccount_sid = \"{SID}\"\nauth_token = \"hunter2\"\n");
    let second = right.replace("0123456789abcdef0", "0123456789abcdef1");
    let key_sid = SID.replace("AC", "SK");
    for (accounts, key) in [
        (String::new(), "accounts"),
        (right.replace(SID, "AC123"), "accounts[0].account_sid"),
        (right.replace(SID, &key_sid), "accounts[0].account_sid"),
        (right.replace("account_sid", "sid"), "accounts[0].account_sid accounts[0].sid"),
        (right.replace("auth_token = \"hunter2\"\n", ""), "accounts[0].auth_token"),
        (right.replace("\"hunter2\"", "\"\""), "accounts[0].auth_token"),
        (right.replace("\"hunter2\"", "\"hunter2\\n\""), "accounts[0].auth_token"),
        (right.replace("\"hunter2\"", "17"), "accounts[0].auth_token"),
        (format!("{right}auth_token_file = \"/nowhere\"\n"), "accounts[0].auth_token_file"),
        (right.replace("auth_token = \"hunter2\"", "auth_token_file = \"/nowhere\""), "accounts[0].auth_token_file"),
        (format!("{right}api_key = \"{key_sid}\"\napi_secret = \"hunter2\"\n"), "accounts[0].auth_token"),
        (right.replace("auth_token = \"hunter2\"", &format!("api_key = \"{key_sid}\"")), "accounts[0].api_secret"),
        (right.replace("auth_token", "api_secret"), "accounts[0].api_key"),
        (right.replace("auth_token", "api_key = \"SKhunter2\"\napi_secret"), "accounts[0].api_key"),
        (format!("{right}region = \"ie1\"\n"), "accounts[0].region"),
        (format!("{right}region = \"ie1.evil.example/\"\nedge = \"dublin\"\n"), "accounts[0].region"),
        (format!("{right}edge = \"\"\n"), "accounts[0].edge"),
        (format!("{right}max_concurrency = 0\n"), "accounts[0].max_concurrency"),
        (format!("{right}max_concurrency = 65\n"), "accounts[0].max_concurrency"),
        (format!("{right}yield_above = 10001\n"), "accounts[0].yield_above"),
        (format!("{right}name = \"{SID}\"\n"), "accounts[0].name"),
        (format!("{right}second = {{}}\n"), "accounts[0].second.auth_token"),
        (format!("{right}second = \"hunter2\"\n"), "accounts[0].second"),
        (format!("{right}second = {{ auth_token = \"x\", token = \"hunter2\" }}\n"), "accounts[0].second.token"),
        (format!("{right}{right}"), "accounts[1].account_sid"),
        (format!("{right}name = \"lane-2\"\n{second}"), "accounts[1].name"),
        (format!("{right}name = \"main\"\n{second}name = \"main\"\n"), "accounts[1].name"),
        (format!("{right}{second}max_concurency = 8\n"), "accounts[1].max_concurency"),
    ] {
        let start = least().find("[[accounts]]").unwrap();
        let file = format!("{}{accounts}", &least()[..start]);
        assert_eq!(keys(&file, &environment([])).join(" "), key, "{accounts}");
    }
}
