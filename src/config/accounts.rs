//! The Twilio accounts: each with its own credentials, host, and share of Twilio's concurrency.

use std::collections::BTreeMap;

use super::{
    Role,
    credentials::{self, Credentials},
    host::{self, HostLabel},
    table::Table,
};
use crate::domain::{AccountSid, LaneName};

/// One of `[[accounts]]`
#[derive(Clone, Debug)]
pub struct Account {
    pub account_sid: AccountSid,
    /// What metrics and logs call it, where the SID must not stand: `lane-1` by position, if it has no name.
    pub name: LaneName,
    pub credentials: Credentials,
    /// Tried when the first are refused.
    pub second: Option<Credentials>,
    pub region: Option<String>,
    pub edge: Option<String>,
    /// `delivery.base_url` with this account's region and edge: scheme, host and port, without a slash at its end.
    pub base_url: String,
    /// Requests that confirmd has in flight at most.
    pub max_concurrency: u32,
    /// When Twilio says that more than this are in flight for the account, whoever sent them, feedback yields.
    pub yield_above: u32,
    /// Everything is done but the request to Twilio.
    pub shadow: bool,
}

impl Account {
    pub(super) fn read_all(root: &Table<'_>, base_url: &str, role: Role) -> Vec<Self> {
        let tables = root.tables("accounts");
        root.findings.rule(
            &["accounts"],
            !tables.is_empty() || role == Role::Operator,
            "is missing: give TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, or [[accounts]]",
        );
        let (mut sids, mut names) = (BTreeMap::new(), BTreeMap::new());
        let positions = 1..;
        let accounts = tables.iter().zip(positions).filter_map(|(table, position)| {
            let account = Self::read(table, position, base_url)?;
            if let Some(other) = sids.insert(account.account_sid.clone(), table.path("account_sid")) {
                table.fault("account_sid", format!("is the SID of {other} as well"));
            }
            if let Some(other) = names.insert(account.name.clone(), table.path("name")) {
                table.fault("name", format!("is the name of {other} as well"));
            }
            Some(account)
        });
        accounts.collect()
    }

    fn read(table: &Table<'_>, position: usize, base_url: &str) -> Option<Self> {
        let account_sid: Option<AccountSid> = table.required("account_sid");
        let name = lane_name(table, position);
        let credentials = credentials::read(table);
        let second = table.optional_table("second").map(|second| credentials::read(&second));
        let region = table.optional("region").map(|HostLabel(region)| region);
        let edge = table.optional("edge").map(|HostLabel(edge)| edge);
        const NEEDS_EDGE: &str = "needs its edge as well: Twilio serves a region without an edge from us1, where this \
                                  account's credentials are wrong";
        let (region_path, edge_path) = (table.path("region"), table.path("edge"));
        let served_there = edge.is_some() || region.as_deref().is_none_or(|region| region == "us1");
        table.findings.rule(&[&region_path, &edge_path], served_there, NEEDS_EDGE);
        let base_url = host::host(base_url, region.as_deref(), edge.as_deref());
        let served_there = !host::lacks_edge(&base_url);
        table.findings.rule(&["delivery.base_url", &region_path, &edge_path], served_there, NEEDS_EDGE);
        let max_concurrency = table.number_or("max_concurrency", 1..=10_000, Some(32));
        let yield_above = table.number_or("yield_above", 1..=10_000, Some(64));
        let shadow = table.flag_or("shadow", false);
        table.findings.rule(
            &[&table.path("max_concurrency"), &table.path("yield_above")],
            max_concurrency <= yield_above,
            "must be at most yield_above, or feedback would yield to itself",
        );
        Some(Self {
            account_sid: account_sid?,
            name: name?,
            credentials: credentials?,
            second: second.flatten(),
            region,
            edge,
            base_url,
            max_concurrency,
            yield_above,
            shadow,
        })
    }
}

/// By position, because metrics may be seen by people who should not know the SID.
fn lane_name(table: &Table<'_>, position: usize) -> Option<LaneName> {
    if table.lacks("name") {
        table.text("name");
        return LaneName::try_from(format!("lane-{position}")).ok();
    }
    let name: LaneName = table.optional("name")?;
    if AccountSid::try_from(name.as_str().to_owned()).is_ok() {
        table.fault("name", "must not be an account SID: metrics show it");
    }
    Some(name)
}
