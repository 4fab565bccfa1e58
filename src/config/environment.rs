//! The environment: which variables are ours, and what they are called in the configuration file.

use std::{collections::BTreeMap, env, fmt};

use super::fault::Findings;

/// The environment, as a value: tests make their own.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// A variable that decides a key.
pub(super) struct Variable<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
}

/// Names that are older than confirmd, or shorter than ours.
const ALIASES: [(&str, &str); 4] = [
    ("TWILIO_BASE_URL", "delivery.base_url"),
    ("DATABASE_URL", "database.url"),
    ("DATABASE_URL_FILE", "database.url_file"),
    ("CONFIRMD_LOG", "log.filter"),
];

/// Twilio's own names, which describe one account, and its keys.
const ACCOUNT: [(&str, &str); 8] = [
    ("TWILIO_ACCOUNT_SID", "account_sid"),
    ("TWILIO_AUTH_TOKEN", "auth_token"),
    ("TWILIO_AUTH_TOKEN_FILE", "auth_token_file"),
    ("TWILIO_API_KEY", "api_key"),
    ("TWILIO_API_SECRET", "api_secret"),
    ("TWILIO_API_SECRET_FILE", "api_secret_file"),
    ("TWILIO_REGION", "region"),
    ("TWILIO_EDGE", "edge"),
];

/// Ours, but none of the configuration: the command line's `--config`, and what tests look at.
const NOT_CONFIGURATION: [&str; 3] = ["CONFIRMD_CONFIG", "CONFIRMD_PG_BIN", "CONFIRMD_REQUIRE_DOCKER"];

/// Bounds what `CONFIRMD_ACCOUNTS__7__NAME` can make us allocate.
const MOST_OF_A_LIST: usize = 1_000;

impl Environment {
    pub fn of_process() -> Self {
        env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The keys that variables decide, by path. `documented` says which keys there are.
    pub(super) fn keys(
        &self,
        documented: impl Fn(&str) -> bool,
        findings: &Findings,
    ) -> BTreeMap<String, Variable<'_>> {
        let mut keys: BTreeMap<String, Variable<'_>> = BTreeMap::new();
        let ours = self.0.iter().filter_map(|(name, value)| Some((path_of(name)?, Variable { name, value })));
        for (path, variable) in ours {
            let sound = variable.is_sound(findings);
            match keys.get(&path) {
                _ if !documented(&without_positions(&path)) => {
                    findings.fault_named(variable.shown(), "is no variable of confirmd: see deploy/confirmd.toml");
                }
                Some(other) => {
                    findings.fault_named(variable.name, format!("is set beside {}: keep one of the two", other.name));
                }
                None if sound => {
                    keys.insert(path, variable);
                }
                None => {}
            }
        }
        keys
    }

    /// What Twilio's own variables say of one account, by the account's keys.
    pub(super) fn account(&self, findings: &Findings) -> Vec<(&'static str, Variable<'_>)> {
        ACCOUNT
            .iter()
            .filter_map(|(name, key)| Some((*key, Variable { name, value: self.get(name)? })))
            .filter(|(_, variable)| variable.is_sound(findings))
            .collect()
    }
}

impl Variable<'_> {
    fn is_sound(&self, findings: &Findings) -> bool {
        let problem = match self.value {
            "" => "is empty: give it a value, or do not set it",
            value if value.contains('\u{fffd}') => "is not UTF-8",
            _ => return true,
        };
        findings.fault_named(self.shown(), problem);
        false
    }

    /// Its name, fit for a terminal: what begins as ours does may go on with anything.
    fn shown(&self) -> String {
        self.name.escape_debug().to_string()
    }
}

/// The variable that an account which Twilio's variables describe has for a key.
pub(super) fn account_variable(key: &str) -> &str {
    ACCOUNT.iter().find(|(_, known)| *known == key).map_or(key, |(name, _)| name)
}

/// `accounts[0].edge` of `CONFIRMD_ACCOUNTS__0__EDGE`; nothing for variables that are not ours to read.
fn path_of(name: &str) -> Option<String> {
    if let Some((_, path)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some((*path).to_owned());
    }
    let ours = name.strip_prefix("CONFIRMD_")?;
    if NOT_CONFIGURATION.contains(&name) || is_kubernetes(name) {
        return None;
    }
    let mut path = String::new();
    for part in ours.split("__") {
        match part.parse::<usize>() {
            Ok(position) if position < MOST_OF_A_LIST => path.push_str(&format!("[{position}]")),
            _ if path.is_empty() => path.push_str(&part.to_lowercase()),
            _ => path.push_str(&format!(".{}", part.to_lowercase())),
        }
    }
    Some(path)
}

/// Kubernetes tells every pod of a namespace about each service in it, and a service called `confirmd` makes that
/// `CONFIRMD_SERVICE_HOST`, `CONFIRMD_PORT_8080_TCP_ADDR` and more. Refusing them would keep us from ever starting.
///
/// Source: <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_kubernetes(name: &str) -> bool {
    !name.contains("__")
        && (name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || name.ends_with("_PORT")
            || name.contains("_PORT_"))
}

/// `accounts.edge` of `accounts[0].edge`.
pub(super) fn without_positions(path: &str) -> String {
    path.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// The names alone: any value may be a secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_says_where_its_key_is() {
        for (name, path) in [
            ("CONFIRMD_SERVER__LISTEN", Some("server.listen")),
            ("CONFIRMD_SERVER__DRAIN_DELAY", Some("server.drain_delay")),
            ("CONFIRMD_ACCOUNTS__1__SECOND__AUTH_TOKEN_FILE", Some("accounts[1].second.auth_token_file")),
            ("CONFIRMD_ALLOW_INSECURE_TWILIO", Some("allow_insecure_twilio")),
            ("CONFIRMD_ACCOUNTS__999999999__NAME", Some("accounts.999999999.name")),
            ("DATABASE_URL", Some("database.url")),
            ("CONFIRMD_CONFIG", None),
            ("CONFIRMD_REQUIRE_DOCKER", None),
            ("HOME", None),
            ("TWILIO_PHONE_NUMBER", None),
        ] {
            assert_eq!(path_of(name).as_deref(), path, "{name}");
        }
    }

    #[test]
    fn what_kubernetes_says_of_a_service_called_confirmd_is_not_ours() {
        for name in [
            "CONFIRMD_SERVICE_HOST",
            "CONFIRMD_SERVICE_PORT",
            "CONFIRMD_SERVICE_PORT_HTTP",
            "CONFIRMD_PORT",
            "CONFIRMD_PORT_8080_TCP",
            "CONFIRMD_PORT_8080_TCP_PROTO",
            "CONFIRMD_OPERATIONS_SERVICE_HOST",
            "CONFIRMD_OPERATIONS_PORT_9090_TCP_ADDR",
        ] {
            assert_eq!(path_of(name), None, "{name}");
        }
    }

    #[test]
    fn an_environment_does_not_print_its_values() {
        let environment: Environment = [("TWILIO_AUTH_TOKEN", "hunter2")].into_iter().collect();
        assert_eq!(format!("{environment:?}"), r#"{"TWILIO_AUTH_TOKEN"}"#);
    }
}
