//! Promises 1 and 3 on the direct path: what is written as leased to its process and handed over in memory.

use std::net::TcpListener;

use crate::harness::process::Site;

/// Leases as short as may be, so that what the dead had comes due soon.
async fn site() -> Site {
    let mut site = Site::new().await;
    site.set("delivery.request_timeout", "300ms");
    site.set("delivery.connect_timeout", "300ms");
    site.set("delivery.lease", "1700ms");
    site.set("delivery.poll_interval", "100ms");
    site
}

#[tokio::test]
async fn who_is_killed_between_the_commit_and_the_delivery_leaves_it_to_the_next() {
    let mut site = site().await;
    let twilio = site.twilio.base_url();
    // Whoever connects here is never spoken to: nothing that is sent is delivered.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    site.set_variable("TWILIO_BASE_URL", &format!("http://{}", nobody.local_addr().unwrap()));
    let process = site.serve().await;
    process.caller.register("login-1", 1).await.unwrap();
    let answer = process.caller.complete("event-1", "login-1").await.unwrap();
    assert_eq!((answer.status, &answer.body["state"]), (202, &"pending".into()), "{answer:?}");
    process.kill().await;
    assert_eq!(site.count("event").await, 1);
    assert_eq!(site.count("feedback where lease_token is not null").await, 1, "the commit leased it to the dead");
    assert_eq!(site.twilio.ledger().len(), 0);

    site.set_variable("TWILIO_BASE_URL", &twilio);
    let _next = site.serve().await;
    site.everything_is_settled().await;
    assert_eq!(site.twilio.ledger().len(), 1, "Twilio hears of it once");
    assert_eq!(site.count("attempt_on_record where verdict = 'interrupted'").await, 1);
    assert_eq!(site.count("attempt_on_record where verdict = 'confirmed' and number = 2").await, 1);
    site.is_lawful().await;
}
