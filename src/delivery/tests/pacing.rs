//! Of [`Backoff`] and [`Limit`]: how long, and how many at once.

use std::time::Duration;

use proptest::prelude::*;

use super::{backoff, cases, dice};
use crate::delivery::{Backoff, Limit, Load};

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn a_wait_is_the_doubled_one_within_a_fifth_and_never_past_the_longest(
        backoff in backoff(), failures in prop_oneof![0..12_u32, any::<u32>()], dice in dice()
    ) {
        let after = backoff.after(failures, dice);
        let doubled = (0..failures.min(40)).fold(backoff.first, |wait, _| wait.saturating_mul(2).min(backoff.longest));
        prop_assert!(doubled.mul_f64(0.799_999) <= after && after <= doubled.mul_f64(1.200_001), "{:?}", after);
        prop_assert!(after <= backoff.longest);
    }

    #[test]
    fn more_failures_and_higher_dice_never_shorten_a_wait(
        backoff in backoff(), failures in 0..40_u32, low in dice(), high in dice()
    ) {
        prop_assert!(backoff.after(failures, low) <= backoff.after(failures + 1, low));
        prop_assert!(backoff.spread(failures, low) <= backoff.spread(failures + 1, low));
        if low <= high {
            prop_assert!(backoff.after(failures, low) <= backoff.after(failures, high));
            prop_assert!(backoff.spread(failures, low) <= backoff.spread(failures, high));
        }
    }

    #[test]
    fn a_throttled_crowd_waits_at_least_the_first_and_at_most_the_longest(
        backoff in backoff(), failures in any::<u32>(), dice in dice()
    ) {
        let after = backoff.spread(failures, dice);
        prop_assert!(backoff.first <= after && after <= backoff.longest);
    }
}

/// What a lane hears, in the order it hears it: `behind`, how many rounds ago the request was sent.
#[derive(Clone, Copy, Debug)]
struct Heard {
    behind: u64,
    load: Load,
}

fn heard() -> impl Strategy<Value = Heard> {
    let load = prop_oneof![
        6 => prop::option::of(0..200_u32).prop_map(|concurrent| Load::Answered { concurrent }),
        1 => Just(Load::PushedBack),
    ];
    (prop_oneof![4 => Just(0), 1 => 0..4_u64], load).prop_map(|(behind, load)| Heard { behind, load })
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn the_limit_stays_between_one_and_the_most_and_moves_as_it_says(
        most in 1..200_u32, yield_above in 1..200_u32, story in prop::collection::vec(heard(), 0..300)
    ) {
        let mut limit = Limit::new(most, yield_above);
        prop_assert!((1..=most).contains(&limit.now()));
        for Heard { behind, load } in story {
            let (before, round) = (limit.now(), limit.round());
            let sent = round.saturating_sub(behind);
            let moved = limit.learn(sent, load);
            prop_assert_eq!(i64::from(limit.now()), i64::from(before) + moved);
            prop_assert!((1..=most).contains(&limit.now()));
            // A step up is one; a step down is a half at most, and begins a round.
            prop_assert!(moved <= 1 && before / 2 <= limit.now());
            prop_assert_eq!(limit.round(), round + u64::from(shrinks(load, yield_above) && sent == round));
            if shrinks(load, yield_above) {
                prop_assert!(moved <= 0, "what is pushed back never grows");
            }
            if sent < round {
                prop_assert!(0 <= moved, "one round shrinks the limit once");
            }
        }
    }

    #[test]
    fn until_it_is_pushed_back_the_limit_doubles_with_each_round_of_good_answers(most in 1..64_u32, answers in 0..100_u32) {
        let mut limit = Limit::new(most, 64);
        let expected = (limit.now() + answers).min(most);
        for _ in 0..answers {
            limit.learn(0, Load::Answered { concurrent: Some(1) });
        }
        prop_assert_eq!(limit.now(), expected);
    }

    #[test]
    fn once_pushed_back_the_limit_grows_by_one_for_each_round_of_good_answers(most in 1..64_u32, answers in 0..3_000_u32) {
        let mut limit = Limit::new(most, 64);
        limit.learn(0, Load::PushedBack);
        // Round by round, by hand: a limit of n takes n good answers to become n + 1.
        let (mut expected, mut left) = (limit.now(), answers);
        while expected < most && expected <= left {
            left -= expected;
            expected += 1;
        }
        for _ in 0..answers {
            limit.learn(1, Load::Answered { concurrent: Some(1) });
        }
        prop_assert_eq!(limit.now(), expected);
    }
}

fn shrinks(load: Load, yield_above: u32) -> bool {
    match load {
        Load::PushedBack => true,
        Load::Answered { concurrent } => concurrent.is_some_and(|busy| yield_above < busy),
    }
}

#[test]
fn the_longest_configurable_wait_does_not_overflow() {
    let day = Duration::from_secs(86_400);
    let backoff = Backoff { first: day, longest: day };
    assert_eq!(backoff.after(u32::MAX, 0.999_999), day);
    assert!(backoff.spread(u32::MAX, 0.999_999) <= day);
}
