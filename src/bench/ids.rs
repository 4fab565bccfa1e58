//! Names for the bench's work: the n-th event, action and message, spread over their indexes as real ids are.

use std::fmt;

/// The account that everything belongs to.
pub(super) const ACCOUNT_SID: &str = "AC00000000000000000000000000000de5";
/// The namespace that everything belongs to.
pub(super) const NAMESPACE: &str = "default";

/// A well-known mixer (<https://prng.di.unimi.it/splitmix64.c>): neighbours land far from each other, as random ids do,
/// and the same number gives the same id in every process.
pub(super) const fn mixed(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The n-th message: random to an index, and still telling its number to the sink.
pub(super) fn message_sid(n: u32) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "SM{:016x}{:08x}{n:08x}", mixed(n.into()), mixed(n.into()) as u32))
}

/// The number of a message, from its SID as it stands in a path.
pub(super) fn number_of(message_sid: &str) -> Option<u32> {
    u32::from_str_radix(message_sid.get(26..34)?, 16).ok()
}

pub(super) fn action_id(n: u32) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "login-{:016x}", mixed(u64::from(n) | 1 << 32)))
}

/// Shaped like a UUID, which is what most callers use.
pub(super) fn event_id(n: u32) -> impl fmt::Display {
    let (a, b) = (mixed(u64::from(n) | 2 << 32), mixed(u64::from(n) | 3 << 32));
    fmt::from_fn(move |f| {
        write!(
            f,
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            b >> 48,
            b & 0xffff_ffff_ffff
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_its_number_and_has_the_shape_of_one() {
        for n in [0, 1, 77, u32::MAX] {
            let sid = message_sid(n).to_string();
            assert_eq!(number_of(&sid), Some(n));
            assert!(crate::domain::MessageSid::try_from(sid).is_ok());
            assert!(crate::domain::EventId::try_from(event_id(n).to_string()).is_ok());
        }
    }
}
