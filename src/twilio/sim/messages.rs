//! The messages that the simulated Twilio knows, and what may be asked of them besides Feedback.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use hyper::Method;
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::create::{self, Creation};
use super::message::{FeedbackOutcome, Message, MessageResource, Stage};
use super::reply::Reply;
use super::request::Heard;
use super::served::Served;
use crate::domain::{AccountSid, MessageSid};

/// Largest page of a list.
const LARGEST_PAGE: usize = 1000;

/// The latest messages, at most `most` of them.
#[derive(Debug)]
pub(super) struct Messages {
    known: HashMap<MessageSid, Message>,
    oldest_first: VecDeque<MessageSid>,
    most: usize,
}

impl Messages {
    pub(super) fn new(most: usize) -> Self {
        Self { known: HashMap::new(), oldest_first: VecDeque::new(), most }
    }

    /// Whatever became of it, also after it was deleted.
    pub(super) fn record(&self, message: &MessageSid) -> Option<&Message> {
        self.known.get(message)
    }

    pub(super) fn get_mut(&mut self, account: &AccountSid, message: &MessageSid) -> Option<&mut Message> {
        self.known.get_mut(message).filter(|message| message.account_sid == *account && !message.deleted)
    }

    /// Counts a Feedback request for a message that is known, whoever's it is.
    pub(super) fn count_feedback_request(&mut self, message: &MessageSid) -> Option<&Message> {
        let message = self.known.get_mut(message)?;
        message.feedback_requests += 1;
        Some(message)
    }

    /// Makes a message known that was not sent from here, as one that asked for Feedback.
    pub(super) fn meet(&mut self, account: &AccountSid, message: &MessageSid, now: DateTime<Utc>) {
        if !self.known.contains_key(message) {
            self.add(account.clone(), message.clone(), None, now);
        }
    }

    fn add(&mut self, account_sid: AccountSid, sid: MessageSid, sent: Option<Creation>, now: DateTime<Utc>) {
        if self.most <= self.oldest_first.len() {
            self.oldest_first.pop_front().and_then(|oldest| self.known.remove(&oldest));
        }
        let message = Message {
            message_sid: sid.clone(),
            account_sid,
            created_at: now,
            updated_at: now,
            known_since: Instant::now(),
            provide_feedback: sent.as_ref().is_none_or(|sent| sent.provide_feedback),
            sent: sent.map(Box::new),
            canceled: false,
            deleted: false,
            feedback_requests: 0,
            outcome: FeedbackOutcome::Unconfirmed,
            confirmed: 0,
        };
        self.oldest_first.push_back(sid.clone());
        self.known.insert(sid, message);
    }

    /// `POST …/Messages.json` and `GET …/Messages.json`.
    pub(super) fn serve_all(&mut self, account: &AccountSid, heard: &Heard, now: DateTime<Utc>) -> Served {
        match heard.method {
            Method::POST => match create::read(&heard.form(), now) {
                Ok(creation) => self.create(account, creation, now),
                Err(refusal) => Served::refused(Reply::error(400, refusal.code, &refusal.message)),
            },
            Method::GET => Served::unchanged(self.list(account, heard)),
            _ => Served::refused(Reply::method_not_allowed()),
        }
    }

    /// Where media come along the SID says so, and the request's id has the digits of the message's.
    fn create(&mut self, account: &AccountSid, creation: Creation, now: DateTime<Utc>) -> Served {
        let hex = Uuid::new_v4().simple().to_string();
        let prefix = if creation.num_media == 0 { "SM" } else { "MM" };
        let sid = MessageSid::try_from(format!("{prefix}{hex}")).expect("a UUID has 32 hex digits");
        self.add(account.clone(), sid.clone(), Some(creation), now);
        match self.known.get(&sid) {
            Some(message) => {
                let reply = Reply::json(201, &message.resource(Stage::Created));
                Served::changed(reply.with_request_hex(hex))
            }
            // only a simulator that may keep no message at all
            None => Served::refused(Reply::error(500, 20500, "An internal server error has occurred")),
        }
    }

    /// `GET`, `POST` and `DELETE …/Messages/{sid}.json`.
    pub(super) fn serve_one(
        &mut self,
        account: &AccountSid,
        sid: &MessageSid,
        heard: &Heard,
        now: DateTime<Utc>,
    ) -> Served {
        let Some(message) = self.get_mut(account, sid) else {
            return Served::refused(Reply::not_found(&heard.path));
        };
        match heard.method {
            Method::GET => Served::unchanged(Reply::json(200, &message.resource(Stage::Later))),
            Method::POST => update(message, heard, now),
            Method::DELETE => {
                message.deleted = true;
                message.sent = None;
                Served::changed(Reply::empty(204))
            }
            _ => Served::refused(Reply::method_not_allowed()),
        }
    }

    /// Newest first, in pages.
    fn list(&self, account: &AccountSid, heard: &Heard) -> Reply {
        let parameter = |key: &str| heard.query.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str());
        let number = |key: &str, usual: usize| parameter(key).and_then(|text| text.parse().ok()).unwrap_or(usual);
        let page_size = number("PageSize", 50).clamp(1, LARGEST_PAGE);
        let page = number("Page", 0);
        let start = page.saturating_mul(page_size);
        let wanted = |message: &&Message| {
            let sent = message.sent.as_deref();
            let matches = |key: &str, value: Option<&str>| parameter(key).is_none_or(|wanted| value == Some(wanted));
            message.account_sid == *account
                && !message.deleted
                && matches("To", sent.map(|sent| sent.to.as_str()))
                && matches("From", sent.and_then(|sent| sent.from.as_deref()))
        };
        let newest_first = self.oldest_first.iter().rev().filter_map(|sid| self.known.get(sid)).filter(wanted);
        // one more than the page, to see whether there is a next one
        let found: Vec<_> = newest_first.skip(start).take(page_size + 1).collect();
        let messages: Vec<_> = found.iter().take(page_size).map(|message| message.resource(Stage::Later)).collect();
        let uri = |page: usize| format!("{}?PageSize={page_size}&Page={page}", heard.path);
        Reply::json(
            200,
            &MessagePage {
                end: (start + messages.len()).saturating_sub(1),
                first_page_uri: uri(0),
                next_page_uri: (page_size < found.len()).then(|| uri(page + 1)),
                page,
                page_size,
                previous_page_uri: page.checked_sub(1).map(uri),
                messages,
                start,
                uri: uri(page),
            },
        )
    }
}

/// An empty body redacts the message; the status `canceled` stops one that is scheduled. One of them at a time.
fn update(message: &mut Message, heard: &Heard, now: DateTime<Utc>) -> Served {
    let form = heard.form();
    match (form.get("Body"), form.get("Status")) {
        (Some(""), None) => message.sent.iter_mut().for_each(|sent| sent.body.clear()),
        (None, Some("canceled")) if message.is_scheduled() => message.canceled = true,
        (None, Some("canceled")) => {
            return Served::refused(Reply::error(409, 30409, "This message cannot be canceled"));
        }
        _ => return Served::refused(Reply::error(400, 30400, "Parameters are not valid")),
    }
    message.updated_at = now;
    Served::changed(Reply::json(200, &message.resource(Stage::Later)))
}

#[derive(Debug, Serialize)]
struct MessagePage<'a> {
    end: usize,
    first_page_uri: String,
    next_page_uri: Option<String>,
    page: usize,
    page_size: usize,
    previous_page_uri: Option<String>,
    messages: Vec<MessageResource<'a>>,
    start: usize,
    uri: String,
}
