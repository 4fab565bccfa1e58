//! Ids, labels and SIDs: any text.
#![no_main]

use confirmd::domain::{AccountSid, MessageSid};
use confirmd::store::Cursor;
use confirmd_fuzz::is_read_as_it_stands;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    is_read_as_it_stands(text);
    for (kinds, taken) in [
        (&["SM", "MM"][..], MessageSid::try_from(text.to_owned()).is_ok()),
        (&["AC"][..], AccountSid::try_from(text.to_owned()).is_ok()),
    ] {
        let hex = text.len() == 34 && text.bytes().skip(2).all(|byte| byte.is_ascii_hexdigit());
        assert_eq!(taken, hex && kinds.iter().any(|kind| text.starts_with(kind)), "{text:?}");
    }
    if let Ok(cursor) = Cursor::try_from(text.to_owned()) {
        let told = String::from(cursor.clone());
        assert_eq!(Cursor::try_from(told), Ok(cursor));
    }
});
