//! The control routes steer a simulator that runs in another process.

use reqwest::Method;

use super::staging::{Staging, message};

#[tokio::test]
async fn the_ledger_is_read_in_part_and_cleared() {
    let staging = Staging::new().await;
    staging.confirm(&message(1)).await;
    staging.confirm(&message(2)).await;
    let entries = |path: String| {
        let staging = &staging;
        async move { staging.ask(Method::GET, &path, &[]).await.json()["entries"].as_array().unwrap().clone() }
    };
    let all = entries("/_sim/ledger".to_owned()).await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["answer"]["status"], 200);
    let of_one = entries(format!("/_sim/ledger?message_sid={}", message(1))).await;
    assert_eq!(of_one, [all[0].clone()]);
    let since = entries("/_sim/ledger?since=1".to_owned()).await;
    assert_eq!(since, [all[1].clone()]);
    assert_eq!(staging.ask(Method::DELETE, "/_sim/ledger", &[]).await.status, 204);
    assert!(entries("/_sim/ledger".to_owned()).await.is_empty());
}

#[tokio::test]
async fn faults_are_played_watched_and_ended() {
    let staging = Staging::new().await;
    let play = |rule: &'static str| staging.request(Method::POST, "/_sim/faults", &[]).body(rule).send();
    assert_eq!(play("429;first=1").await.unwrap().status(), 201);
    assert_eq!(play("503").await.unwrap().status(), 201);
    assert_eq!(staging.confirm(&message(1)).await.status, 429);
    assert_eq!(staging.confirm(&message(1)).await.status, 503);
    let played = staging.ask(Method::GET, "/_sim/faults", &[]).await.json();
    assert_eq!(played["faults"][0], serde_json::json!({"rule": "429;first=1", "seen": 2, "hit": 1}));
    assert_eq!(played["faults"][1], serde_json::json!({"rule": "503", "seen": 1, "hit": 1}));
    assert_eq!(staging.ask(Method::DELETE, "/_sim/faults", &[]).await.status, 204);
    assert_eq!(staging.confirm(&message(1)).await.status, 200);

    let refused = Staging::read(play("429;frist=1").await.unwrap()).await.unwrap();
    assert_eq!((refused.status, refused.text.as_str()), (400, "`frist` is not a key of `429`\n"));
}

#[tokio::test]
async fn a_token_is_rotated_and_a_message_looked_at() {
    let staging = Staging::new().await;
    staging.confirm(&message(1)).await;
    let known = staging.ask(Method::GET, &format!("/_sim/messages/{}", message(1)), &[]).await.json();
    assert_eq!((known["outcome"].as_str(), known["confirmed"].as_u64()), (Some("confirmed"), Some(1)));
    assert_eq!(staging.ask(Method::GET, &format!("/_sim/messages/{}", message(2)), &[]).await.status, 404);

    let rotate = format!("/_sim/accounts/{}/rotate", staging.account);
    assert_eq!(staging.ask(Method::POST, &rotate, &[("auth_token", "another")]).await.status, 204);
    assert_eq!(staging.confirm(&message(1)).await.status, 401);
    assert_eq!(staging.ask(Method::POST, &rotate, &[]).await.status, 400);
}

#[tokio::test]
async fn the_control_routes_explain_themselves_and_stay_out_of_the_ledger() {
    let staging = Staging::new().await;
    let help = staging.ask(Method::GET, "/_sim", &[]).await;
    assert!(help.text.contains("POST   /_sim/faults"));
    assert_eq!(staging.ask(Method::GET, "/_sim/nothing", &[]).await.status, 404);
    assert!(staging.sim.ledger().is_empty());
}
