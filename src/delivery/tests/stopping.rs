//! Of [`Breaker`]: when a lane stops, and that it never stops for good.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::{cases, dice};
use crate::delivery::Breaker;

#[derive(Clone, Copy, Debug)]
enum Heard {
    Answer,
    Failure(f64),
    Asked,
    NothingToSend,
    Silence(u64),
}

fn heard() -> impl Strategy<Value = Heard> {
    prop_oneof![
        1 => Just(Heard::Answer),
        6 => dice().prop_map(Heard::Failure),
        4 => Just(Heard::Asked),
        1 => Just(Heard::NothingToSend),
        3 => (0..90_000_u64).prop_map(Heard::Silence),
    ]
}

/// A lost probe is sent anew after this, and no rest is longer.
const MINUTE: Duration = Duration::from_secs(60);

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn it_opens_at_its_threshold_probes_one_by_one_and_closes_at_an_answer(
        threshold in 1..20_u32, story in prop::collection::vec(heard(), 0..120)
    ) {
        let mut breaker = Breaker::new(threshold);
        let mut now = Instant::now();
        let mut in_a_row = 0;
        // When the probe was sent that has not been heard of.
        let mut probing: Option<Instant> = None;
        for heard in story {
            let closed = breaker.is_closed();
            match heard {
                Heard::Answer => {
                    breaker.answered();
                    (in_a_row, probing) = (0, None);
                }
                Heard::Failure(dice) => {
                    let rests = !closed && probing.is_none();
                    breaker.failed(now, dice);
                    in_a_row += 1;
                    probing = None;
                    let mut at_once = breaker;
                    prop_assert!(rests || !at_once.take_probe(now), "a failure is followed by a rest");
                }
                Heard::Asked => {
                    if breaker.take_probe(now) {
                        prop_assert!(!closed, "a lane that works needs no probe");
                        prop_assert!(probing.is_none_or(|sent| sent + MINUTE <= now), "one probe at a time");
                        prop_assert!(!breaker.take_probe(now));
                        probing = Some(now);
                    }
                }
                Heard::NothingToSend => {
                    breaker.rest(now);
                    prop_assert_eq!(closed, breaker.is_closed());
                    probing = None;
                }
                Heard::Silence(millis) => now += Duration::from_millis(millis),
            }
            prop_assert_eq!(breaker.is_closed(), in_a_row < threshold);
            // Whatever happened: within a minute somebody may try.
            let mut later = breaker;
            prop_assert!(breaker.is_closed() || later.take_probe(now + MINUTE));
        }
    }
}
