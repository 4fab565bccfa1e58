//! An account in shadow: everything is done for it but the request, and it is on record; switched on, nothing of that is
//! sent by itself, and nothing twice.

use confirmd::store::LetterFilter;
use serde_json::{Value, json};

use crate::harness::outside::eventually;
use crate::harness::process::{Confirmd, Ran, Site};
use crate::harness::service::Service;
use crate::harness::world::{Setting, TOKEN, World, account, sid};

const SHADOWED: &str = "dead@1 shadowed";

fn in_shadow() -> Setting {
    Setting { shadow: true, ..Setting::default() }
}

#[tokio::test]
async fn everything_is_done_but_the_request() {
    let mut world = World::with(in_shadow()).await;
    world.owes("login-1", 1).await;
    world.complete("parked", "login-2").await;
    world.drain().await;
    assert_eq!(world.feedback(1).await, SHADOWED);
    assert_eq!(world.event("parked").await, "parked");
    world.register("login-2", 2).await;
    world.drain().await;
    assert_eq!(world.feedback(2).await, SHADOWED);
    assert_eq!(world.twilio.ledger().len(), 0, "Twilio hears nothing at all");
    world.is_lawful().await;

    // What is said of it again owes nothing anew.
    world.complete("again", "login-1").await;
    world.drain().await;
    assert_eq!((world.feedback(1).await, world.event("again").await), (SHADOWED.to_owned(), "dead".to_owned()));

    let service = Service::of(&world).await;
    let message = service.get(&format!("/v1/messages/{}", sid(1))).await.json();
    assert_eq!(message["feedback"]["reason"], "shadowed");
    assert_eq!(
        (&message["attempts"][0]["class"], &message["attempts"][0]["status"], &message["attempts"][0]["verdict"]),
        (&json!("shadowed"), &Value::Null, &json!("dead"))
    );
    let lane = &service.get("/v1/lanes").await.json()["items"][0];
    assert_eq!((&lane["dead"], &lane["shadowed"]), (&json!(0), &json!(2)), "shadowed, and not dead");
}

#[tokio::test]
async fn what_was_shadowed_is_meant_only_by_its_name() {
    let mut world = World::with(in_shadow()).await;
    for number in 1..=3 {
        world.owes(&format!("login-{number}"), number).await;
    }
    world.drain().await;
    let operator = &world.store.operator;
    let any = LetterFilter::default();
    let by_name = LetterFilter { reason: Some("shadowed".to_owned().try_into().unwrap()), ..LetterFilter::default() };
    let one = LetterFilter { message_sid: Some(sid(3)), ..LetterFilter::default() };
    let of_the_account = LetterFilter { account_sid: Some(account(1)), ..LetterFilter::default() };
    for filter in [&any, &of_the_account] {
        assert_eq!(operator.count(filter).await.unwrap(), 0);
        assert_eq!(operator.replay(filter, 50, u64::MAX).await.unwrap().replayed, 0);
        assert_eq!(world.store.ledger.dead_letters(filter, 10, None).await.unwrap().items, []);
    }
    assert_eq!(operator.count(&by_name).await.unwrap(), 3);
    assert_eq!(world.store.ledger.dead_letters(&by_name, 10, None).await.unwrap().items.len(), 3);
    assert_eq!(operator.replay(&one, 50, 10).await.unwrap().replayed, 1, "its SID is a name as well");
    world.drain().await;
    assert_eq!(world.feedback(3).await, "dead@2 shadowed", "still in shadow");
    assert_eq!(world.twilio.ledger().len(), 0);
    world.is_lawful().await;
}

#[tokio::test]
async fn a_pause_for_a_fault_of_the_account_ends_in_shadow_where_nobody_can_refuse() {
    let mut world = World::with(in_shadow()).await;
    let outbox = &world.store.outbox;
    outbox.pause_for_fault(&account(1), "Twilio answered 401", std::time::Duration::ZERO).await.unwrap();
    world.owes("login-1", 1).await;
    world.owes("login-2", 2).await;
    world.drain().await;
    assert_eq!((world.feedback(1).await, world.feedback(2).await), (SHADOWED.to_owned(), SHADOWED.to_owned()));
}

