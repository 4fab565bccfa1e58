//! `POST /v1/events/batch`: a body; and the same bytes as its only event, which is then taken as if it came alone.
#![no_main]

use confirmd_fuzz::{COUNTER, is_a_problem, is_an_event};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|data: &[u8]| {
    let Ok(body) = std::str::from_utf8(data) else { return };
    match COUNTER.events(body) {
        Ok(events) => {
            assert!((1..=1000).contains(&events.len()));
            for event in events {
                event.map_or_else(|told| is_a_problem(&told), |event| is_an_event(&event));
            }
        }
        Err(told) => is_a_problem(&told),
    }
    if serde_json::from_str::<&RawValue>(body).is_ok() && body.len() <= 16 << 10 {
        let of_one = COUNTER.events(&format!("{{\"events\":[{body}]}}")).expect("one event is a batch");
        let alone = COUNTER.event(body, &HeaderMap::new());
        // JSON by its grammar that nobody can read all the same: a number beyond all bounds, half of a surrogate pair. Alone
        // it is no JSON; in a batch, which is, it is an item that is wrong.
        if alone.as_ref().is_err_and(|told| told.contains("\"status\":400")) {
            assert!(matches!(&of_one[..], [Err(told)] if told.contains("\"status\":422")));
        } else {
            assert_eq!(of_one, [alone]);
        }
    }
});
