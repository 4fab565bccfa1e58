//! `POST /v1/messages`: a body.
#![no_main]

use confirmd_fuzz::{COUNTER, is_a_label, is_a_problem, is_an_id};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|data: &[u8]| {
    let Ok(body) = std::str::from_utf8(data) else { return };
    let told = match COUNTER.message(body) {
        Ok(told) => told,
        Err(problem) => return is_a_problem(&problem),
    };
    is_an_id(told.action_id.as_str());
    let labels = [&told.labels.country, &told.labels.sender, &told.labels.template, &told.labels.channel];
    labels.into_iter().flatten().for_each(|label| is_a_label(label.as_str()));
    let [country, sender, template, channel] = labels;
    let again = json!({
        "action_id": told.action_id, "message_sid": told.message_sid, "account_sid": told.account_sid,
        "sent_at": told.sent_at.map(|at| at.to_rfc3339()),
        "labels": {"country": country, "sender": sender, "template": template, "channel": channel},
    });
    assert_eq!(COUNTER.message(&again.to_string()).as_ref(), Ok(&told));
});
