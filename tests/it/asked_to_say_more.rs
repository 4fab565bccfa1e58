//! The log says more of one caller, action, event or message, while it runs, and of no other.

use serde_json::json;

use crate::changed_while_it_runs::{new_token, reload};
use crate::harness::caller::{Caller, action_of, completed, event_of};
use crate::harness::process::{Confirmd, Site};
use crate::harness::world::sid;

/// From now on the log has this filter. Gives how many lines it had by then.
async fn ask(site: &Site, process: &Confirmd, filter: &str) -> usize {
    reload(site, process, "Reloaded the configuration", |config| {
        let (before, rest) = config.split_once("filter = \"").unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        format!("{before}filter = \"{filter}\"{after}")
    })
    .await;
    process.log().lines().count()
}

/// The lines at debug that the log has with this filter while something happens.
async fn told(site: &Site, process: &Confirmd, filter: &str, happens: impl Future) -> Vec<String> {
    let since = ask(site, process, filter).await;
    happens.await;
    ask(site, process, "info").await;
    process.log().lines().skip(since).filter(|line| line.contains("\"level\":\"DEBUG\"")).map(str::to_owned).collect()
}

/// A second caller beside `login`.
fn signup(site: &Site, login: &Caller) -> Caller {
    let (token, digest) = new_token();
    let scopes = "scopes = [\"ingest\", \"read\"]";
    site.rewrite_config(|config| {
        format!("{config}\n[[callers]]\nname = \"signup\"\n{scopes}\ntokens_sha256 = [\"{digest}\"]\n")
    });
    Caller { token, ..login.clone() }
}

#[tokio::test]
async fn one_message_is_followed_from_its_mapping_to_its_confirmation_and_no_other_is() {
    let site = Site::new().await;
    let process = site.serve().await;
    let logins = async |numbers: [u32; 3]| {
        for number in numbers {
            process.caller.insist(number).await;
        }
        site.everything_is_settled().await;
    };
    assert_eq!(told(&site, &process, "info", logins([1, 2, 3])).await, [""; 0], "nobody asks");

    let filter = format!("info,[{{message_sid={}}}]=debug", sid(5));
    let told_of_it = told(&site, &process, &filter, async {
        logins([4, 5, 6]).await;
        process.logs("Confirmed at Twilio").await;
    })
    .await;
    assert!(told_of_it.iter().all(|line| line.contains(sid(5).as_str())), "{told_of_it:#?}");
    for what in ["Answered a mapping", "Answered an event", "Confirmed at Twilio"] {
        assert_eq!(told_of_it.iter().filter(|line| line.contains(what)).count(), 1, "{what}: {told_of_it:#?}");
    }
    assert_eq!(told(&site, &process, "info", logins([4, 5, 6])).await, [""; 0], "nobody asks any more");
}

#[tokio::test]
async fn one_caller_one_action_or_a_sample_of_a_callers_events_can_be_followed() {
    let site = Site::new().await;
    let process = site.serve().await;
    let login = &process.caller;
    let signup = signup(&site, login);

    let both = async {
        login.insist(1).await;
        signup.insist(2).await;
    };
    let of_signup = told(&site, &process, "info,[{caller=signup}]=debug", both).await;
    assert!(of_signup.iter().all(|line| line.contains("\"caller\":\"signup\"")), "{of_signup:#?}");
    // Each of its two requests, and what it spoke of.
    for (what, times) in [("Answered 20", 2), ("Answered a mapping", 1), ("Answered an event", 1)] {
        assert_eq!(of_signup.iter().filter(|line| line.contains(what)).count(), times, "{what}: {of_signup:#?}");
    }

    let events = [3, 4, 5].map(|number| completed(&event_of(number), &action_of(number)));
    let batch = json!({ "events": events });
    let post = login.post("/v1/events/batch", &batch);
    let of_an_action = told(&site, &process, "info,[{action_id=login-4}]=debug", post).await;
    assert_eq!(of_an_action.len(), 1, "{of_an_action:#?}");
    assert!(of_an_action[0].contains("Answered an event") && of_an_action[0].contains("login-4"), "{of_an_action:#?}");

    // One of ten, by the last digit of the ids.
    let many = async {
        for number in 10..40 {
            login.complete(&event_of(number), &action_of(number)).await.unwrap();
        }
        signup.complete(&event_of(47), &action_of(47)).await.unwrap();
    };
    let sample = told(&site, &process, "info,[{key=login/.*7}]=debug", many).await;
    assert_eq!(sample.len(), 3, "{sample:#?}");

    // A name of digits alone stands in parentheses: bare, it would be a number, and names are text.
    let some = async {
        for action in ["123", "1234", "12345"] {
            login.complete(&format!("of-{action}"), action).await.unwrap();
        }
    };
    let of_digits = told(&site, &process, "info,[{action_id=(1234)}]=debug", some).await;
    assert_eq!(of_digits.len(), 1, "{of_digits:#?}");
    assert!(of_digits[0].contains("\"action_id\":\"1234\""), "{of_digits:#?}");
}
