//! Only the account's own credentials open it.

use reqwest::Method;

use super::staging::{API_KEY, API_SECRET, Staging, TOKEN, account, message};

const FEEDBACK: &[(&str, &str)] = &[("Outcome", "confirmed")];

fn path() -> String {
    format!("Messages/{}/Feedback.json", message(1))
}

#[tokio::test]
async fn missing_and_wrong_credentials_are_answered_as_twilio_does() {
    let staging = Staging::new().await;
    let bare = staging.request(Method::POST, &path(), FEEDBACK);
    let wrong = staging.request(Method::POST, &path(), FEEDBACK).basic_auth(&staging.account, Some("wrong"));
    let bearer = staging.request(Method::POST, &path(), FEEDBACK).bearer_auth(TOKEN);
    for request in [bare, wrong, bearer] {
        let refused = Staging::read(request.send().await.unwrap()).await.unwrap();
        assert_eq!(refused.status, 401);
        assert_eq!(refused.header("www-authenticate"), r#"Basic realm="Twilio API""#);
        assert_eq!(
            refused.text,
            r#"{"code":20003,"message":"Authenticate","more_info":"https://www.twilio.com/docs/errors/20003","status":401}"#
        );
    }
    assert_eq!(staging.sim.confirmed(&message(1)), None, "nothing took effect");
    let ledger = staging.sim.ledger();
    assert!(ledger.iter().all(|entry| !entry.authenticated && !entry.applied));
    let told: Vec<_> = ledger.iter().map(|entry| entry.authorization.clone().unwrap_or_default()).collect();
    assert_eq!(told, ["".to_owned(), format!("Basic {}", account(1)), "Bearer ".to_owned()]);
}

#[tokio::test]
async fn an_api_key_opens_its_account() {
    let staging = Staging::new().await;
    let request = staging.request(Method::POST, &path(), FEEDBACK).basic_auth(API_KEY, Some(API_SECRET));
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn another_account_is_not_there() {
    let staging = Staging::new().await;
    let elsewhere = format!("/2010-04-01/Accounts/{}/{}", account(2), path());
    let refused = staging.ask(Method::POST, &elsewhere, FEEDBACK).await;
    assert_eq!(refused.error(), (404, 20404));
    assert_eq!(refused.json()["message"], format!("The requested resource {elsewhere} was not found"));
}

#[tokio::test]
async fn a_rotated_token_is_refused_until_it_is_rotated_back() {
    let staging = Staging::new().await;
    assert!(staging.sim.rotate_token(&staging.account, "another".into()));
    assert_eq!(staging.confirm(&message(1)).await.status, 401);
    assert!(staging.sim.rotate_token(&staging.account, TOKEN.into()));
    assert_eq!(staging.confirm(&message(1)).await.status, 200);
    assert!(!staging.sim.rotate_token(&account(2), "another".into()), "there is no such account");
}

#[tokio::test]
async fn credentials_can_be_tried_on_the_account_itself() {
    let staging = Staging::new().await;
    let fetched = staging.ask(Method::GET, &format!("/2010-04-01/Accounts/{}.json", staging.account), &[]).await;
    assert_eq!((fetched.status, fetched.json()["status"].as_str()), (200, Some("active")));
}
