//! The `Authorization` header, or several: one caller has one token, and nobody else gets in.
#![no_main]

use confirmd_fuzz::{COUNTER, TOKEN};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let told: Vec<HeaderValue> = data.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let mut headers = HeaderMap::new();
    for value in &told {
        headers.append(AUTHORIZATION, value.clone());
    }
    let right = match told.as_slice() {
        [only] => only.to_str().ok().and_then(|only| only.split_once(' ')).is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && token == TOKEN
        }),
        _ => false,
    };
    assert_eq!(COUNTER.caller(&headers).is_some(), right, "{told:?}");
});
