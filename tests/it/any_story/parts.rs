//! What a story is made of: few names, so that they meet often; and what can happen to them.

use std::time::Duration;

use confirmd::domain::{DeadReason, Retry, Verdict};
use proptest::prelude::*;

use crate::harness::world::{DAY, MINUTE};

/// Something that a caller tells. Times are seconds since the story began.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    Message { number: u32, action: u8, sent: Option<i64> },
    Event { id: u8, action: u8, all: bool, occurred: Option<i64> },
    Exact { id: u8, number: u32, action: Option<u8>, occurred: Option<i64> },
}

pub(super) const MESSAGES: u32 = 4;
pub(super) const EVENTS: u8 = 5;
const ACTIONS: u8 = 2;

/// One thing that happens. `which` picks among what there is then, round and round.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// To one replica or the other, all of it at once.
    Tell(Vec<Told>),
    /// All of it at once, and the process dies before it has answered; then it is told again, one by one.
    TellTwice(Vec<Told>),
    Travel(Duration),
    /// So much can be handed over at once.
    Room(u32),
    Claim {
        limit: u32,
    },
    Probe,
    /// Two replicas claim at once.
    ClaimAtOnce {
        limit: u32,
    },
    /// Leases end with verdicts, those that were lost long ago among them.
    Settle(Vec<(u8, Verdict)>),
    /// The same settlements again: the answer was lost.
    SettleAgain,
    GiveBack {
        which: u8,
    },
    Interrupt {
        which: u8,
    },
    Pause,
    Resume,
    Replay,
    Upkeep,
}

fn moment() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![1 => Just(None), 2 => prop::sample::select(vec![-60, -1, 0, 1, 60]).prop_map(Some)]
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        4 => (0..MESSAGES, 0..ACTIONS, moment()).prop_map(|(number, action, sent)| Told::Message { number, action, sent }),
        4 => (0..EVENTS, 0..ACTIONS, any::<bool>(), moment())
            .prop_map(|(id, action, all, occurred)| Told::Event { id, action, all, occurred }),
        2 => (0..EVENTS, 0..MESSAGES, prop::option::of(0..ACTIONS), moment())
            .prop_map(|(id, number, action, occurred)| Told::Exact { id, number, action, occurred }),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let after = || prop::sample::select(vec![1, 30, 900]).prop_map(Duration::from_secs);
    prop_oneof![
        3 => Just(Verdict::Confirmed),
        2 => after().prop_map(|after| Verdict::Retry(Retry::Burnt { after })),
        1 => after().prop_map(|after| Verdict::Retry(Retry::Ambiguous { after })),
        1 => after().prop_map(|after| Verdict::Retry(Retry::Young { after })),
        1 => after().prop_map(|after| Verdict::Retry(Retry::Unburnt { after })),
        2 => prop::sample::select(vec![DeadReason::GaveUp, DeadReason::Rejected]).prop_map(Verdict::Dead),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let several = || prop::collection::vec(told(), 2..4);
    let travel = vec![Duration::from_secs(1), Duration::from_secs(30), MINUTE, 17 * MINUTE, 2 * DAY, 8 * DAY];
    let limit = || prop_oneof![3 => Just(10), 1 => 1..3_u32];
    prop_oneof![
        8 => told().prop_map(|told| Step::Tell(vec![told])),
        3 => several().prop_map(Step::Tell),
        1 => several().prop_map(Step::TellTwice),
        4 => prop::sample::select(travel).prop_map(Step::Travel),
        1 => (0..4_u32).prop_map(Step::Room),
        4 => limit().prop_map(|limit| Step::Claim { limit }),
        1 => Just(Step::Probe),
        1 => limit().prop_map(|limit| Step::ClaimAtOnce { limit }),
        5 => prop::collection::vec((any::<u8>(), verdict()), 1..4).prop_map(Step::Settle),
        1 => Just(Step::SettleAgain),
        1 => any::<u8>().prop_map(|which| Step::GiveBack { which }),
        1 => any::<u8>().prop_map(|which| Step::Interrupt { which }),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
        1 => Just(Step::Replay),
        1 => Just(Step::Upkeep),
    ]
}

pub(super) fn story() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..24)
}
