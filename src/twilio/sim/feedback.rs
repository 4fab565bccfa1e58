//! Taking Feedback, with the faults that are due.

use chrono::{DateTime, Utc};
use hyper::Method;
use hyper::header::{LOCATION, RETRY_AFTER};
use uuid::Uuid;

use super::clock::rfc_2822;
use super::fault::{Fault, FaultBody, Faults, FeedbackRequest, StatusFault};
use super::message::FeedbackOutcome;
use super::messages::Messages;
use super::options::{SimulatorOptions, UnknownMessages, WithoutProvideFeedback};
use super::reply::Reply;
use super::request::Heard;
use super::served::{Delivery, Served};
use crate::domain::{AccountSid, MessageSid};
use crate::twilio::wire::FeedbackResource;

/// What taking Feedback touches.
pub(super) struct FeedbackDesk<'a> {
    pub(super) options: &'a SimulatorOptions,
    pub(super) messages: &'a mut Messages,
    pub(super) faults: &'a mut Faults,
    pub(super) now: DateTime<Utc>,
}

impl FeedbackDesk<'_> {
    pub(super) fn serve(&mut self, account: &AccountSid, sid: &MessageSid, heard: &Heard) -> Served {
        if heard.method != Method::POST {
            return Served::refused(Reply::method_not_allowed());
        }
        if self.options.unknown_messages == UnknownMessages::Accept {
            self.messages.meet(account, sid, self.now);
        }
        let known = self.messages.count_feedback_request(sid);
        let due = self.faults.due(&FeedbackRequest {
            account,
            message: sid,
            turn_of_message: known.map_or(1, |message| message.feedback_requests),
            age_of_message: known.map(|message| message.known_since.elapsed()).unwrap_or_default(),
        });
        let Some(rule) = due else {
            return self.take(account, sid, heard);
        };
        let served = match rule.applied {
            true => self.take(account, sid, heard),
            false => Served::refused(Reply::empty(500)),
        };
        let (reply, delivery) = match &rule.fault {
            Fault::Status(fault) => (status_reply(fault, &heard.path), Delivery::Whole),
            Fault::Young { .. } => (Reply::not_found(&heard.path), Delivery::Whole),
            Fault::OtherMessage => {
                let other = format!("SM{}", Uuid::new_v4().simple());
                let confirmed = self.resource(account, sid, FeedbackOutcome::Confirmed, heard);
                let wrong = FeedbackResource { message_sid: Some(other), ..confirmed };
                (Reply::json(self.options.feedback_status.code(), &wrong), Delivery::Whole)
            }
            Fault::Unconfirmed => {
                let unconfirmed = self.resource(account, sid, FeedbackOutcome::Unconfirmed, heard);
                (Reply::json(self.options.feedback_status.code(), &unconfirmed), Delivery::Whole)
            }
            Fault::Delay { time } => (served.reply, Delivery::Late(*time)),
            Fault::Drip { pause } => (served.reply, Delivery::Drip(*pause)),
            Fault::Cut => (served.reply, Delivery::Cut),
            Fault::Close => (served.reply, Delivery::ThenClose),
            Fault::Hang => (served.reply, Delivery::Never),
            Fault::Reset => (served.reply, Delivery::Reset),
        };
        Served { reply, delivery, applied: served.applied, fault: Some(rule.to_string()) }
    }

    /// As Twilio does: Feedback is there from the message's creation, and each request updates it.
    fn take(&mut self, account: &AccountSid, sid: &MessageSid, heard: &Heard) -> Served {
        let form = heard.form();
        let asked = match form.get("Outcome").map(FeedbackOutcome::read) {
            Some(None) => return Served::refused(Reply::error(400, 20422, "Invalid Parameter")),
            Some(Some(outcome)) => Some(outcome),
            None => None,
        };
        let Some(message) = self.messages.get_mut(account, sid) else {
            return Served::refused(Reply::not_found(&heard.path));
        };
        let outcome = asked.unwrap_or(message.outcome);
        let applied = message.provide_feedback && asked.is_some();
        match (message.provide_feedback, self.options.without_provide_feedback) {
            (true, _) => {
                message.outcome = outcome;
                message.confirmed += u64::from(asked == Some(FeedbackOutcome::Confirmed));
            }
            (false, WithoutProvideFeedback::AcceptAndIgnore) => {}
            (false, WithoutProvideFeedback::NotFound) => return Served::refused(Reply::not_found(&heard.path)),
            (false, WithoutProvideFeedback::BadRequest) => {
                return Served::refused(Reply::error(400, 20422, "Invalid Parameter"));
            }
        }
        let resource = self.resource(account, sid, outcome, heard);
        let reply = Reply::json(self.options.feedback_status.code(), &resource);
        if applied { Served::changed(reply) } else { Served::unchanged(reply) }
    }

    /// Feedback is as old as its message, and the path that was asked is its URI.
    fn resource(
        &self,
        account: &AccountSid,
        sid: &MessageSid,
        outcome: FeedbackOutcome,
        heard: &Heard,
    ) -> FeedbackResource {
        let created_at = self.messages.record(sid).map_or(self.now, |message| message.created_at);
        FeedbackResource {
            account_sid: Some(account.to_string()),
            date_created: Some(rfc_2822(created_at)),
            date_updated: Some(rfc_2822(self.now)),
            message_sid: Some(sid.to_string()),
            outcome: Some(outcome.as_str().to_owned()),
            uri: Some(heard.path.clone()),
        }
    }
}

fn status_reply(fault: &StatusFault, path: &str) -> Reply {
    let StatusFault { status, code, .. } = *fault;
    let mut reply = match fault.body {
        FaultBody::Json => match (status, code) {
            (401, 20003) => Reply::unauthorized(),
            (404, 20404) => Reply::not_found(path),
            _ => Reply::error(status, code, message_of(code)),
        },
        FaultBody::Problem => Reply::problem(status, code, message_of(code)),
        FaultBody::Html => Reply::html(status),
        FaultBody::Empty => Reply::empty(status),
    };
    for (name, value) in [(RETRY_AFTER, &fault.retry_after), (LOCATION, &fault.location)] {
        if let Some(value) = value {
            reply = reply.with(name, value);
        }
    }
    reply
}

/// Source: <https://www.twilio.com/docs/api/errors>
const fn message_of(code: u32) -> &'static str {
    match code {
        20003 => "Authenticate",
        20004 => "Method not allowed",
        20005 => "Account not active",
        20006 => "Access Denied",
        20008 => "Resource not accessible with Test Account Credentials",
        20403 => "Forbidden",
        20404 => "The requested resource was not found",
        20409 => "Conflict",
        20410 => "Gone",
        20422 => "Invalid Parameter",
        20426 => "Upgrade Required",
        20429 => "Too Many Requests",
        20500 => "An internal server error has occurred",
        20503 => "Service unavailable",
        _ => "Something went wrong",
    }
}
