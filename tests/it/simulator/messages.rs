//! Messages are created, fetched, listed, redacted and deleted as at Twilio.

use reqwest::Method;

use super::staging::Staging;

const OTP: &[(&str, &str)] =
    &[("To", "+15558675310"), ("From", "+15557122661"), ("Body", "123 456"), ("ProvideFeedback", "true")];

#[tokio::test]
async fn a_created_message_looks_like_twilios() {
    let staging = Staging::new().await;
    let created = staging.ask(Method::POST, "Messages.json", OTP).await;
    assert_eq!(created.status, 201);
    let message = created.json();
    let sid = message["sid"].as_str().unwrap();
    let date = message["date_created"].as_str().unwrap();
    let below = format!("/2010-04-01/Accounts/{}/Messages/{sid}", staging.account);
    let expected = format!(
        r#"{{"body": "123 456", "num_segments": "1", "direction": "outbound-api", "from": "+15557122661", "date_updated": "{date}", "price": null, "error_message": null, "uri": "{below}.json", "account_sid": "{account}", "num_media": "0", "to": "+15558675310", "date_created": "{date}", "status": "queued", "sid": "{sid}", "date_sent": null, "messaging_service_sid": null, "error_code": null, "price_unit": "USD", "api_version": "2010-04-01", "subresource_uris": {{"media": "{below}/Media.json"}}}}"#,
        account = staging.account,
    );
    assert_eq!(created.text, expected);
    assert!(chrono::DateTime::parse_from_rfc2822(date).is_ok(), "{date}");
    assert_eq!(created.header("twilio-request-id")[2..], sid[2..], "the request has the digits of its message");
}

#[tokio::test]
async fn every_answer_has_twilios_headers() {
    let staging = Staging::new().await;
    let created = staging.ask(Method::POST, "Messages.json", OTP).await;
    let refused = staging.ask(Method::GET, "Calls.json", &[]).await;
    for answer in [&created, &refused] {
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("twilio-concurrent-requests"), "1");
        assert_eq!(answer.header("x-api-domain"), "api.twilio.com");
        assert_eq!(answer.header("access-control-expose-headers"), "ETag");
        let id = answer.header("twilio-request-id").strip_prefix("RQ").unwrap();
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        let (seconds, decimals) = answer.header("twilio-request-duration").split_once('.').unwrap();
        assert!(seconds.parse::<u64>().is_ok() && decimals.len() == 3);
    }
    assert_ne!(created.header("twilio-request-id"), refused.header("twilio-request-id"));
    assert_eq!(refused.error(), (404, 20404));
}

#[tokio::test]
async fn a_fetched_message_has_arrived_and_names_its_feedback() {
    let staging = Staging::new().await;
    let sid = staging.ask(Method::POST, "Messages.json", OTP).await.json()["sid"].as_str().unwrap().to_owned();
    let fetched = staging.ask(Method::GET, &format!("Messages/{sid}.json"), &[]).await;
    let message = fetched.json();
    assert_eq!((fetched.status, message["status"].as_str()), (200, Some("delivered")));
    assert_eq!(message["price"], "-0.00750");
    assert_eq!(message["date_sent"], message["date_created"]);
    let feedback = message["subresource_uris"]["feedback"].as_str().unwrap().to_owned();
    assert_eq!(staging.ask(Method::POST, &feedback, &[("Outcome", "confirmed")]).await.status, 200);
}

#[tokio::test]
async fn services_schedules_and_media_show_in_the_answer() {
    let staging = Staging::new().await;
    let service = ("MessagingServiceSid", "MG0123456789abcdef0123456789abcdef");
    let by_service = staging.ask(Method::POST, "Messages.json", &[OTP[0], service, OTP[2]]).await.json();
    assert_eq!((by_service["status"].as_str(), by_service["num_segments"].as_str()), (Some("accepted"), Some("0")));
    assert!(by_service["from"].is_null());

    let media = [OTP[0], OTP[1], ("MediaUrl", "https://example.org/a.png"), ("MediaUrl", "https://example.org/b.png")];
    let with_media = staging.ask(Method::POST, "Messages.json", &media).await.json();
    assert!(with_media["sid"].as_str().unwrap().starts_with("MM"));
    assert_eq!(with_media["num_media"], "2");

    let now = chrono::DateTime::parse_from_rfc2822(by_service["date_created"].as_str().unwrap()).unwrap();
    let send_at = (now + chrono::TimeDelta::hours(1)).to_rfc3339();
    let schedule = [OTP[0], service, OTP[2], ("ScheduleType", "fixed"), ("SendAt", &send_at)];
    let scheduled = staging.ask(Method::POST, "Messages.json", &schedule).await.json();
    assert_eq!(scheduled["status"], "scheduled");
    let path = format!("Messages/{}.json", scheduled["sid"].as_str().unwrap());
    assert_eq!(staging.ask(Method::POST, &path, &[("Status", "canceled")]).await.json()["status"], "canceled");
    assert_eq!(staging.ask(Method::POST, &path, &[("Status", "canceled")]).await.error(), (409, 30409));
}

#[tokio::test]
async fn a_mistake_is_refused_with_twilios_code() {
    let staging = Staging::new().await;
    let no_recipient = staging.ask(Method::POST, "Messages.json", &OTP[1..]).await;
    assert_eq!(no_recipient.error(), (400, 21604));
    let invalid = staging.ask(Method::POST, "Messages.json", &[("To", "+15005550001"), OTP[1], OTP[2]]).await;
    assert_eq!(
        invalid.text,
        r#"{"code": 21211, "message": "The 'To' number +15005550001 is not a valid phone number.", "more_info": "https://www.twilio.com/docs/errors/21211", "status": 400}"#
    );
}

#[tokio::test]
async fn messages_are_listed_newest_first_in_pages() {
    let staging = Staging::new().await;
    let mut sids = Vec::new();
    for _ in 0..3 {
        let created = staging.ask(Method::POST, "Messages.json", OTP).await.json();
        sids.insert(0, created["sid"].as_str().unwrap().to_owned());
    }
    let first = staging.ask(Method::GET, "Messages.json?PageSize=2", &[]).await.json();
    let next = first["next_page_uri"].as_str().unwrap().to_owned();
    let second = staging.ask(Method::GET, &next, &[]).await.json();
    let listed = [first["messages"].as_array().unwrap().as_slice(), second["messages"].as_array().unwrap()].concat();
    let listed: Vec<_> = listed.iter().map(|message| message["sid"].as_str().unwrap()).collect();
    assert_eq!(listed, sids);
    assert!(second["next_page_uri"].is_null());
}

#[tokio::test]
async fn a_message_can_be_redacted_and_deleted_and_then_takes_no_feedback() {
    let staging = Staging::new().await;
    let sid = staging.ask(Method::POST, "Messages.json", OTP).await.json()["sid"].as_str().unwrap().to_owned();
    let path = format!("Messages/{sid}.json");
    assert_eq!(staging.ask(Method::POST, &path, &[("Body", "")]).await.json()["body"], "");
    assert_eq!(staging.ask(Method::POST, &path, &[("Body", "other")]).await.error(), (400, 30400));
    assert_eq!(staging.ask(Method::DELETE, &path, &[]).await.status, 204);
    assert_eq!(staging.ask(Method::GET, &path, &[]).await.error(), (404, 20404));
    assert_eq!(staging.confirm(&sid.try_into().unwrap()).await.error(), (404, 20404));
}
