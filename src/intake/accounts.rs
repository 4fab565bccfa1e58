//! The configured accounts: which of them a message belongs to.

use std::sync::Arc;

use super::{fault::Faults, field::Field};
use crate::domain::AccountSid;

const POINTER: &str = "/account_sid";

#[derive(Clone)]
pub(super) struct Accounts(Arc<[AccountSid]>);

impl Accounts {
    pub(super) fn new(accounts: Vec<AccountSid>) -> Self {
        Self(accounts.into())
    }

    pub(super) fn has(&self, account_sid: &AccountSid) -> bool {
        self.0.contains(account_sid)
    }

    /// The account that the caller names, or else the only one there is.
    pub(super) fn owner(&self, told: Field<AccountSid>, faults: &mut Faults) -> Option<AccountSid> {
        match (told, &*self.0) {
            (Field::Absent, [only]) => Some(only.clone()),
            (Field::Absent, _) => {
                faults.at(POINTER, "must be given, unless exactly one account is configured");
                None
            }
            (Field::Given(account_sid), _) if !self.has(&account_sid) => {
                faults.at(POINTER, "must be an account that is configured here");
                None
            }
            (told, _) => told.optional(POINTER, faults),
        }
    }
}
