//! Fault rules as text, for flags and the control route: `KIND[;KEY=VALUE]…`, as in `429;retry_after=3;first=10`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hyper::header::HeaderValue;

use super::fault::{Counting, Fault, FaultBody, FaultRule, StatusFault, Turns};

/// Why a text is no fault rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FaultRuleError(String);

impl FromStr for FaultRule {
    type Err = FaultRuleError;

    fn from_str(text: &str) -> Result<Self, FaultRuleError> {
        let mut keys = Keys::split(text)?;
        let mut rule = Self::always(fault(&mut keys)?);
        rule.account = keys.parse("account", |sid| sid.to_owned().try_into().ok(), "AC and 32 hex digits")?;
        rule.message = keys.parse("message", |sid| sid.to_owned().try_into().ok(), "SM or MM and 32 hex digits")?;
        rule.turns = turns(&mut keys)?;
        let per = |per: &str| (per == "message").then_some(Counting::ByMessage);
        rule.counting = keys.parse("per", per, "message")?.unwrap_or(Counting::ByRule);
        if !rule.fault.answer_is_twilios() && !matches!(rule.fault, Fault::Young { .. }) {
            rule.applied = keys.parse("applied", yes_or_no, "yes or no")?.unwrap_or(rule.applied);
        }
        keys.none_left().map(|()| rule)
    }
}

fn fault(keys: &mut Keys<'_>) -> Result<Fault, FaultRuleError> {
    match keys.kind {
        "other_message" => Ok(Fault::OtherMessage),
        "unconfirmed" => Ok(Fault::Unconfirmed),
        "young" => Ok(Fault::Young { age: keys.duration("age")? }),
        "delay" => Ok(Fault::Delay { time: keys.duration("time")? }),
        "drip" => Ok(Fault::Drip { pause: keys.duration("pause")? }),
        "cut" => Ok(Fault::Cut),
        "close" => Ok(Fault::Close),
        "hang" => Ok(Fault::Hang),
        "reset" => Ok(Fault::Reset),
        kind => match kind.parse() {
            Ok(status @ 200..600) => status_fault(StatusFault::usual(status), keys),
            _ => Err(FaultRuleError(format!(
                "`{kind}` is no fault; use a status from 200 to 599, or other_message, unconfirmed, young, delay, \
                 drip, cut, close, hang or reset"
            ))),
        },
    }
}

fn status_fault(usual: StatusFault, keys: &mut Keys<'_>) -> Result<Fault, FaultRuleError> {
    let body = |name: &str| FaultBody::ALL.into_iter().find(|body| body.as_str() == name);
    let header = |text: &str| HeaderValue::from_str(text).is_ok().then(|| text.to_owned());
    Ok(Fault::Status(StatusFault {
        status: usual.status,
        code: keys.parse("code", |code| code.parse().ok(), "a number")?.unwrap_or(usual.code),
        body: keys.parse("body", body, "json, problem, html or empty")?.unwrap_or(usual.body),
        retry_after: keys.parse("retry_after", header, "printable")?,
        location: keys.parse("location", header, "printable")?,
    }))
}

fn turns(keys: &mut Keys<'_>) -> Result<Turns, FaultRuleError> {
    let mut turns = Vec::new();
    for (key, turn) in [("first", Turns::First as fn(u64) -> Turns), ("nth", Turns::Nth), ("every", Turns::Every)] {
        let at_least_one = |text: &str| text.parse().ok().filter(|n| 0 < *n);
        turns.extend(keys.parse(key, at_least_one, "a number from 1")?.map(turn));
    }
    match turns.as_slice() {
        [] => Ok(Turns::Always),
        [turns] => Ok(*turns),
        _ => Err(FaultRuleError("only one of `first`, `nth` and `every` can choose the requests".to_owned())),
    }
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// A rule's text, taken apart.
struct Keys<'a> {
    kind: &'a str,
    values: Vec<(&'a str, &'a str)>,
}

impl<'a> Keys<'a> {
    fn split(text: &'a str) -> Result<Self, FaultRuleError> {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let mut values: Vec<(&str, &str)> = Vec::new();
        for part in parts {
            let Some((key, value)) = part.split_once('=') else {
                return Err(FaultRuleError(format!("`{part}` is not of the form KEY=VALUE")));
            };
            if values.iter().any(|(other, _)| *other == key) {
                return Err(FaultRuleError(format!("`{key}` is given twice")));
            }
            values.push((key, value));
        }
        Ok(Self { kind, values })
    }

    fn parse<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&'a str) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, FaultRuleError> {
        let Some(at) = self.values.iter().position(|(other, _)| *other == key) else {
            return Ok(None);
        };
        let (_, value) = self.values.remove(at);
        match parse(value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(FaultRuleError(format!("`{key}={value}`: `{key}` must be {expected}"))),
        }
    }

    fn duration(&mut self, key: &str) -> Result<Duration, FaultRuleError> {
        let positive = |text: &str| humantime::parse_duration(text).ok().filter(|time| !time.is_zero());
        match self.parse(key, positive, "a time such as 250ms or 30s")? {
            Some(time) => Ok(time),
            None => Err(FaultRuleError(format!("`{}` needs `{key}`, a time such as 250ms or 30s", self.kind))),
        }
    }

    fn none_left(&self) -> Result<(), FaultRuleError> {
        match self.values.first() {
            Some((key, _)) => Err(FaultRuleError(format!("`{key}` is not a key of `{}`", self.kind))),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fault)?;
        if let Some(account) = &self.account {
            write!(f, ";account={account}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ";message={message}")?;
        }
        match self.turns {
            Turns::Always => {}
            Turns::First(n) => write!(f, ";first={n}")?,
            Turns::Nth(n) => write!(f, ";nth={n}")?,
            Turns::Every(n) => write!(f, ";every={n}")?,
        }
        if self.counting == Counting::ByMessage {
            f.write_str(";per=message")?;
        }
        if self.applied && !self.fault.answer_is_twilios() {
            f.write_str(";applied=yes")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(fault) => write!(f, "{fault}"),
            Self::OtherMessage => f.write_str("other_message"),
            Self::Unconfirmed => f.write_str("unconfirmed"),
            Self::Young { age } => write!(f, "young;age={}", humantime::format_duration(*age)),
            Self::Delay { time } => write!(f, "delay;time={}", humantime::format_duration(*time)),
            Self::Drip { pause } => write!(f, "drip;pause={}", humantime::format_duration(*pause)),
            Self::Cut => f.write_str("cut"),
            Self::Close => f.write_str("close"),
            Self::Hang => f.write_str("hang"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

impl fmt::Display for StatusFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::usual(self.status);
        write!(f, "{}", self.status)?;
        if self.code != usual.code {
            write!(f, ";code={}", self.code)?;
        }
        if self.body != usual.body {
            write!(f, ";body={}", self.body.as_str())?;
        }
        if let Some(retry_after) = &self.retry_after {
            write!(f, ";retry_after={retry_after}")?;
        }
        if let Some(location) = &self.location {
            write!(f, ";location={location}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "fault_grammar_tests.rs"]
mod tests;
