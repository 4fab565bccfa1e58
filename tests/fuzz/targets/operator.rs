//! `GET /v1/dead-letters` and `POST …/replay`: a line for the query, and a body.
#![no_main]

use confirmd_fuzz::{COUNTER, is_a_problem};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (query, body) = text.split_once('\n').unwrap_or((text, text));
    for filter in [COUNTER.dead_letters(query), COUNTER.replay(body)] {
        match filter {
            Ok(filter) => assert_eq!(filter.namespace.map(String::from).as_deref(), Some("default")),
            Err(told) => is_a_problem(&told),
        }
    }
});
