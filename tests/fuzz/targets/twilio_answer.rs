//! What comes back from Twilio, or from whatever stands in between: a byte for the status, and a body.
#![no_main]

use confirmd::delivery::classify;
use confirmd::domain::Class;
use confirmd::twilio::{Agreement, Answer};
use confirmd_fuzz::words;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((status, body)) = data.split_first() else { return };
    let status = 200 + u16::from(*status) * 2 % 400;
    let (_, asked) = words();
    let answer = Answer::read(&asked, status, &HeaderMap::new(), body);
    let class = classify(&answer);
    let Answer::Http { agreement, code, .. } = answer else { panic!("there is an answer") };
    let said: Option<Value> = serde_json::from_slice(body).ok();

    // Only a body that is about our message, and says nothing else of it, is a confirmation.
    let is = |member: &str, right: &str| said.as_ref().is_some_and(|said| match &said[member] {
        Value::Null => true,
        Value::String(text) => text == right,
        _ => false,
    });
    let may = said.as_ref().is_some_and(Value::is_object) && is("message_sid", asked.as_str()) && is("outcome", "confirmed");
    let agrees = matches!(agreement, Agreement::Agrees { .. });
    assert!(may || !agrees, "{said:?}");
    assert_eq!(class == Class::Confirmed, agrees && status < 300);
    assert!(code.is_none_or(|code| said.is_some_and(|said| said["code"] == code)));
});
