//! The `Idempotency-Key` header, or two of them.
#![no_main]

use confirmd_fuzz::{COUNTER, is_a_problem, is_an_id};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

const BODY: &str = r#"{"action_id":"a"}"#;

fuzz_target!(|data: &[u8]| {
    let told: Vec<HeaderValue> = data.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let mut headers = HeaderMap::new();
    for value in &told {
        headers.append("idempotency-key", value.clone());
    }
    match COUNTER.event(BODY, &headers) {
        Ok(event) => {
            let id = event.key.event_id.as_str();
            is_an_id(id);
            let [only] = told.as_slice() else { panic!("one key is taken, not {}", told.len()) };
            // Quoted as a structured field's string, it is the same key.
            let quoted = format!("\"{}\"", id.replace('\\', "\\\\").replace('"', "\\\""));
            assert!(only.as_bytes() == id.as_bytes() || only.as_bytes().starts_with(b"\""));
            let headers = HeaderMap::from_iter([("idempotency-key".parse().expect("a name"), quoted.parse().expect("a value"))]);
            assert_eq!(COUNTER.event(BODY, &headers), Ok(event));
        }
        Err(told) => is_a_problem(&told),
    }
});
