//! Keeps personal data out: no phone number and no e-mail address is taken as an id or a label.

/// What kind of personal data a text contains, as the end of the sentence "this value …".
pub(super) fn personal_data(text: &str) -> Option<&'static str> {
    if contains_phone_number(text) {
        Some("must not contain a phone number; use an id of your own")
    } else if contains_email_address(text) {
        Some("must not contain an e-mail address; use an id of your own")
    } else {
        None
    }
}

/// An E.164 number: `+`, then 7 to 15 digits, separators ignored. Plain digits are many callers' own ids and pass.
///
/// Source: <https://www.itu.int/rec/T-REC-E.164/>
fn contains_phone_number(text: &str) -> bool {
    const SEPARATORS: &[u8] = b" -._()/";
    let bytes = text.as_bytes();
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'+').any(|(plus, _)| {
        let digits = bytes[plus + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit() || SEPARATORS.contains(byte))
            .filter(|byte| byte.is_ascii_digit())
            .count();
        // More than 15 digits hide a number as well as 15 do: whoever reads it takes the first 15.
        7 <= digits
    })
}

/// Something before an `@`, and after it a domain with a dot in it.
///
/// Source: the `addr-spec` of <https://www.rfc-editor.org/rfc/rfc5322#section-3.4.1>, narrowed to what mail is sent to.
fn contains_email_address(text: &str) -> bool {
    let local = |c: char| c.is_alphanumeric() || "!#$%&'*+/=?^_`{|}~.-\"".contains(c);
    let domain = |c: char| c.is_alphanumeric() || c == '.' || c == '-';
    text.match_indices('@').any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(local);
        let after: &str = &text[at + 1..];
        let end = after.find(|c| !domain(c)).unwrap_or(after.len());
        let host = after[..end].trim_matches('.');
        before && host.contains('.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_numbers_are_seen_however_they_are_written() {
        for number in [
            "+15557122661",
            "+1 555 712 2661",
            "+1-555-712-2661",
            "+1(555)712.2661",
            "login+49 170 1234567",
            "x:+4917012345",
            "+1234567",
            "+1234567890123456789",
        ] {
            assert!(personal_data(number).is_some(), "{number}");
        }
    }

    #[test]
    fn email_addresses_are_seen() {
        for address in ["ada@example.org", "login:ada.l+otp@mail.example.co.uk", "<ada@example.org>", "a@b.c"] {
            assert!(personal_data(address).is_some(), "{address}");
        }
    }

    #[test]
    fn callers_own_ids_pass() {
        for id in [
            "login-7f3a",
            "15557122661",
            "0171-1234567",
            "+123456",
            "3f1c9e0a-70f4-4f7c-9a53-0e8e8b3e9f21",
            "a+b",
            "user@login",
            "@",
            "@example.org",
            "1+1=2",
        ] {
            assert_eq!(personal_data(id), None, "{id}");
        }
    }
}
