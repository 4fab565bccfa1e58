//! The services that may speak to us, their tokens and what each may do.

use std::collections::{BTreeMap, BTreeSet};

use super::{Role, table::Table};

use crate::domain::{CallerName, Namespace, Scope};

/// One of `[[callers]]`
#[derive(Clone, Debug)]
pub struct Caller {
    pub name: CallerName,
    /// What scopes its ids. Callers that speak of the same actions share one.
    pub namespace: Namespace,
    pub scopes: Scopes,
    /// SHA-256 of its tokens: one, or two while it changes from one to the next. No two callers share one.
    pub tokens_sha256: Vec<[u8; 32]>,
}

/// What a caller may do. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }
}

impl Caller {
    pub(super) fn read_all(root: &Table<'_>, role: Role) -> Vec<Self> {
        let tables = root.tables("callers");
        root.findings.rule(
            &["callers"],
            !tables.is_empty() || !role.takes_events(),
            "is missing: without a caller nobody could tell us anything; see confirmd token new",
        );
        let (mut names, mut digests) = (BTreeMap::new(), BTreeMap::new());
        tables.iter().filter_map(|table| Self::read(table, &mut names, &mut digests)).collect()
    }

    fn read(
        table: &Table<'_>,
        names: &mut BTreeMap<CallerName, String>,
        digests: &mut BTreeMap<[u8; 32], String>,
    ) -> Option<Self> {
        let name: Option<CallerName> = table.required("name");
        let namespace = if table.lacks("namespace") {
            table.text("namespace");
            Namespace::try_from("default".to_owned()).ok()
        } else {
            table.optional("namespace")
        };
        let scopes = scopes(table);
        let tokens_sha256 = tokens(table);
        if let Some(other) = name.clone().and_then(|name| names.insert(name, table.path("name"))) {
            table.fault("name", format!("is the name of {other} as well"));
        }
        for digest in &tokens_sha256 {
            if let Some(other) = digests.insert(*digest, table.path("tokens_sha256")) {
                table.fault("tokens_sha256", format!("has a token that {other} has as well"));
            }
        }
        Some(Self { name: name?, namespace: namespace?, scopes: Scopes(scopes), tokens_sha256 })
    }
}

fn scopes(table: &Table<'_>) -> BTreeSet<Scope> {
    const CHOICE: &str = "must hold one or more of ingest, read and operate, and nothing else";
    let texts = table.list("scopes");
    let known = |text: &&str| Scope::ALL.into_iter().find(|scope| scope.as_str() == *text);
    let scopes: Option<BTreeSet<_>> = texts.iter().flatten().map(known).collect();
    match (texts, scopes) {
        (None, _) if table.lacks("scopes") => table.fault("scopes", format!("is missing: {CHOICE}")),
        (None, _) => {}
        (Some(_), Some(scopes)) if !scopes.is_empty() => return scopes,
        (Some(_), _) => table.fault("scopes", CHOICE),
    }
    BTreeSet::new()
}

fn tokens(table: &Table<'_>) -> Vec<[u8; 32]> {
    const SHAPE: &str = "must hold one or two SHA-256 digests of tokens, 64 hex digits each";
    let texts = table.list("tokens_sha256");
    let digests: Option<Vec<_>> = texts.iter().flatten().map(|text| from_hex(text)).collect();
    match (texts, digests) {
        (None, _) if table.lacks("tokens_sha256") => table.fault("tokens_sha256", format!("is missing: {SHAPE}")),
        (None, _) => {}
        (Some(_), Some(digests)) if (1..=2).contains(&digests.len()) => return digests,
        (Some(_), _) => table.fault("tokens_sha256", SHAPE),
    }
    Vec::new()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<_> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<_> = digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}
