//! What an operator may write, and what it comes to.

use std::{collections::BTreeSet, fs, time::Duration};

use secrecy::ExposeSecret;

use super::{fault::Findings, layers::DEFAULTS, *};
use crate::domain::Scope;

pub(super) const SID: &str = "AC0123456789abcdef0123456789abcdef";
const OTHER_SID: &str = "AC00000000000000000000000000000002";
const KEY_SID: &str = "SK0123456789abcdef0123456789abcdef";
pub(super) const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF";

pub(super) fn environment<const N: usize>(variables: [(&str, &str); N]) -> Environment {
    variables.into_iter().collect()
}

/// The least that serves.
pub(super) fn least() -> String {
    format!(
        "[database]\nurl = \"postgres://localhost/confirmd\"\n\
         [[callers]]\nname = \"login\"\nscopes = [\"ingest\", \"read\"]\ntokens_sha256 = [\"{DIGEST}\"]\n\
         [[accounts]]\naccount_sid = \"{SID}\"\nauth_token = \"hunter2\"\n"
    )
}

fn load(file: &str, environment: &Environment) -> Result<Config, ConfigError> {
    Config::from_layers(Some(("confirmd.toml", file)), environment, Role::All)
}

fn token(credentials: &Credentials) -> &str {
    match credentials {
        Credentials::AuthToken(token) => token.expose_secret(),
        Credentials::ApiKey { .. } => panic!("an API key"),
    }
}

#[test]
fn the_least_that_serves_gets_the_documented_defaults() {
    let config = load(&least(), &environment([])).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.drain_deadline, Duration::from_secs(25));
    assert_eq!(config.database.intake_connections, 8);
    assert_eq!(config.intake.max_waiting, 10_000);
    assert_eq!((config.intake.max_waiting_per_caller, config.server.max_connections_per_peer), (5000, 400));
    assert_eq!(config.delivery.lease, Duration::from_secs(60));
    assert_eq!(config.retention.history, Duration::from_hours(90 * 24));
    assert_eq!(config.log.format, LogFormat::Auto);

    let [caller] = &config.callers[..] else { panic!("one caller") };
    assert_eq!((caller.name.as_str(), caller.namespace.as_str()), ("login", "default"));
    assert!(caller.scopes.allow(Scope::Ingest) && !caller.scopes.allow(Scope::Operate));
    assert_eq!(caller.tokens_sha256[0][..2], [0x01, 0x23]);

    let [account] = &config.accounts[..] else { panic!("one account") };
    assert_eq!((account.account_sid.as_str(), account.name.as_str()), (SID, "lane-1"));
    assert_eq!((account.max_concurrency, account.yield_above), (32, 64));
    assert_eq!(account.base_url, "https://api.twilio.com");
    assert_eq!(token(&account.credentials), "hunter2");
}

