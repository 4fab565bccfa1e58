//! Doing what a story says, by two replicas over one database, and looking at what came of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chrono::{DateTime, Utc};
use confirmd::domain::{
    AccountSid, ActionId, Attempt, Class, Event, EventId, EventKey, Labels, MessageSid, Namespace, Registration,
    Resolve, Target, Verdict,
};
use confirmd::store::{
    Accepted, Claimed, Clock, Door, Doors, Lease, LetterFilter, NotTaken, Registered, Settled, Settlement, Store,
    Wanted,
};
use futures_util::future::join_all;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::model::{Answer, At, Feedback, MAX_LOST, Model};
use super::parts::{EVENTS, MESSAGES, Step, Told};
use crate::harness::database::{TestDatabase, database};
use crate::harness::world::{Setting, noon, store};

/// So that nothing is forgotten that a story still needs: retention has stories of its own.
const LONGEST_STORY: Duration = Duration::from_secs(80 * 86_400);
const LONGEST_BACKOFF: Duration = Duration::from_secs(900);

/// A database for many stories, one after the other.
pub(super) struct Stage {
    replicas: [Store; 2],
    clock: Clock,
    now: DateTime<Utc>,
    scenes: u32,
    _database: TestDatabase,
}

/// One story on it.
pub(super) struct Scene<'a> {
    stage: &'a mut Stage,
    began: DateTime<Utc>,
    namespace: Namespace,
    account: AccountSid,
    first_sid: u32,
    door: Arc<Door>,
    handed: UnboundedReceiver<Lease>,
    writers: Vec<JoinSet<()>>,
    model: Model,
    leases: u32,
    /// Every lease that was not spent, also those that were lost long ago.
    held: Vec<Held>,
    settled: Vec<(u32, u32, Settlement)>,
}

enum Command {
    Register(Registration),
    Accept(Event),
}

struct Held {
    number: u32,
    id: u32,
    lease: Lease,
}

impl Stage {
    pub(super) async fn new() -> Self {
        let database = database().await;
        let clock = Clock::standing_at(noon());
        let setting = Setting { max_lost_leases: MAX_LOST, upkeep_batch: 100_000, ..Setting::default() };
        let replicas = [(); 2].map(|()| store(&database.url, &clock, &setting));
        Self { replicas, clock, now: noon(), scenes: 0, _database: database }
    }

    /// Whatever the stories were, the conservation law holds for all of them together.
    pub(super) async fn law_holds(&self) -> Result<(), String> {
        let audit = self.replicas[0].upkeep.audit().await.map_err(|error| error.to_string())?;
        let sums = audit.accepted == audit.parked + audit.resolved + audit.expired
            && audit.owed == audit.pending + audit.confirmed + audit.dead;
        if audit.drift.total() == 0 && sums { Ok(()) } else { Err(format!("{audit:?}")) }
    }

    pub(super) fn scene(&mut self) -> Scene<'_> {
        self.scenes += 1;
        let number = self.scenes;
        let account: AccountSid = format!("AC{number:032x}").try_into().unwrap();
        let (door, handed) = Door::new(0);
        let mut scene = Scene {
            began: self.now,
            namespace: format!("story-{number}").try_into().unwrap(),
            account,
            first_sid: number * MESSAGES,
            door,
            handed,
            writers: Vec::new(),
            model: Model::default(),
            leases: 0,
            held: Vec::new(),
            settled: Vec::new(),
            stage: self,
        };
        scene.start_writers();
        scene
    }
}

type Outcome = Result<(), String>;

/// What the model says, beside what is.
fn same<T: std::fmt::Debug + PartialEq>(what: &str, should_be: T, is: T) -> Outcome {
    if should_be == is { Ok(()) } else { Err(format!("{what} should be {should_be:?}, and is {is:?}")) }
}

fn told<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

