//! Promises 1 and 3 on the direct path: what is written as leased to its process and handed over in memory.

use std::net::TcpListener;

use crate::harness::caller::action_of;
use crate::harness::process::Site;

/// Feedback that the very commit which took its event has leased, and nobody has settled.
const LEASED_BY_ITS_EVENT: &str = "feedback join event on event.message_sids[1] = feedback.message_sid
    where feedback.lease_token is not null and feedback.xmin::text = event.xmin::text";

#[tokio::test]
async fn who_is_killed_between_the_commit_and_the_delivery_leaves_it_to_the_next() {
    let mut site = Site::new().await;
    // As short as may be, so that what the dead had comes due soon.
    site.set("delivery.request_timeout", "2s");
    site.set("delivery.connect_timeout", "2s");
    site.set("delivery.lease", "6s");
    site.set("delivery.poll_interval", "100ms");
    let twilio = site.twilio.base_url();
    // Whoever connects here is never spoken to: nothing that is sent is delivered.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    site.set_variable("TWILIO_BASE_URL", &format!("http://{}", nobody.local_addr().unwrap()));
    let process = site.serve().await;
    let mut logins = 0;
    // The lane opens its door a moment after the process is ready.
    while site.count(LEASED_BY_ITS_EVENT).await == 0 {
        logins += 1;
        assert!(logins <= 100, "nothing is handed over");
        process.caller.register(&action_of(logins), logins).await.unwrap();
        let answer = process.caller.complete(&format!("event-{logins}"), &action_of(logins)).await.unwrap();
        assert_eq!((answer.status, &answer.body["state"]), (202, &"pending".into()), "{answer:?}");
    }
    process.kill().await;
    assert!(0 < site.count(LEASED_BY_ITS_EVENT).await, "the dead had not settled it");
    assert_eq!(site.twilio.ledger().len(), 0);

    site.set_variable("TWILIO_BASE_URL", &twilio);
    let _next = site.serve().await;
    site.everything_is_settled().await;
    assert_eq!(site.twilio.ledger().len(), logins as usize, "Twilio hears of each once");
    assert!(0 < site.count("attempt_on_record where verdict = 'interrupted'").await);
    assert_eq!(site.count("attempt_on_record where verdict = 'confirmed'").await, i64::from(logins));
    site.is_lawful().await;
}
