//! What may change while confirmd runs, changes at a signal, and nobody is turned away by it; whatever else is named.

use confirmd::operate::token;
use secrecy::ExposeSecret;

use crate::harness::caller::Caller;
use crate::harness::outside::eventually;
use crate::harness::process::{API_KEYS, Confirmd, Site};
use crate::harness::traffic::Traffic;
use crate::harness::world::{TOKEN, account};

/// A token, and its digest as the configuration holds it.
pub(crate) fn new_token() -> (String, String) {
    let (token, digest) = token::generate();
    (token.expose_secret().to_owned(), digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Rewrites the configuration, and waits until the process says what became of it.
pub(crate) async fn reload(
    site: &Site,
    process: &Confirmd,
    says: &str,
    rewrite: impl FnOnce(String) -> String,
) -> String {
    let before = process.log().matches(says).count();
    site.rewrite_config(rewrite);
    process.hang_up();
    eventually("the process says what became of its configuration", || async {
        let log = process.log();
        (before < log.matches(says).count()).then(|| log.lines().rfind(|line| line.contains(says)).unwrap().to_owned())
    })
    .await
}

/// The account in the file instead of the environment, with this besides its SID.
pub(crate) fn with_account(site: &mut Site, rest: &str) {
    site.unset_variable("TWILIO_ACCOUNT_SID");
    site.unset_variable("TWILIO_AUTH_TOKEN");
    let account = format!("\n[[accounts]]\naccount_sid = \"{}\"\n{rest}\n", account(1));
    site.rewrite_config(|config| config + &account);
}

async fn metric(process: &Confirmd, name: &str) -> String {
    let metrics = process.caller.get("/metrics").await.unwrap();
    let text = metrics.body.as_str().unwrap().to_owned();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit_once(' ').unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_token_is_exchanged_for_another_and_no_request_is_turned_away() {
    let mut site = Site::new().await;
    site.is_patient();
    let process = site.serve().await;
    let traffic = Traffic::begin(vec![process.caller.clone()], 4);
    traffic.goes_on(50).await;

    let (token, digest) = new_token();
    let both = format!("tokens_sha256 = [\"{digest}\", \"");
    reload(&site, &process, "Reloaded the configuration", |config| config.replace("tokens_sha256 = [\"", &both)).await;
    traffic.goes_on(50).await;
    let renewed = Caller { token, ..process.caller.clone() };
    traffic.turn_to(vec![renewed.clone()]);
    traffic.goes_on(50).await;
    let only = format!("tokens_sha256 = [\"{digest}\"]\n");
    reload(&site, &process, "Reloaded the configuration", |config| {
        let (before, _) = config.split_once("tokens_sha256").unwrap();
        format!("{before}{only}")
    })
    .await;
    traffic.goes_on(50).await;

    let told = traffic.end().await;
    assert_eq!((told.failed.as_slice(), told.repeated), (&[][..], 0), "nobody was turned away");
    assert!(200 <= told.taken.len());
    assert_eq!(process.caller.get("/v1/lanes").await.unwrap().status, 401, "the old one opens nothing any more");
    assert_eq!(renewed.get("/v1/lanes").await.unwrap().status, 200);
    assert_eq!(metric(&process, "confirmd_config_reloads_total{outcome=\"applied\"}").await, "2");
    site.everything_is_settled().await;
    site.is_lawful().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_is_exchanged_for_another_and_twilio_refuses_no_request() {
    let mut site = Site::new().await;
    site.is_patient();
    let with = |(sid, secret): (&str, &str)| format!("api_key = \"{sid}\"\napi_secret = \"{secret}\"");
    with_account(&mut site, &with(API_KEYS[0]));
    let process = site.serve().await;
    let traffic = Traffic::begin(vec![process.caller.clone()], 4);
    traffic.goes_on(100).await;
    reload(&site, &process, "Reloaded the configuration", |config| {
        config.replace(&with(API_KEYS[0]), &with(API_KEYS[1]))
    })
    .await;
    let reloaded = site.twilio.ledger().len();
    traffic.goes_on(100).await;
    let told = traffic.end().await;
    assert_eq!((told.failed.as_slice(), told.repeated), (&[][..], 0));
    site.everything_is_settled().await;

    let ledger = site.twilio.ledger();
    assert!(ledger.iter().all(|entry| entry.authenticated && entry.answer.to_string() == "200"), "none was refused");
    let by = |key: &str| ledger.iter().filter(|entry| entry.authorization.as_deref().unwrap().contains(key)).count();
    assert_eq!(by(API_KEYS[0].0) + by(API_KEYS[1].0), ledger.len());
    let late =
        ledger[reloaded..].iter().filter(|entry| entry.authorization.as_deref().unwrap().contains(API_KEYS[0].0));
    assert!(late.count() <= 32, "only what was on its way went on with the old one");
    assert!(0 < by(API_KEYS[1].0));
    assert_eq!(site.count("confirmation where attempts <> 1").await, 0, "no attempt more than one");
    assert_eq!(site.count("confirmation").await as usize, told.taken.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_token_is_exchanged_for_another_while_the_second_stands_by() {
    let mut site = Site::new().await;
    site.is_patient();
    let (first, second) = (site.secret_file("first", TOKEN), site.secret_file("second", "the-next-token"));
    with_account(&mut site, &format!("auth_token_file = \"{first}\"\nsecond = {{ auth_token_file = \"{second}\" }}"));
    let process = site.serve().await;
    let traffic = Traffic::begin(vec![process.caller.clone()], 4);
    traffic.goes_on(50).await;
    assert!(site.twilio.rotate_token(&account(1), "the-next-token".into()));
    traffic.goes_on(50).await;
    // The file keeps its name; what stands in it is new.
    site.secret_file("first", "the-next-token");
    let said = reload(&site, &process, "Reloaded the configuration", |config| config).await;
    assert!(said.contains("accounts[0]"), "{said}");
    traffic.goes_on(50).await;
    let told = traffic.end().await;
    assert_eq!((told.failed.as_slice(), told.repeated), (&[][..], 0), "no caller noticed");
    site.everything_is_settled().await;
    assert_eq!(site.count("confirmation").await as usize, told.taken.len());
    assert_eq!(site.count("dead_letter").await, 0);
    assert_eq!(site.count("account_lane where paused_at is not null").await, 0);
    assert!(!process.log().contains("Paused a lane"), "{}", process.log());
}

#[tokio::test]
async fn a_lane_that_was_refused_goes_on_at_once_when_it_gets_what_opens_it() {
    let mut site = Site::new().await;
    site.set("delivery.poll_interval", "50ms");
    // Long after this story has failed.
    site.set("delivery.probe_every", "1h");
    with_account(&mut site, "auth_token = \"a-mistake\"");
    let process = site.serve().await;
    process.caller.insist(1).await;
    process.logs("Paused a lane").await;
    let put_off = "feedback where lease_token is null and attempts = 1";
    eventually("what was refused is put off", || async { (site.count(put_off).await == 1).then_some(()) }).await;
    reload(&site, &process, "Reloaded the configuration", |config| config.replace("a-mistake", TOKEN)).await;
    site.everything_is_settled().await;
    assert_eq!(site.count("account_lane where paused_at is not null").await, 0);
}

#[tokio::test]
async fn what_cannot_change_while_it_runs_is_named_each_time_and_the_rest_is_taken_over() {
    let mut site = Site::new().await;
    with_account(&mut site, &format!("auth_token = \"{TOKEN}\""));
    let process = site.serve().await;
    assert_eq!(metric(&process, "confirmd_lane_limit{").await, "8");
    let rewrite = |config: String| {
        config
            .replace("filter = \"info\"", "filter = \"debug\"")
            .replace("drain_delay = \"0s\"", "drain_delay = \"1s\"")
            + "max_concurrency = 2\nregion = \"us1\"\n[intake]\nwriters = 3\n"
    };
    let refused = reload(&site, &process, "These keys need a restart", rewrite).await;
    for key in ["server.drain_delay", "accounts[0].region", "intake.writers"] {
        assert!(refused.contains(key), "{key} is not in {refused}");
    }
    for key in ["max_concurrency", "log.filter", TOKEN] {
        assert!(!refused.contains(key), "{key} is in {refused}");
    }
    assert_eq!(metric(&process, "confirmd_lane_limit{").await, "2");
    process.caller.insist(1).await;
    process.logs("Confirmed at Twilio").await; // at debug

    let again = reload(&site, &process, "These keys need a restart", |config| config).await;
    assert!(again.contains("intake.writers"), "{again}");
    let back = reload(&site, &process, "Reloaded the configuration", |config| {
        config
            .replace("drain_delay = \"1s\"", "drain_delay = \"0s\"")
            .replace("region = \"us1\"\n[intake]\nwriters = 3\n", "")
    })
    .await;
    assert!(back.contains("\"applied\":\"{}\""), "nothing differs any more: {back}");
    assert_eq!(metric(&process, "confirmd_config_reloads_total{outcome=\"partly\"}").await, "2");
}

#[tokio::test]
async fn a_file_that_makes_no_sense_changes_nothing_and_is_said() {
    let site = Site::new().await;
    let process = site.serve().await;
    let whole = std::fs::read_to_string(site.config()).unwrap();
    let torn = [
        (whole.split_once("scopes").unwrap().0.to_owned(), "callers[0].scopes: is missing"),
        (whole[..whole.len() - 5].to_owned(), "not TOML"),
        (String::new(), "callers: is missing"),
        (whole.replace("\"operate\"", "\"hunter2\""), "callers[0].scopes"),
        (format!("{whole}[intake]\nwriters = 0"), "intake.writers"),
    ];
    for (file, fault) in torn {
        let said = reload(&site, &process, "Could not reload the configuration", |_| file).await;
        assert!(said.contains(fault) && !said.contains("hunter2"), "{fault} is not in {said}");
        assert_eq!(process.caller.get("/v1/lanes").await.unwrap().status, 200, "the token is still good");
    }
    std::fs::remove_file(site.config()).unwrap();
    process.hang_up();
    process.logs("cannot be read").await;
    process.caller.insist(1).await;
    assert_eq!(metric(&process, "confirmd_config_reloads_total{outcome=\"refused\"}").await, "6");
}

#[tokio::test]
async fn accounts_that_are_others_are_named_and_the_lanes_that_run_keep_theirs() {
    let mut site = Site::new().await;
    with_account(&mut site, &format!("auth_token = \"{TOKEN}\""));
    let process = site.serve().await;
    let other = account(2);
    let refused = reload(&site, &process, "These keys need a restart", |config| {
        config.replace(account(1).as_str(), other.as_str()).replace(TOKEN, "another") + "max_concurrency = 1\n"
    })
    .await;
    for key in ["accounts[0].account_sid", "accounts[0].auth_token", "accounts[0].max_concurrency"] {
        assert!(refused.contains(key), "{key} is not in {refused}");
    }
    assert_eq!(metric(&process, "confirmd_lane_limit{").await, "8");
    process.caller.insist(1).await;
    site.everything_is_settled().await;
}

#[tokio::test]
async fn whoever_reloads_before_it_runs_does_not_end_it() {
    let mut site = Site::new().await;
    // A Postgres that takes a connection and says nothing: by then signals are heard.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    site.set_variable("DATABASE_URL", &format!("postgres://confirmd@{}/confirmd", silent.local_addr().unwrap()));
    let mut process = site.begin(&["serve"]);
    let _held = silent.accept().await.unwrap();
    process.hang_up();
    let code = process.ends_within(std::time::Duration::from_secs(30)).await;
    assert_eq!(code, Some(75), "Postgres ended it, and no signal did");
}
