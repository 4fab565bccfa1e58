//! What an event confirms, of the messages of an action that came in any order and with any times: the database's
//! choice against the model's.

use chrono::TimeDelta;
use confirmd::domain::{Event, EventId, EventKey, Labels, MessageSid, Registration, Resolve, Target};
use confirmd::store::{Accepted, Clock, Doors};
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::model::Model;
use super::parts::Told;
use crate::harness::database::database;
use crate::harness::world::{Setting, account, action, namespace, noon, store};

/// Actions at once: they do not know of each other, and share their commits.
const AT_ONCE: usize = 100;
const ROUNDS: u32 = 20;
/// Moments at which messages are registered, a second apart.
const MOMENTS: i64 = 4;

#[derive(Clone, Debug)]
struct Choice {
    /// When each was registered, and when it was said to be sent.
    messages: Vec<(i64, Option<i64>)>,
    all: bool,
    occurred: i64,
}

fn choice() -> impl Strategy<Value = Choice> {
    let sent = prop_oneof![1 => Just(None), 3 => (-3..MOMENTS + 3).prop_map(Some)];
    let messages = prop::collection::vec((0..MOMENTS, sent), 0..6);
    (messages, any::<bool>(), -4..MOMENTS + 4).prop_map(|(messages, all, occurred)| Choice { messages, all, occurred })
}

#[test]
fn an_event_confirms_what_the_model_chooses() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let database = runtime.block_on(database());
    let config = Config { cases: ROUNDS, failure_persistence: None, ..Config::default() };
    let round = std::cell::Cell::new(0);
    let choices = prop::collection::vec(choice(), 1..=AT_ONCE);
    let told = TestRunner::new(config).run(&choices, |choices| {
        round.set(round.get() + 1);
        runtime.block_on(is_chosen(&database.url, round.get(), &choices))
    });
    told.unwrap_or_else(|error| panic!("{error}"));
}

async fn is_chosen(url: &str, round: usize, choices: &[Choice]) -> Result<(), TestCaseError> {
    let clock = Clock::standing_at(noon());
    let store = store(url, &clock, &Setting::default());
    let _writers = store.start_writers(&Doors::default());
    let sid = |of: usize, number: usize| MessageSid::try_from(format!("SM{round:08x}{of:016x}{number:08x}")).unwrap();
    let name = |of: usize| action(&format!("action-{round}-{of}"));
    let at = |secs: i64| noon() + TimeDelta::seconds(secs);
    let mut models = vec![Model::default(); choices.len()];
    for moment in 0..MOMENTS {
        let mut registrations = Vec::new();
        for (of, choice) in choices.iter().enumerate() {
            for (number, (_, sent)) in choice.messages.iter().enumerate().filter(|(_, (when, _))| *when == moment) {
                models[of].now = moment;
                models[of].tell(&Told::Message { number: u32::try_from(number).unwrap(), action: 0, sent: *sent });
                registrations.push(store.inbox.register(Registration {
                    namespace: namespace(),
                    action_id: name(of),
                    message_sid: sid(of, number),
                    account_sid: account(1),
                    sent_at: sent.map(at),
                    labels: Labels::default(),
                }));
            }
        }
        for registered in join_all(registrations).await {
            registered.unwrap();
        }
        clock.travel(std::time::Duration::from_secs(1));
    }
    let events = choices.iter().enumerate().map(|(of, choice)| Event {
        key: EventKey { namespace: namespace(), event_id: EventId::try_from(format!("e-{round}-{of}")).unwrap() },
        target: Target::Action {
            action_id: name(of),
            resolve: if choice.all { Resolve::All } else { Resolve::Latest },
        },
        occurred_at: Some(at(choice.occurred)),
    });
    for (of, accepted) in store.inbox.accept_all(events.collect()).await.into_iter().enumerate() {
        let Ok(Accepted::Taken(answer)) = accepted else { panic!("{accepted:?}") };
        let chosen = models[of].choose(0, choices[of].all, choices[of].occurred);
        let should_be: Vec<MessageSid> = chosen.iter().map(|number| sid(of, *number as usize)).collect();
        let mut is = answer.message_sids;
        is.sort();
        prop_assert_eq!(is, should_be, "{:?}", choices[of]);
    }
    store.close().await;
    Ok(())
}