fn site_in(shadow: bool, site: &mut Site) {
    site.unset_variable("TWILIO_ACCOUNT_SID");
    site.unset_variable("TWILIO_AUTH_TOKEN");
    let account = format!(
        "\n[[accounts]]\naccount_sid = \"{}\"\nname = \"main\"\nauth_token = \"{TOKEN}\"\nshadow = {shadow}\n",
        account(1)
    );
    site.rewrite_config(|config| {
        let before = config.split("\n[[accounts]]").next().unwrap().to_owned();
        before + &account
    });
}

async fn metrics(process: &Confirmd) -> String {
    process.caller.get("/metrics").await.unwrap().body.as_str().unwrap().to_owned()
}

#[track_caller]
fn said(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for word in words {
        assert!(ran.stdout.contains(word), "{word:?} is not in {ran:?}");
    }
}

#[tokio::test]
async fn switched_on_it_sends_what_is_new_and_says_what_becomes_of_the_rest() {
    let mut site = Site::new().await;
    site_in(true, &mut site);
    let mut process = site.serve().await;
    process.logs("In shadow: everything is done but the request").await;
    for number in 1..=3 {
        process.caller.insist(number).await;
    }
    site.everything_is_settled().await;
    said(&site.run(&["audit"]).await, &["dead 3", "of the dead     3 shadowed", "no drift"]);
    said(&site.run(&["trace", sid(1).as_str()]).await, &["feedback dead", "attempt 1  shadowed", ": shadowed"]);
    eventually("the replica tells that it is in shadow", || async {
        let listed = site.run(&["lanes", "list"]).await;
        listed.stdout.contains("IN SHADOW").then_some(())
    })
    .await;
    said(&site.run(&["lanes", "list"]).await, &["0 dead", "3 shadowed: not sent"]);
    let told = metrics(&process).await;
    for line in [
        "confirmd_shadowed_total{lane=\"main\"} 3",
        "confirmd_lane_shadow{lane=\"main\"} 1",
        "confirmd_given_up_total{lane=\"main\",reason=\"rejected\"} 0",
    ] {
        assert!(told.contains(line), "{line} is not in {told}");
    }
    assert!(!told.contains("reason=\"shadowed\"} 3\nconfirmd_given_up"), "nobody is woken for it");
    let compared = site.run(&["export", "dead-letters", "--reason", "shadowed", "--format", "csv"]).await;
    assert_eq!(compared.stdout.lines().filter(|line| line.contains(",shadowed,")).count(), 3, "{compared:?}");
    process.terminate();
    process.ends_within(std::time::Duration::from_secs(30)).await;
    assert_eq!(site.twilio.ledger().len(), 0);

    site_in(false, &mut site);
    let process = site.serve().await;
    let line = process.logs("Was in shadow: what was shadowed stays unsent").await;
    assert!(line.contains("\"shadowed\":3") && line.contains("replay --reason shadowed"), "{line}");
    process.caller.insist(1).await;
    process.caller.insist(4).await;
    site.everything_is_settled().await;
    assert_eq!(site.twilio.ledger().len(), 1, "only what is new");
    assert!(site.twilio.confirmed(&sid(4)).is_some());

    said(&site.run(&["dead-letters", "replay", "--yes"]).await, &["0 of 0 dead letters brought back"]);
    said(
        &site.run(&["dead-letters", "replay", "--reason", "shadowed", "--yes"]).await,
        &["3 of 3 dead letters brought back"],
    );
    site.everything_is_settled().await;
    assert_eq!(site.twilio.ledger().len(), 4, "each once");
    assert_eq!(site.count("confirmation").await, 4);
    site.is_lawful().await;
}

#[tokio::test]
async fn shadow_is_not_switched_while_it_runs() {
    let mut site = Site::new().await;
    site_in(true, &mut site);
    let process = site.serve().await;
    site_in(false, &mut site);
    process.hang_up();
    let refused = process.logs("These keys need a restart").await;
    assert!(refused.contains("accounts[0].shadow"), "{refused}");
    process.caller.insist(1).await;
    site.everything_is_settled().await;
    assert_eq!(site.twilio.ledger().len(), 0);
}
