//! What comes back from Twilio, or from whatever stands in between: a byte for the status, and a body.
#![no_main]

use std::collections::BTreeMap;

use confirmd::delivery::classify;
use confirmd::domain::Class;
use confirmd::twilio::{Agreement, Answer};
use confirmd_fuzz::words;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, value::RawValue};

type Members = BTreeMap<String, Box<RawValue>>;

fuzz_target!(|data: &[u8]| {
    let Some((status, body)) = data.split_first() else { return };
    let status = 200 + u16::from(*status) * 2 % 400;
    let (_, asked) = words();
    let answer = Answer::read(&asked, status, &HeaderMap::new(), body);
    let class = classify(&answer);
    let Answer::Http { agreement, code, .. } = answer else { panic!("there is an answer") };
    // Members that nobody asks for may hold what is no value of ours: a number too large, half a character.
    let said = std::str::from_utf8(body).ok().and_then(|text| serde_json::from_str::<Members>(text).ok());

    // Only a body that is about our message, and says nothing else of it, is a confirmation.
    let value = |member: &str| {
        let told = said.as_ref().and_then(|said| said.get(member));
        told.map_or(Ok(Value::Null), |told| serde_json::from_str(told.get()))
    };
    let is = |member: &str, right: &str| match value(member) {
        Ok(Value::Null) => true,
        Ok(Value::String(text)) => text == right,
        _ => false,
    };
    let may = said.is_some() && is("message_sid", asked.as_str()) && is("outcome", "confirmed");
    let agrees = matches!(agreement, Agreement::Agrees { .. });
    assert!(may || !agrees, "{said:?}");
    assert_eq!(class == Class::Confirmed, agrees && status < 300);
    assert!(code.is_none_or(|code| value("code").is_ok_and(|said| said == code)));
});
