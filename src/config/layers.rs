//! Lays defaults, the operator's file and the environment over each other. What comes later wins, key by key.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use config::{File, FileFormat, Map, Source, Value, ValueKind};

use super::{
    environment::{Environment, Variable},
    fault::{ConfigError, Fault, Findings, NO_KEY, is_bare, written},
};

/// The defaults, and at the same time the reference: every key there is, with its meaning.
pub(super) const DEFAULTS: &str = include_str!("../../deploy/confirmd.toml");

/// The same, read once: whoever tries thousands of files lays each over it.
static DEFAULT_LAYER: LazyLock<config::Config> = LazyLock::new(|| {
    let defaults = File::from_str(DEFAULTS, FileFormat::Toml);
    config::Config::builder().add_source(defaults).build().expect("the annotated defaults are TOML")
});

static DOCUMENTED_KEYS: LazyLock<BTreeSet<String>> = LazyLock::new(documented_keys);

/// A configuration file: what to call it in a fault, and its text.
pub type FileText<'a> = (&'a str, &'a str);

/// All layers as one tree. A value from the environment knows its variable as its origin; others have none.
pub(super) fn tree(
    file: Option<FileText<'_>>,
    environment: &Environment,
    findings: &Findings,
) -> Result<Map<String, Value>, ConfigError> {
    let mut layers = config::Config::builder().add_source(DEFAULT_LAYER.clone());
    let file_name = file.map_or("deploy/confirmd.toml", |(name, _)| name);
    if let Some((name, text)) = file {
        check(name, text)?;
        layers = layers.add_source(File::from_str(text, FileFormat::Toml));
    }
    for (path, variable) in environment.keys(|path| DOCUMENTED_KEYS.contains(path), findings) {
        layers = layers
            .set_override(&path, variable.to_value())
            .map_err(|_| ConfigError::one(variable.name, "is no variable of confirmd: see deploy/confirmd.toml"))?;
    }
    // The cause is not shown: it quotes. Syntax was checked before, so numbers are what is left to fail.
    let mut tree = layers
        .build()
        .and_then(|layers| layers.collect())
        .map_err(|_| ConfigError::one(file_name, "holds a number that is too large"))?;
    add_account(&mut tree, &environment.account(findings), findings);
    Ok(tree)
}

/// Finds what is wrong with a file's syntax in our own words: the parser's would quote the line, secrets and all.
///
/// A key at the top is a path to who lays the layers: `"accounts[4000000000]"` would make as many accounts. None of ours
/// needs quotes.
fn check(name: &str, text: &str) -> Result<(), ConfigError> {
    let table = toml::de::DeTable::parse(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let place = format!("{name}, line {line}, column {column}");
        ConfigError::one(place, format!("not TOML: {}", error.message()))
    })?;
    let paths = table.get_ref().keys().filter(|key| !is_bare(key.get_ref()));
    let faults: Vec<_> =
        paths.map(|key| Fault { key: written(key.get_ref()).into_owned(), problem: NO_KEY.to_owned() }).collect();
    if faults.is_empty() { Ok(()) } else { Err(ConfigError { faults }) }
}

/// Puts what Twilio's own variables say into the account with their SID; or into a new one; or, if they name none, into
/// the only one.
fn add_account(tree: &mut Map<String, Value>, variables: &[(&str, Variable<'_>)], findings: &Findings) {
    let Some((_, first)) = variables.first() else { return };
    let accounts = tree.entry("accounts".to_owned()).or_insert_with(|| Value::new(None, Vec::<Value>::new()));
    // Something else than a list is a fault that is found when it is read.
    let ValueKind::Array(accounts) = &mut accounts.kind else { return };

    let sid = variables.iter().find(|(key, _)| *key == "account_sid").map(|(_, variable)| variable);
    let position = match sid {
        Some(sid) => accounts.iter().position(|account| sid_of(account) == Some(sid.value)).unwrap_or_else(|| {
            let account = [("account_sid".to_owned(), sid.to_value())].into_iter().collect::<Map<_, _>>();
            accounts.push(Value::new(None, account));
            accounts.len() - 1
        }),
        None if accounts.len() == 1 => 0,
        None => {
            findings.fault_named(first.name, "is for an account that TWILIO_ACCOUNT_SID must name, and it is not set");
            return;
        }
    };
    if let ValueKind::Table(account) = &mut accounts[position].kind {
        for (key, variable) in variables.iter().filter(|(key, _)| *key != "account_sid") {
            account.insert((*key).to_owned(), variable.to_value());
        }
    }
}

fn sid_of(account: &Value) -> Option<&str> {
    let ValueKind::Table(keys) = &account.kind else { return None };
    match &keys.get("account_sid")?.kind {
        ValueKind::String(sid) => Some(sid),
        _ => None,
    }
}

impl Variable<'_> {
    fn to_value(&self) -> Value {
        Value::new(Some(&self.name.to_owned()), self.value)
    }
}

/// The keys that the annotated defaults name, also where they are commented out, without positions: `accounts.edge`.
///
/// There, `#key = value` is a key without a default and `# text` is text.
pub(super) fn documented_keys() -> BTreeSet<String> {
    let mut table = String::new();
    let mut keys = BTreeSet::new();
    for line in DEFAULTS.lines().filter(|line| !line.starts_with("# ")) {
        let line = line.trim_start_matches('#');
        if let Some((name, _)) = line.trim_start_matches('[').split_once(']').filter(|_| line.starts_with('[')) {
            table = format!("{name}.");
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.insert(format!("{table}{key}"));
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_at_the_top_that_would_be_a_path_is_no_key_and_makes_nothing() {
        let file = "\"accounts[4000000000]\" = 1\n\"server.listen\" = \"0.0.0.0:1\"\n[\"\"]\n";
        let findings = Findings::default();
        let wrong = tree(Some(("confirmd.toml", file)), &Environment::default(), &findings).unwrap_err();
        let keys: Vec<_> = wrong.faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["\"\"", "\"accounts[4000000000]\"", "\"server.listen\""]);
    }

    #[test]
    fn a_file_that_is_not_toml_is_told_by_line_and_column_and_not_quoted() {
        for (text, place) in [
            ("[server]\nlisten = \"x\"\nlisten = \"hunter2\"", "line 3, column 1"),
            ("[[accounts]]\nauth_token = hunter2", "line 2, column 14"),
            ("[[accounts]]\nauth_token = \"hunter2", "line 2, column"),
            ("auth_token = \"hunter2\" hunter2", "line 1, column"),
            ("hunter2", "line 1, column"),
        ] {
            let error = check("confirmd.toml", text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("confirmd.toml, {place}")), "{error}");
            assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
        }
    }
}
