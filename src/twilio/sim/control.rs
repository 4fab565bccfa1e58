//! The control routes below `/_sim`: reading the ledger, playing faults, rotating tokens while the simulator runs.

use std::net::SocketAddr;

use hyper::Method;
use serde::Serialize;
use serde_json::json;

use super::FaultRule;
use super::ledger::LedgerEntry;
use super::options::Control;
use super::reply::Reply;
use super::request::Heard;
use super::shared::Shared;
use crate::domain::{AccountSid, MessageSid};

/// Rules that may be in play at once.
const LONGEST_SCRIPT: usize = 100;

const HELP: &str = "\
This is confirmd's Twilio simulator.

GET    /_sim/ledger?message_sid=SM…&since=SEQUENCE   every request and what it got
DELETE /_sim/ledger                                  forget them
GET    /_sim/faults                                  the rules in play, and how often each was
POST   /_sim/faults                                  play one more: curl --data '429;retry_after=3;first=10' …/_sim/faults
DELETE /_sim/faults                                  behave again
POST   /_sim/accounts/AC…/rotate                     from now on only auth_token=… opens the account
GET    /_sim/messages/SM…                            what is known of a message

confirmd twilio-sim --help explains the faults.
";

pub(super) fn asked(path: &str) -> bool {
    path == "/_sim" || path.starts_with("/_sim/")
}

pub(super) fn serve(shared: &Shared, peer: SocketAddr, heard: &Heard) -> Reply {
    if shared.options.control == Control::Loopback && !peer.ip().to_canonical().is_loopback() {
        return Reply::text(403, "the control routes are served to this machine only; see --control-from-anywhere\n");
    }
    let parts: Vec<&str> = heard.path.trim_matches('/').split('/').skip(1).collect();
    match (&heard.method, parts.as_slice()) {
        (&Method::GET, []) => Reply::text(200, HELP),
        (&Method::GET, ["ledger"]) => ledger(shared, heard),
        (&Method::DELETE, ["ledger"]) => {
            shared.state().ledger.clear();
            Reply::text(204, "")
        }
        (&Method::GET, ["faults"]) => faults(shared),
        (&Method::POST, ["faults"]) => play(shared, heard),
        (&Method::DELETE, ["faults"]) => {
            shared.state().faults.clear();
            Reply::text(204, "")
        }
        (&Method::POST, ["accounts", sid, "rotate"]) => rotate(shared, sid, heard),
        (&Method::GET, ["messages", sid]) => message(shared, sid),
        _ => Reply::text(404, HELP),
    }
}

fn ledger(shared: &Shared, heard: &Heard) -> Reply {
    let parameter = |key: &str| heard.query.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str());
    let Ok(since) = parameter("since").map_or(Ok(0), str::parse::<u64>) else {
        return Reply::text(400, "`since` must be the sequence number of an entry\n");
    };
    let of_message = parameter("message_sid");
    let wanted = |entry: &&LedgerEntry| {
        since < entry.sequence
            && of_message.is_none_or(|sid| entry.message_sid.as_ref().is_some_and(|own| own.as_str() == sid))
    };
    let state = shared.state();
    let entries: Vec<&LedgerEntry> = state.ledger.entries().filter(wanted).collect();
    Reply::control(&json!({ "entries": entries }))
}

fn faults(shared: &Shared) -> Reply {
    #[derive(Serialize)]
    struct InPlay {
        rule: String,
        /// Requests in its scope that no earlier rule took.
        seen: u64,
        hit: u64,
    }
    let state = shared.state();
    let in_play = state.faults.in_play().iter();
    let faults = in_play.map(|played| InPlay { rule: played.rule.to_string(), seen: played.seen, hit: played.hit });
    Reply::control(&json!({ "faults": faults.collect::<Vec<_>>() }))
}

fn play(shared: &Shared, heard: &Heard) -> Reply {
    let rule = match String::from_utf8_lossy(&heard.body).trim().parse::<FaultRule>() {
        Ok(rule) => rule,
        Err(error) => return Reply::text(400, format!("{error}\n")),
    };
    let mut state = shared.state();
    if LONGEST_SCRIPT <= state.faults.in_play().len() {
        return Reply::text(409, format!("{LONGEST_SCRIPT} rules are in play; DELETE /_sim/faults ends them\n"));
    }
    let text = format!("{rule}\n");
    state.faults.play(rule);
    Reply::text(201, text)
}

fn rotate(shared: &Shared, sid: &str, heard: &Heard) -> Reply {
    let form = heard.form();
    let Some(token) = form.filled("auth_token") else {
        return Reply::text(400, "a form with the new `auth_token` is needed\n");
    };
    let rotated = AccountSid::try_from(sid.to_owned())
        .is_ok_and(|account| shared.state().accounts.rotate(&account, token.into()));
    if rotated { Reply::text(204, "") } else { Reply::text(404, "no such account\n") }
}

/// Neither its body nor a phone number is shown.
fn message(shared: &Shared, sid: &str) -> Reply {
    let state = shared.state();
    let sid = MessageSid::try_from(sid.to_owned()).ok();
    match sid.and_then(|sid| state.messages.record(&sid)) {
        Some(message) => Reply::control(&json!({
            "message_sid": message.message_sid,
            "account_sid": message.account_sid,
            "provide_feedback": message.provide_feedback,
            "outcome": message.outcome.as_str(),
            "confirmed": message.confirmed,
            "feedback_requests": message.feedback_requests,
            "deleted": message.deleted,
        })),
        None => Reply::text(404, "no such message\n"),
    }
}
