//! All that the simulated Twilio knows, and the one place that decides what a request gets.

use chrono::{DateTime, Utc};
use hyper::Method;
use serde::Serialize;

use super::accounts::{Accounts, Place};
use super::clock::rfc_2822;
use super::fault::Faults;
use super::feedback::FeedbackDesk;
use super::ledger::Ledger;
use super::messages::Messages;
use super::options::SimulatorOptions;
use super::reply::Reply;
use super::request::{Heard, Route};
use super::served::Served;
use crate::domain::AccountSid;

#[derive(Debug)]
pub(super) struct State {
    pub(super) accounts: Accounts,
    pub(super) messages: Messages,
    pub(super) faults: Faults,
    pub(super) ledger: Ledger,
}

impl State {
    pub(super) fn new(options: &SimulatorOptions) -> Self {
        let mut faults = Faults::default();
        options.faults.iter().cloned().for_each(|rule| faults.play(rule));
        Self {
            accounts: Accounts::new(options.accounts.clone()),
            messages: Messages::new(options.most_messages),
            faults,
            ledger: Ledger::new(options.longest_ledger),
        }
    }

    /// First who asks, then whether there is room for one more, then what is asked.
    pub(super) fn decide(
        &mut self,
        options: &SimulatorOptions,
        heard: &Heard,
        route: &Route,
        now: DateTime<Utc>,
    ) -> (Option<Place>, Served) {
        let Some(owner) = self.accounts.owner(heard.credentials.as_ref()) else {
            return (None, Served::refused(Reply::unauthorized()));
        };
        let place = self.accounts.enter(owner, options.concurrency_limit);
        let served = match place.admitted {
            true => self.serve(options, place.account(), heard, route, now),
            false => Served::refused(Reply::too_many_requests()),
        };
        (Some(place), served)
    }

    fn serve(
        &mut self,
        options: &SimulatorOptions,
        owner: &AccountSid,
        heard: &Heard,
        route: &Route,
        now: DateTime<Utc>,
    ) -> Served {
        // nobody learns anything of another account, not even that it exists
        if route.account() != Some(owner) {
            return Served::refused(Reply::not_found(&heard.path));
        }
        match route {
            Route::Account(account) if heard.method == Method::GET => Served::unchanged(account_resource(account, now)),
            Route::Account(_) => Served::refused(Reply::method_not_allowed()),
            Route::Messages(account) => self.messages.serve_all(account, heard, now),
            Route::Message(account, sid) => self.messages.serve_one(account, sid, heard, now),
            Route::Feedback(account, sid) => {
                let Self { messages, faults, .. } = self;
                FeedbackDesk { options, messages, faults, now }.serve(account, sid, heard)
            }
            Route::Unknown => Served::refused(Reply::not_found(&heard.path)),
        }
    }
}

/// What a client may fetch to see whether its credentials are good.
fn account_resource(account: &AccountSid, now: DateTime<Utc>) -> Reply {
    #[derive(Serialize)]
    struct Account<'a> {
        sid: &'a str,
        friendly_name: &'static str,
        status: &'static str,
        r#type: &'static str,
        date_created: String,
        date_updated: String,
        owner_account_sid: &'a str,
        uri: String,
    }
    let date = rfc_2822(now);
    let resource = Account {
        sid: account.as_str(),
        friendly_name: "Simulated account",
        status: "active",
        r#type: "Full",
        date_created: date.clone(),
        date_updated: date,
        owner_account_sid: account.as_str(),
        uri: format!("/2010-04-01/Accounts/{account}.json"),
    };
    Reply::json(200, &resource)
}
