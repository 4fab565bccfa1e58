//! What can go wrong with a Feedback request, and with which ones it does.

use std::time::Duration;

use crate::domain::{AccountSid, MessageSid};

/// A fault, and the Feedback requests that it hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule {
    pub fault: Fault,
    /// Only requests of this account.
    pub account: Option<AccountSid>,
    /// Only requests for this message.
    pub message: Option<MessageSid>,
    pub turns: Turns,
    pub counting: Counting,
    /// Whether the Feedback takes effect all the same. Always so where the answer is Twilio's own, however damaged.
    pub applied: bool,
}

impl FaultRule {
    /// Hits every Feedback request.
    pub fn always(fault: Fault) -> Self {
        let applied = fault.answer_is_twilios();
        Self { fault, account: None, message: None, turns: Turns::Always, counting: Counting::ByRule, applied }
    }

    pub(super) fn concerns(&self, account: &AccountSid, message: &MessageSid) -> bool {
        self.account.as_ref().is_none_or(|only| only == account)
            && self.message.as_ref().is_none_or(|only| only == message)
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An answer of somebody's own making instead of Twilio's.
    Status(StatusFault),
    /// 200, but for another message.
    OtherMessage,
    /// 200, but the outcome is `unconfirmed`.
    Unconfirmed,
    /// 404 while the message is younger than this.
    Young { age: Duration },
    /// Twilio's answer, late.
    Delay { time: Duration },
    /// Twilio's answer, byte by byte.
    Drip { pause: Duration },
    /// Twilio's answer, cut off in the middle of its body.
    Cut,
    /// Twilio's answer; then the idle connection is closed without a `Connection: close` before it.
    Close,
    /// No answer, ever.
    Hang,
    /// No answer: the connection is reset.
    Reset,
}

impl Fault {
    /// Whether the client gets to see, at least in part, what Twilio would have answered.
    pub(super) const fn answer_is_twilios(&self) -> bool {
        matches!(self, Self::Delay { .. } | Self::Drip { .. } | Self::Cut | Self::Close)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusFault {
    /// 200 to 599.
    pub status: u16,
    /// Twilio's error code, for the bodies that have one.
    pub code: u32,
    pub body: FaultBody,
    /// As it stands: seconds, a date, or garbage.
    pub retry_after: Option<String>,
    pub location: Option<String>,
}

impl StatusFault {
    /// A status as Twilio, or for 502 and 504 the gateway in front of it, usually answers it.
    pub fn usual(status: u16) -> Self {
        let code = match status {
            401 => 20003,
            403 => 20008,
            405 => 20004,
            other => 20_000 + u32::from(other),
        };
        let body = match status {
            200..400 => FaultBody::Empty,
            502 | 504 => FaultBody::Html,
            _ => FaultBody::Json,
        };
        Self { status, code, body, retry_after: None, location: None }
    }
}

/// What an error's body looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultBody {
    /// `{"code", "message", "more_info", "status"}`
    Json,
    /// RFC 9457, as newer Twilio APIs do.
    Problem,
    /// A page for people: a gateway's error, a proxy's login.
    Html,
    Empty,
}

impl FaultBody {
    pub(super) const ALL: [Self; 4] = [Self::Json, Self::Problem, Self::Html, Self::Empty];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Problem => "problem",
            Self::Html => "html",
            Self::Empty => "empty",
        }
    }
}

/// Which of the requests in its scope a fault hits, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    Always,
    First(u64),
    Nth(u64),
    Every(u64),
}

impl Turns {
    const fn include(self, turn: u64) -> bool {
        match self {
            Self::Always => true,
            Self::First(n) => turn <= n,
            Self::Nth(n) => turn == n,
            Self::Every(n) => turn.is_multiple_of(n),
        }
    }
}

/// What a turn is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// All requests in scope that no earlier rule took.
    ByRule,
    /// Each message's own requests.
    ByMessage,
}

/// The rules in play, in order. A request is taken by the first rule that is due, so rules in a row make a script.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Played>);

/// A rule, and how often it was asked and played.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) rule: FaultRule,
    pub(super) seen: u64,
    pub(super) hit: u64,
}

/// What a rule must know of a Feedback request to tell whether it is due.
pub(super) struct FeedbackRequest<'a> {
    pub(super) account: &'a AccountSid,
    pub(super) message: &'a MessageSid,
    /// The how-manieth request for this message it is.
    pub(super) turn_of_message: u64,
    pub(super) age_of_message: Duration,
}

impl Faults {
    pub(super) fn play(&mut self, rule: FaultRule) {
        self.0.push(Played { rule, seen: 0, hit: 0 });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn in_play(&self) -> &[Played] {
        &self.0
    }

    pub(super) fn due(&mut self, request: &FeedbackRequest<'_>) -> Option<FaultRule> {
        let mut concerned = self.0.iter_mut().filter(|played| played.rule.concerns(request.account, request.message));
        let due = concerned.find_map(|played| {
            played.seen += 1;
            let turn = match played.rule.counting {
                Counting::ByRule => played.seen,
                Counting::ByMessage => request.turn_of_message,
            };
            let grown_up = matches!(played.rule.fault, Fault::Young { age } if age <= request.age_of_message);
            (played.rule.turns.include(turn) && !grown_up).then_some(played)
        })?;
        due.hit += 1;
        Some(due.rule.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(rules: &[&str], messages: &[u32]) -> Vec<Option<String>> {
        let account: AccountSid = format!("AC{:032x}", 1).try_into().unwrap();
        let mut faults = Faults::default();
        rules.iter().for_each(|rule| faults.play(rule.parse().unwrap()));
        let request = |(at, number): (usize, &u32)| {
            let message: MessageSid = format!("SM{number:032x}").try_into().unwrap();
            let turn_of_message = messages[..=at].iter().filter(|other| *other == number).count() as u64;
            let age_of_message = Duration::from_secs(at as u64);
            let request = FeedbackRequest { account: &account, message: &message, turn_of_message, age_of_message };
            faults.due(&request).map(|rule| rule.fault.to_string())
        };
        messages.iter().enumerate().map(request).collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn rules_in_a_row_make_a_script() {
        let script = played(&["429;first=2", "503;nth=2", "hang;every=2"], &[1, 1, 1, 1, 1, 1]);
        assert_eq!(script, [some("429"), some("429"), None, some("503"), some("hang"), None]);
    }

    #[test]
    fn a_rule_per_message_counts_each_messages_requests() {
        let script = played(&["404;first=1;per=message"], &[1, 2, 1, 3, 2]);
        assert_eq!(script, [some("404"), some("404"), None, some("404"), None]);
    }

    #[test]
    fn a_rule_for_one_message_leaves_the_others_alone() {
        let rule = format!("reset;message=SM{:032x}", 2);
        assert_eq!(played(&[&rule], &[1, 2, 3]), [None, some("reset"), None]);
    }

    #[test]
    fn a_young_message_grows_up() {
        assert_eq!(played(&["young;age=2s"], &[1, 1, 1]), [some("young;age=2s"), some("young;age=2s"), None]);
    }
}
