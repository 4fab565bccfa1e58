//! Whose credentials they are, and how many requests each account has under way.

use std::collections::HashMap;

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::options::SimulatedAccount;
use super::request::Credentials;
use crate::domain::AccountSid;

#[derive(Debug)]
pub(super) struct Accounts(HashMap<AccountSid, Account>);

#[derive(Debug)]
struct Account {
    auth_token: SecretString,
    api_keys: Vec<(String, SecretString)>,
    /// Requests under way, refused ones among them until they are answered.
    present: u32,
    /// Those of them that were not refused by the concurrency limit.
    admitted: u32,
    most_present: u32,
}

/// A request's place among those of its account. It is given back with [`Accounts::leave`].
#[derive(Debug)]
pub(super) struct Place {
    account: AccountSid,
    pub(super) admitted: bool,
    /// Requests of the account under way, this one among them.
    pub(super) present: u32,
}

impl Accounts {
    pub(super) fn new(accounts: Vec<SimulatedAccount>) -> Self {
        let open = |account: SimulatedAccount| {
            let SimulatedAccount { account_sid, auth_token, api_keys } = account;
            (account_sid, Account { auth_token, api_keys, present: 0, admitted: 0, most_present: 0 })
        };
        Self(accounts.into_iter().map(open).collect())
    }

    /// Basic credentials only: an account's SID with its token, or one of its API keys with its secret.
    pub(super) fn owner(&self, credentials: Option<&Credentials>) -> Option<AccountSid> {
        let credentials = credentials?;
        let is_owner = |(sid, account): &(&AccountSid, &Account)| {
            let token = [(sid.as_str(), &account.auth_token)].into_iter();
            let keys = account.api_keys.iter().map(|(key, secret)| (key.as_str(), secret));
            token.chain(keys).any(|(user, secret)| user == credentials.user && same(secret, &credentials.secret))
        };
        self.0.iter().find(is_owner).map(|(sid, _)| sid.clone())
    }

    /// From now on only the new token opens the account. False where there is no such account.
    pub(super) fn rotate(&mut self, account: &AccountSid, token: SecretString) -> bool {
        match self.0.get_mut(account) {
            Some(account) => {
                account.auth_token = token;
                true
            }
            None => false,
        }
    }

    pub(super) fn enter(&mut self, owner: AccountSid, limit: Option<u32>) -> Place {
        let (admitted, present) = match self.0.get_mut(&owner) {
            Some(account) => {
                let admitted = limit.is_none_or(|limit| account.admitted < limit);
                account.admitted += u32::from(admitted);
                account.present += 1;
                account.most_present = account.most_present.max(account.present);
                (admitted, account.present)
            }
            None => (false, 0),
        };
        Place { account: owner, admitted, present }
    }

    pub(super) fn leave(&mut self, place: &Place) {
        if let Some(account) = self.0.get_mut(&place.account) {
            account.present -= 1;
            account.admitted -= u32::from(place.admitted);
        }
    }

    pub(super) fn most_present(&self, account: &AccountSid) -> u32 {
        self.0.get(account).map_or(0, |account| account.most_present)
    }
}

impl Place {
    pub(super) const fn account(&self) -> &AccountSid {
        &self.account
    }
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret().as_bytes().ct_eq(other.expose_secret().as_bytes()).into()
}
