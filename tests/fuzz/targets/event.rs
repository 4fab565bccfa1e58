//! `POST /v1/events`: a line for the `Idempotency-Key`, and a body.
#![no_main]

use confirmd_fuzz::{COUNTER, header_and_rest, headers, is_a_problem, is_an_event};
use http::HeaderName;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (key, body) = header_and_rest(data);
    let Ok(body) = std::str::from_utf8(body) else { return };
    match COUNTER.event(body, &headers(HeaderName::from_static("idempotency-key"), key)) {
        Ok(event) => is_an_event(&event),
        Err(told) => is_a_problem(&told),
    }
});
