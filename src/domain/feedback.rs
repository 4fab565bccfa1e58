//! What we owe Twilio, and what an attempt to pay it taught us.

use std::time::Duration;

/// Where one message's feedback stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbackState {
    /// No event named the message yet.
    None,
    /// Owed to Twilio.
    Pending,
    /// Twilio answered 2xx.
    Confirmed,
    /// Given up, with a reason.
    Dead,
}

impl FeedbackState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Dead => "dead",
        }
    }
}

/// What one attempt taught us about its feedback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Twilio has it.
    Confirmed,
    /// Twilio may take it later.
    Retry(Retry),
    /// Twilio never will, or we stopped trying.
    Dead(DeadReason),
}

impl Verdict {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Retry(_) => "retry",
            Self::Dead(_) => "dead",
        }
    }
}

/// When to try again, and what the attempt cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The fault was the message's or the path's: the next backoff is longer, and the give-up age runs.
    Burnt { after: Duration },
    /// A 2xx that proves nothing: counted apart, because only a few of these are worth it.
    Ambiguous { after: Duration },
    /// The message is too young to be missing: the next backoff is longer, the give-up age does not run.
    Young { after: Duration },
    /// The fault was not the message's (a throttle, the account): nothing is counted.
    Unburnt { after: Duration },
}

impl Retry {
    pub const fn after(self) -> Duration {
        match self {
            Self::Burnt { after } | Self::Ambiguous { after } | Self::Young { after } | Self::Unburnt { after } => {
                after
            }
        }
    }
}

/// Why a feedback was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadReason {
    /// 404 on a message that is old enough to be there: another account or region, deleted, past retention.
    MessageNotFound,
    /// A 4xx that repeating does not change.
    Rejected,
    /// Transient faults for longer than `give_up_after`.
    GaveUp,
    /// 2xx answers that never agreed with what was asked.
    Unverifiable,
    /// Its worker was lost too often while it held the lease.
    Poison,
    /// Its account is in shadow: everything was done but the request.
    Shadowed,
}

impl DeadReason {
    pub const ALL: [Self; 6] =
        [Self::MessageNotFound, Self::Rejected, Self::GaveUp, Self::Unverifiable, Self::Poison, Self::Shadowed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MessageNotFound => "message_not_found",
            Self::Rejected => "rejected",
            Self::GaveUp => "gave_up",
            Self::Unverifiable => "unverifiable",
            Self::Poison => "poison",
            Self::Shadowed => "shadowed",
        }
    }
}

/// What kind of answer an attempt got: the second column of the verdict table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Confirmed,
    Ambiguous,
    Throttled,
    AccountFault,
    NotFound,
    Transient,
    Rejected,
    /// No answer, because nothing was asked: the account is in shadow.
    Shadowed,
}

impl Class {
    /// Those of an answer.
    pub const ALL: [Self; 7] = [
        Self::Confirmed,
        Self::Ambiguous,
        Self::Throttled,
        Self::AccountFault,
        Self::NotFound,
        Self::Transient,
        Self::Rejected,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Ambiguous => "ambiguous",
            Self::Throttled => "throttled",
            Self::AccountFault => "account_fault",
            Self::NotFound => "not_found",
            Self::Transient => "transient",
            Self::Rejected => "rejected",
            Self::Shadowed => "shadowed",
        }
    }
}

/// One request to Twilio and what came of it, as the history keeps it.
///
/// Twilio's error message is not in it: it can hold a phone number. Its code is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub class: Class,
    /// HTTP status, where an answer came.
    pub status: Option<u16>,
    /// Twilio's error code: <https://www.twilio.com/docs/api/errors>
    pub code: Option<u32>,
    /// `Twilio-Request-Id`, what Twilio's support asks for.
    pub request_id: Option<String>,
    /// What failed below HTTP: `connect`, `timeout`, `reset`…
    pub error: Option<&'static str>,
    pub took: Duration,
}

/// Why something stands among the dead letters: a feedback that was given up, or an event that expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterReason {
    Dead(DeadReason),
    Expired,
}

impl LetterReason {
    pub const ALL: [Self; 7] = [
        Self::Dead(DeadReason::MessageNotFound),
        Self::Dead(DeadReason::Rejected),
        Self::Dead(DeadReason::GaveUp),
        Self::Dead(DeadReason::Unverifiable),
        Self::Dead(DeadReason::Poison),
        Self::Dead(DeadReason::Shadowed),
        Self::Expired,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dead(reason) => reason.as_str(),
            Self::Expired => "expired",
        }
    }
}

impl TryFrom<String> for LetterReason {
    type Error = super::Malformed;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(super::Malformed(
            "must be message_not_found, rejected, gave_up, unverifiable, poison, shadowed or expired",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows hold them, and callers read them: those of an older binary mean the same in a newer one.
    #[test]
    fn the_words_that_are_stored_and_served_stay_as_they_are() {
        use FeedbackState as State;
        let states = [State::None, State::Pending, State::Confirmed, State::Dead].map(State::as_str);
        assert_eq!(states, ["none", "pending", "confirmed", "dead"]);
        let after = Duration::from_secs(1);
        let verdicts =
            [Verdict::Confirmed, Verdict::Retry(Retry::Burnt { after }), Verdict::Dead(DeadReason::Rejected)];
        assert_eq!(verdicts.each_ref().map(Verdict::as_str), ["confirmed", "retry", "dead"]);
        assert_eq!(
            LetterReason::ALL.map(LetterReason::as_str),
            ["message_not_found", "rejected", "gave_up", "unverifiable", "poison", "shadowed", "expired"]
        );
        assert_eq!(
            Class::ALL.map(Class::as_str),
            ["confirmed", "ambiguous", "throttled", "account_fault", "not_found", "transient", "rejected"]
        );
        assert_eq!(Class::Shadowed.as_str(), "shadowed");
    }
}