#[test]
fn every_key_can_be_a_variable() {
    let variables = environment([
        ("CONFIRMD_SERVER__LISTEN", "0.0.0.0:80"),
        ("CONFIRMD_DELIVERY__LEASE", "2m"),
        ("CONFIRMD_INTAKE__WRITERS", "2"),
        ("CONFIRMD_DATABASE__ALLOW_INSECURE", "true"),
        ("DATABASE_URL", "postgres://db.example/confirmd"),
        ("CONFIRMD_LOG", "warn,confirmd=debug"),
        ("CONFIRMD_CALLERS__0__NAME", "signup"),
        ("CONFIRMD_CALLERS__0__SCOPES", "ingest, operate"),
        ("CONFIRMD_CALLERS__0__TOKENS_SHA256", DIGEST),
        ("CONFIRMD_ACCOUNTS__0__ACCOUNT_SID", SID),
        ("CONFIRMD_ACCOUNTS__0__AUTH_TOKEN", "hunter2"),
        ("CONFIRMD_ACCOUNTS__0__SECOND__AUTH_TOKEN", "hunter3"),
        ("CONFIRMD_CONFIG", "/etc/confirmd.toml"),
        ("CONFIRMD_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
    ]);
    let config = Config::from_layers(None, &variables, Role::All).unwrap();
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:80");
    assert_eq!(config.delivery.lease, Duration::from_secs(120));
    assert_eq!(config.intake.writers, 2);
    assert_eq!(config.database.url.expose_secret(), "postgres://db.example/confirmd");
    assert_eq!(config.log.filter, "warn,confirmd=debug");
    assert!(config.callers[0].scopes.allow(Scope::Operate));
    assert_eq!(token(config.accounts[0].second.as_ref().unwrap()), "hunter3");
}

#[test]
fn twilios_own_variables_make_the_only_account_complete_one_or_add_one() {
    let twilio = |sid| {
        environment([
            ("TWILIO_ACCOUNT_SID", sid),
            ("TWILIO_AUTH_TOKEN", "newer"),
            ("TWILIO_REGION", "ie1"),
            ("TWILIO_EDGE", "dublin"),
        ])
    };
    let overridden = load(&least(), &twilio(SID)).unwrap().accounts;
    assert_eq!(overridden.len(), 1);
    assert_eq!(token(&overridden[0].credentials), "newer");
    assert_eq!(overridden[0].base_url, "https://api.dublin.ie1.twilio.com");

    let added = load(&least(), &twilio(OTHER_SID)).unwrap().accounts;
    let known: Vec<_> = added.iter().map(|account| (account.account_sid.as_str(), account.name.as_str())).collect();
    assert_eq!(known, [(SID, "lane-1"), (OTHER_SID, "lane-2")]);

    let alone = least().split("[[accounts]]").next().unwrap().to_owned();
    assert_eq!(load(&alone, &twilio(OTHER_SID)).unwrap().accounts.len(), 1);

    let completed = load(&least(), &environment([("TWILIO_AUTH_TOKEN", "newer")])).unwrap().accounts;
    assert_eq!(token(&completed[0].credentials), "newer");
}

#[test]
fn a_key_in_the_environment_replaces_a_token_in_the_file() {
    let variables = environment([("TWILIO_API_KEY", KEY_SID), ("TWILIO_API_SECRET", "shh")]);
    let config = load(&least(), &variables).unwrap();
    assert!(matches!(&config.accounts[0].credentials, Credentials::ApiKey { sid, .. } if sid == KEY_SID));

    let file = least().replace("auth_token = \"hunter2\"", &format!("api_key = \"{KEY_SID}\""));
    let config = load(&file, &environment([("TWILIO_API_SECRET", "shh")])).unwrap();
    assert!(
        matches!(&config.accounts[0].credentials, Credentials::ApiKey { secret, .. } if secret.expose_secret() == "shh")
    );
}

#[test]
fn secrets_can_be_in_files_and_the_environments_file_wins() {
    let folder = tempfile::TempDir::new().unwrap();
    let write = |name: &str, secret: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.path().join(name);
        fs::write(&path, secret).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (url, old, new) =
        (write("url", "postgres://localhost/other\n"), write("old", "older\n"), write("new", "newer\n"));
    let file = least().replace("auth_token = \"hunter2\"", &format!("auth_token_file = \"{old}\""));

    let config = load(&file, &environment([("DATABASE_URL_FILE", &url)])).unwrap();
    assert_eq!(config.database.url.expose_secret(), "postgres://localhost/other");
    assert_eq!(token(&config.accounts[0].credentials), "older");

    let config = load(&file, &environment([("TWILIO_AUTH_TOKEN_FILE", &new)])).unwrap();
    assert_eq!(token(&config.accounts[0].credentials), "newer");
}

#[test]
fn a_base_url_of_ones_own_keeps_its_host_whatever_the_region() {
    let variables = environment([
        ("TWILIO_BASE_URL", "http://127.0.0.1:4010"),
        ("TWILIO_EDGE", "dublin"),
        ("TWILIO_REGION", "ie1"),
    ]);
    let config = load(&least(), &variables).unwrap();
    assert_eq!(config.accounts[0].base_url, "http://127.0.0.1:4010");
}

#[test]
fn a_worker_needs_no_callers() {
    let file = least().replace("[[callers]]", "[[ignored]]");
    let start = file.find("[[ignored]]").unwrap();
    let end = file.find("[[accounts]]").unwrap();
    let file = format!("{}{}", &file[..start], &file[end..]);
    assert!(Config::from_layers(Some(("f", &file)), &environment([]), Role::Worker).is_ok());
    assert!(Config::from_layers(Some(("f", &file)), &environment([]), Role::Intake).is_err());
}

#[test]
fn a_configuration_does_not_print_its_secrets() {
    let variables = environment([("DATABASE_URL", "postgres://confirmd:hunter2@localhost/confirmd")]);
    let file = format!("{}second = {{ api_key = \"{KEY_SID}\", api_secret = \"hunter2\" }}\n", least());
    let printed = format!("{:?}", load(&file, &variables).unwrap());
    assert!(printed.contains(SID) && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn the_documented_keys_are_the_keys_that_are_read_with_their_bounds() {
    let findings = Findings::default();
    let file = format!("{}[accounts.second]\nauth_token = \"x\"\n", least());
    Config::read(Some(("f", &file)), &environment([]), Role::All, &findings).unwrap();

    let asked = findings.all_asked();
    let is_table = |key: &str| !key.contains('.') && key != "allow_insecure_twilio" || key == "accounts.second";
    let read: BTreeSet<_> =
        asked.keys().map(|path| environment::without_positions(path)).filter(|key| !is_table(key)).collect();
    assert_eq!(read, layers::documented_keys());

    for (path, asked) in &asked {
        let key = path.rsplit('.').next().unwrap();
        let section = environment::without_positions(path.rsplit_once('.').map_or("", |(section, _)| section));
        let text = DEFAULTS.split_once(&format!("[{section}]")).map_or(DEFAULTS, |(_, text)| text);
        let text = text.lines().take_while(|line| !line.trim_start_matches('#').starts_with(&format!("{key} = ")));
        let text: Vec<_> = text.collect();
        let about = text.rsplit(|line| !line.starts_with("# ")).next().unwrap().join(" ");
        assert!(about.contains(&asked.bounds), "{path} is from {}, not: {about}", asked.bounds);
    }
}

#[test]
fn what_is_commented_out_shows_the_default_and_the_rest_is_the_default() {
    let accounts = load(&least(), &environment([])).unwrap().accounts;
    for (key, default) in [("max_concurrency", accounts[0].max_concurrency), ("yield_above", accounts[0].yield_above)] {
        assert!(DEFAULTS.contains(&format!("#{key} = {default}\n")), "{key}");
    }
    let copied = format!("{DEFAULTS}\n{}", least().replace("[database]\nurl", "#"));
    let variables = environment([("DATABASE_URL", "postgres://localhost/confirmd")]);
    assert!(load(&copied, &variables).is_ok(), "a copy of the annotated file is a file");
}
