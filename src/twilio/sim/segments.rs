//! How many SMS a body is sent as.
//!
//! Source: <https://www.twilio.com/docs/glossary/what-is-gsm-7-character-encoding>

const GSM: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ\
                   ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// Sent as two characters each.
const GSM_EXTENSION: &str = "^{}\\[~]|€\u{c}";

pub(super) fn count(body: &str) -> usize {
    let septets = body.chars().try_fold(0, |sum, c| match c {
        _ if GSM.contains(c) => Some(sum + 1),
        _ if GSM_EXTENSION.contains(c) => Some(sum + 2),
        _ => None,
    });
    let (units, alone, in_parts) = match septets {
        Some(septets) => (septets, 160, 153),
        None => (body.encode_utf16().count(), 70, 67),
    };
    if units <= alone { 1 } else { usize::div_ceil(units, in_parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_bodies_and_rare_characters_take_more_segments() {
        assert_eq!(count("123456 is your code"), 1);
        assert_eq!(count(&"a".repeat(160)), 1);
        assert_eq!(count(&"a".repeat(161)), 2);
        assert_eq!(count(&"€".repeat(81)), 2);
        assert_eq!(count(&"я".repeat(70)), 1);
        assert_eq!(count(&"я".repeat(71)), 2);
    }
}