impl Scene<'_> {
    pub(super) async fn act(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Tell(all) => self.tell(all).await,
            Step::TellTwice(all) => self.tell_twice(all).await,
            Step::Travel(by) => {
                let so_far = Duration::from_secs(u64::try_from(self.model.now).unwrap());
                let by = if so_far + *by < LONGEST_STORY { *by } else { Duration::from_secs(1) };
                self.travel(by);
                Ok(())
            }
            Step::Room(room) => {
                // All of it for what is handed over, and none kept for claims.
                self.door.give_back(*room);
                self.door.set_open(true);
                Ok(())
            }
            Step::Claim { limit } => self.claim(Wanted::up_to(*limit), false).await,
            Step::Probe => self.claim(Wanted { limit: 1, for_retries: 0 }, true).await,
            Step::ClaimAtOnce { limit } => self.claim_at_once(Wanted::up_to(*limit)).await,
            Step::Settle(all) => self.settle(all).await,
            Step::SettleAgain => self.settle_again().await,
            Step::GiveBack { which } => {
                let Some(Held { number, id, lease }) = self.take(*which) else { return Ok(()) };
                self.model.give_back(number, id);
                told(self.store().outbox.give_back(vec![lease]).await)
            }
            Step::Interrupt { which } => {
                let Some(Held { number, id, lease }) = self.take(*which) else { return Ok(()) };
                self.model.interrupt(number, id);
                told(self.store().outbox.interrupt(vec![lease.ticket()]).await)
            }
            Step::Pause => {
                self.model.paused = true;
                told(self.store().operator.pause(&self.account, "for the story").await).map(drop)
            }
            Step::Resume => {
                self.model.paused = false;
                told(self.store().operator.resume(&self.account).await).map(drop)
            }
            Step::Replay => self.replay().await,
            Step::Upkeep => {
                let upkeep = &self.stage.replicas[0].upkeep;
                while told(upkeep.expire_parked().await)? != 0 {}
                told(upkeep.pull_in(LONGEST_BACKOFF).await)?;
                told(upkeep.forget_events().await)?;
                told(upkeep.forget_messages().await)?;
                told(upkeep.forget_actions().await)?;
                self.model.expire();
                Ok(())
            }
        }
    }

    fn store(&self) -> &Store {
        &self.stage.replicas[self.leases as usize % 2]
    }

    fn start_writers(&mut self) {
        let doors = Doors::new([(self.account.clone(), self.door.clone())]);
        self.writers = self.stage.replicas.iter().map(|store| store.start_writers(&doors)).collect();
    }

    async fn tell(&mut self, all: &[Told]) -> Outcome {
        let answers = self.answers(all).await;
        let mut answered = Vec::new();
        for answer in answers {
            answered.push(answer.map_err(|because| format!("not taken: {because}"))?);
        }
        if let ([one], [answer]) = (all, answered.as_slice()) {
            same("the answer", self.model.tell(one), answer.clone())?;
            return self.take_handed().await;
        }
        self.is_in_some_order(all, &answered, alike).await
    }

    /// The first time, whoever listens dies. What had been told by then may have been taken, or not.
    async fn tell_twice(&mut self, all: &[Told]) -> Outcome {
        // What is handed over to a process that dies is lost, and nobody could say what it was.
        self.door.set_open(false);
        {
            // Handed in, and not waited for.
            let mut answers = std::pin::pin!(self.answers(all));
            let _nobody_waits = std::future::poll_fn(|context| Poll::Ready(answers.as_mut().poll(context))).await;
        }
        tokio::task::yield_now().await;
        self.writers.clear();
        self.start_writers();
        let mut answered = Vec::new();
        for one in all {
            let answer = self.answers(std::slice::from_ref(one)).await.remove(0);
            answered.push(answer.map_err(|because| format!("not taken: {because}"))?);
        }
        self.is_in_some_order(all, &answered, alike_but_told_before).await?;
        self.door.set_open(true);
        Ok(())
    }

    async fn answers(&self, all: &[Told]) -> Vec<Result<Answer, NotTaken>> {
        let tell = all.iter().enumerate().map(|(at, one)| {
            let inbox = &self.stage.replicas[at % 2].inbox;
            async move {
                match self.command(one) {
                    Command::Accept(event) => inbox.accept(event).await.map(|accepted| self.accepted(accepted)),
                    Command::Register(registration) => inbox.register(registration).await.map(registered),
                }
            }
        });
        join_all(tell).await
    }

    /// Several things at once come to the same as one commit after the other, in some order.
    async fn is_in_some_order(
        &mut self,
        all: &[Told],
        answered: &[Answer],
        alike: fn(&Answer, &Answer) -> bool,
    ) -> Outcome {
        let mut why_not = format!("no order of these gives {answered:?}");
        let handed = self.receive();
        let mut fitting: Vec<Model> = Vec::new();
        for order in orders(all.len()) {
            for commits in commits(&order) {
                let mut model = self.model.clone();
                let fits = commits.iter().all(|commit| {
                    let told: Vec<&Told> = commit.iter().map(|at| &all[*at]).collect();
                    let should_be = model.tell_together(&told);
                    commit.iter().zip(&should_be).all(|(at, should_be)| alike(should_be, &answered[*at]))
                });
                if fits {
                    fitting.push(model);
                }
            }
        }
        let mut distinct: Vec<Model> = Vec::new();
        for mut model in fitting.clone() {
            fitting.iter().for_each(|other| model.or_else(other));
            model.or_as_known_by_now(&self.model);
            if !distinct.contains(&model) {
                distinct.push(model);
            }
        }
        let is_sure = distinct.len() == 1;
        for model in distinct {
            let before = std::mem::replace(&mut self.model, model);
            let fits = match self.note_handed(&handed) {
                // Reading all of it back takes most of a story's time: where there is nothing to choose, its end is enough.
                Ok(()) if is_sure => Ok(()),
                Ok(()) => self.is_as_the_model().await,
                Err(why) => Err(why),
            };
            match fits {
                Ok(()) => {
                    self.keep(handed);
                    return Ok(());
                }
                Err(why) => why_not = why,
            }
            self.model = before;
        }
        Err(why_not)
    }

    async fn take_handed(&mut self) -> Outcome {
        let handed = self.receive();
        self.note_handed(&handed)?;
        self.keep(handed);
        Ok(())
    }

    fn receive(&mut self) -> Vec<Held> {
        let mut handed = Vec::new();
        while let Ok(lease) = self.handed.try_recv() {
            self.leases += 1;
            handed.push(Held { number: self.number(&lease.message_sid), id: self.leases, lease });
        }
        handed
    }

    fn note_handed(&mut self, handed: &[Held]) -> Outcome {
        for Held { number, id, lease } in handed {
            self.model.hand_over(*number, *id)?;
            self.is_of_its_past(*number, lease)?;
        }
        Ok(())
    }

    fn keep(&mut self, handed: Vec<Held>) {
        self.held.extend(handed);
    }

    async fn claim(&mut self, wanted: Wanted, probe: bool) -> Outcome {
        let [fresh, tried] = self.model.claimable(probe);
        let limit = usize::try_from(wanted.limit).unwrap();
        let first = fresh.len().min(limit);
        let again = tried.len().min(limit - first).max(tried.len().min(usize::try_from(wanted.for_retries).unwrap()));
        let first = first.min(limit - again);
        let outbox = &self.store().outbox;
        let Claimed { leases, poisoned, .. } = told(match probe {
            true => outbox.claim_probe(&self.account).await,
            false => outbox.claim(&self.account, wanted).await,
        })?;
        same("how many a claim takes", (first + again) as u64, leases.len() as u64 + poisoned)?;
        let taken = self.note_claimed(leases, poisoned).await?;
        for (due, wanted) in [(fresh, first), (tried, again)] {
            let took = due.iter().filter(|(_, number)| taken.contains(number));
            let left = due.iter().filter(|(_, number)| !taken.contains(number));
            same("how many of a kind a claim takes", wanted, took.clone().count())?;
            let (last, next) = (took.map(|(due, _)| *due).max(), left.map(|(due, _)| *due).min());
            if let (Some(last), Some(next)) = (last, next)
                && next < last
            {
                return Err(format!("a claim took what came due at {last}, and left what came due at {next}"));
            }
        }
        Ok(())
    }

    async fn claim_at_once(&mut self, wanted: Wanted) -> Outcome {
        let claimable = self.model.claimable(false).concat();
        let [one, other] = &self.stage.replicas;
        let (one, other) =
            tokio::join!(one.outbox.claim(&self.account, wanted), other.outbox.claim(&self.account, wanted));
        let (one, other) = (told(one)?, told(other)?);
        let leases: Vec<Lease> = one.leases.into_iter().chain(other.leases).collect();
        let distinct: BTreeSet<&MessageSid> = leases.iter().map(|lease| &lease.message_sid).collect();
        same("how many are claimed twice", 0, leases.len() - distinct.len())?;
        let taken = self.note_claimed(leases, one.poisoned + other.poisoned).await?;
        match taken.iter().find(|number| !claimable.iter().any(|(_, claimable)| claimable == *number)) {
            Some(number) => Err(format!("message {number} was claimed, and could not be")),
            None => Ok(()),
        }
    }

    /// Gives the messages that were taken: leased, or given up as poison.
    async fn note_claimed(&mut self, leases: Vec<Lease>, poisoned: u64) -> Result<BTreeSet<u32>, String> {
        let mut taken = BTreeSet::new();
        for lease in leases {
            let number = self.number(&lease.message_sid);
            if self.model.would_be_poison(number) {
                return Err(format!("message {number} was lost too often, and is claimed all the same"));
            }
            self.leases += 1;
            self.model.claim(number, self.leases);
            self.is_of_its_past(number, &lease)?;
            self.held.push(Held { number, id: self.leases, lease });
            taken.insert(number);
        }
        let mut found = 0;
        for number in 0..MESSAGES {
            if 0 < poisoned && !taken.contains(&number) && self.model.would_be_poison(number) {
                let view = told(self.store().ledger.message(None, &self.sid(number)).await)?;
                if view.is_some_and(|message| message.feedback.state.as_str() == "dead") {
                    self.model.poison(number);
                    taken.insert(number);
                    found += 1;
                }
            }
        }
        same("how many are poison", poisoned, found)?;
        Ok(taken)
    }

    fn is_of_its_past(&mut self, number: u32, lease: &Lease) -> Outcome {
        let (now, ages) = (self.model.now, self.model.ages(number));
        let Some(owed) = self.model.pending(number) else { return Err(format!("message {number} is not owed")) };
        let secs = |secs: At| Duration::from_secs(u64::try_from(secs).unwrap_or_default());
        same("the attempt", owed.attempts, lease.attempt)?;
        same("its failures", (owed.failures, owed.ambiguous), (lease.past.failures, lease.past.ambiguous))?;
        same("since when it fails", owed.failing_since.map(|since| secs(now - since)), lease.past.failing_for)?;
        match ages.iter().any(|age| secs(*age) == lease.past.age) {
            true => Ok(()),
            false => Err(format!("its age should be one of {ages:?}, and is {:?}", lease.past.age)),
        }
    }

    fn take(&mut self, which: u8) -> Option<Held> {
        let at = usize::from(which).checked_rem(self.held.len())?;
        Some(self.held.swap_remove(at))
    }

    async fn settle(&mut self, all: &[(u8, Verdict)]) -> Outcome {
        let mut ended = Vec::new();
        for (which, verdict) in all {
            let Some(Held { number, id, lease }) = self.take(*which) else { break };
            let attempt = Attempt {
                class: Class::Transient,
                status: Some(500),
                code: None,
                request_id: None,
                error: None,
                took: Duration::ZERO,
            };
            ended.push((number, id, Settlement { lease, attempt, verdict: verdict.clone(), date_updated: None }));
        }
        self.settled = ended;
        self.settle_again().await
    }

    async fn settle_again(&mut self) -> Outcome {
        let ended = std::mem::take(&mut self.settled);
        let plan: Vec<_> = ended
            .iter()
            .map(|(number, id, ended)| (*number, *id, ended.lease.attempt, ended.verdict.clone()))
            .collect();
        let numbers: Vec<(u32, u32)> = ended.iter().map(|(number, id, _)| (*number, *id)).collect();
        let settlements: Vec<Settlement> = ended.into_iter().map(|(_, _, settlement)| settlement).collect();
        if settlements.is_empty() {
            return Ok(());
        }
        let came_of = told(self.store().outbox.settle(&settlements).await)?;
        let should_be = self.model.settle(&plan);
        for ((number, ..), should_be) in plan.iter().zip(should_be) {
            // Of two settlements of one message, one answer comes back.
            if numbers.iter().filter(|(other, _)| other == number).count() == 1 {
                let is = match came_of.get(&self.sid(*number)) {
                    Some(Settled::Stands { .. }) => (true, false),
                    Some(Settled::ConfirmedLate) => (false, true),
                    Some(Settled::Fenced) => (false, false),
                    None => return Err(format!("nothing is said of message {number}")),
                };
                let (held, late) = should_be;
                same("what came of a settlement", (held, late && !held), is)?;
            }
        }
        let again = numbers.into_iter().zip(settlements);
        self.settled = again.map(|((number, id), settlement)| (number, id, settlement)).collect();
        Ok(())
    }

    async fn replay(&mut self) -> Outcome {
        let filter = LetterFilter { namespace: Some(self.namespace.clone()), ..LetterFilter::default() };
        let replay = told(self.store().operator.replay(&filter, 1_000, 1_000).await)?;
        let (number_of, paced) = self.model.replay();
        same("how many are replayed", (number_of, number_of), (replay.matched, replay.replayed))?;
        for number in paced {
            // A pace of a thousand a second: all of them within this one, and none before now.
            let view = told(self.store().ledger.message(None, &self.sid(number)).await)?;
            let due = view.and_then(|message| message.feedback.due_at).ok_or("what was replayed is not due")?;
            let (now, late) = (self.stage.now, due - self.stage.now);
            if due < now || chrono::TimeDelta::seconds(1) < late {
                return Err(format!("message {number} was replayed, and comes due {late} from now"));
            }
        }
        // The model knows whole seconds: it goes on when all of it is due.
        self.travel(Duration::from_secs(1));
        Ok(())
    }

    fn travel(&mut self, by: Duration) {
        self.stage.clock.travel(by);
        self.stage.now += by;
        self.model.now += At::try_from(by.as_secs()).unwrap();
    }

    /// Everything that can be read back is as the model has it.
    pub(super) async fn is_as_the_model(&self) -> Outcome {
        let ledger = &self.store().ledger;
        let messages = (0..MESSAGES)
            .map(|number| async move { told(ledger.message(Some(&self.namespace), &self.sid(number)).await) });
        let events = (0..EVENTS).map(|id| async move { told(ledger.event(&self.key(id)).await) });
        let (messages, events) = tokio::join!(join_all(messages), join_all(events));
        for (number, view) in (0..).zip(messages) {
            let view = view?;
            let (Some(view), Some(message)) = (&view, self.model.messages.get(&number)) else {
                same("whether a message is known", self.model.messages.contains_key(&number), view.is_some())?;
                continue;
            };
            let name = format!("message {number}");
            let is = ((view.sent_at - self.began).num_seconds(), view.action_id.clone());
            let (sent, action) = self.model.mapping(number);
            same(&format!("the mapping of {name}"), (sent, action.map(action_id)), is)?;
            let feedback = &view.feedback;
            let reason = feedback.reason.as_deref().filter(|reason| !reason.starts_with("lane paused"));
            let (attempts, should_reason) = match &message.feedback {
                Feedback::None => (0, None),
                Feedback::Pending(owed) => (owed.attempts, None),
                Feedback::Confirmed { attempts } => (*attempts, None),
                Feedback::Dead { attempts, reason } => (*attempts, Some(reason.as_str())),
            };
            same(
                &name,
                (message.feedback.word(), attempts, should_reason),
                (feedback.state.as_str(), feedback.attempts, reason),
            )?;
            let record: BTreeSet<(u32, &str)> =
                view.attempts.iter().map(|attempt| (attempt.number, attempt.verdict.as_str())).collect();
            same(&format!("the record of {name}"), message.record.clone(), record)?;
        }
        for (id, receipt) in (0..).zip(events) {
            let receipt = receipt?;
            let known = self.model.events.contains_key(&id);
            same("whether an event is known", known, receipt.is_some())?;
            if let Some(receipt) = receipt {
                let named = receipt.message_sids.iter().map(|sid| self.number(sid)).collect();
                same(&format!("event {id}"), self.model.receipt(id), (receipt.state.as_str(), named))?;
            }
        }
        Ok(())
    }

    fn command(&self, told: &Told) -> Command {
        let at = |at: Option<At>| at.map(|at| self.began + chrono::TimeDelta::seconds(at));
        match *told {
            Told::Message { number, action, sent } => Command::Register(Registration {
                namespace: self.namespace.clone(),
                action_id: action_id(action),
                message_sid: self.sid(number),
                account_sid: self.account.clone(),
                sent_at: at(sent),
                labels: Labels::default(),
            }),
            Told::Event { id, action, all, occurred } => Command::Accept(Event {
                key: self.key(id),
                target: Target::Action {
                    action_id: action_id(action),
                    resolve: if all { Resolve::All } else { Resolve::Latest },
                },
                occurred_at: at(occurred),
            }),
            Told::Exact { id, number, action, occurred } => Command::Accept(Event {
                key: self.key(id),
                target: Target::Message {
                    message_sid: self.sid(number),
                    account_sid: self.account.clone(),
                    action_id: action.map(action_id),
                },
                occurred_at: at(occurred),
            }),
        }
    }

    fn accepted(&self, accepted: Accepted) -> Answer {
        let named = |sids: &[MessageSid]| sids.iter().map(|sid| self.number(sid)).collect();
        match accepted {
            Accepted::Taken(answer) => Answer::Taken(answer.state.as_str(), named(&answer.message_sids)),
            Accepted::Replayed(answer) => Answer::Replayed(answer.state.as_str(), named(&answer.message_sids)),
            Accepted::Mismatch => Answer::Mismatch,
            Accepted::Conflict => Answer::Conflict,
        }
    }

    fn key(&self, id: u8) -> EventKey {
        let event_id = EventId::try_from(format!("event-{id}")).unwrap();
        EventKey { namespace: self.namespace.clone(), event_id }
    }

    fn sid(&self, number: u32) -> MessageSid {
        format!("SM{:032x}", self.first_sid + number).try_into().unwrap()
    }

    fn number(&self, sid: &MessageSid) -> u32 {
        u32::from_str_radix(&sid.as_str()[26..], 16).unwrap() - self.first_sid
    }
}

fn action_id(action: u8) -> ActionId {
    format!("action-{action}").try_into().unwrap()
}

fn registered(registered: Registered) -> Answer {
    match registered {
        Registered::Created(state) => Answer::Created(state.as_str()),
        Registered::Known(state) => Answer::Known(state.as_str()),
        Registered::Conflict => Answer::Conflict,
    }
}

fn orders(of: usize) -> Vec<Vec<usize>> {
    match of {
        0 => vec![Vec::new()],
        _ => orders(of - 1)
            .into_iter()
            .flat_map(|order| {
                (0..of).map(move |place| {
                    let mut order = order.clone();
                    order.insert(place, of - 1);
                    order
                })
            })
            .collect(),
    }
}

/// Each way to cut an order into commits.
fn commits(order: &[usize]) -> Vec<Vec<Vec<usize>>> {
    let [first, rest @ ..] = order else { return vec![Vec::new()] };
    let mut ways = Vec::new();
    for way in commits(rest) {
        let mut alone = vec![vec![*first]];
        alone.extend(way.clone());
        ways.push(alone);
        if let Some((next, others)) = way.split_first() {
            let with_next = [&[*first], next.as_slice()].concat();
            ways.push([vec![with_next], others.to_vec()].concat());
        }
    }
    ways
}

/// Of what is told at once, a mapping is answered when the events beside it are taken, too.
fn alike(should_be: &Answer, is: &Answer) -> bool {
    let owed = |one: &str, other: &str| one == other || matches!((one, other), ("none", "pending"));
    match (should_be, is) {
        (Answer::Created(one), Answer::Created(other)) | (Answer::Known(one), Answer::Known(other)) => owed(one, other),
        _ => should_be == is,
    }
}

/// Of what is told again, it is not known whether it was taken the first time.
fn alike_but_told_before(should_be: &Answer, is: &Answer) -> bool {
    let anew = match is.clone() {
        Answer::Replayed(word, named) => Answer::Taken(word, named),
        Answer::Known(word) => Answer::Created(word),
        other => other,
    };
    let should_be = match should_be.clone() {
        Answer::Replayed(word, named) => Answer::Taken(word, named),
        Answer::Known(word) => Answer::Created(word),
        other => other,
    };
    alike(&should_be, &anew)
}
