//! Who is calling: a bearer token, its digest, and the caller that it belongs to.

use std::sync::{Arc, RwLock};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::{problem::Problem, share::Share};
use crate::{
    domain::{CallerName, Namespace, Scope},
    store::Party,
};

/// A calling service, as it is configured.
#[derive(Clone, Debug)]
pub struct CallerOptions {
    pub name: CallerName,
    pub namespace: Namespace,
    pub scopes: Vec<Scope>,
    /// SHA-256 of each live token; two make rotation seamless.
    pub token_digests: Vec<[u8; 32]>,
}

/// Whoever sent this request. A handler that asks for it can only be reached with a valid token.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    options: Arc<CallerOptions>,
    share: Arc<Share>,
    party: Party,
}

impl Caller {
    pub(super) fn name(&self) -> &CallerName {
        &self.options.name
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.options.namespace
    }

    pub(super) fn may(&self, scope: Scope) -> bool {
        self.options.scopes.contains(&scope)
    }

    /// As whom it takes turns at the store.
    pub(super) fn party(&self) -> &Party {
        &self.party
    }

    /// What this caller has waiting, by whichever of its tokens.
    pub(super) fn share(&self) -> &Arc<Share> {
        &self.share
    }
}

/// Every configured caller, by the digests of its tokens. All clones see the ones that were set last.
#[derive(Clone)]
pub struct Callers(Arc<RwLock<ByDigest>>);

type ByDigest = Arc<[([u8; 32], Caller)]>;

impl From<Vec<CallerOptions>> for Callers {
    fn from(callers: Vec<CallerOptions>) -> Self {
        Self(Arc::new(RwLock::new(by_digest(callers, &[]))))
    }
}

/// Who was known before keeps what it has waiting.
fn by_digest(callers: Vec<CallerOptions>, before: &[([u8; 32], Caller)]) -> ByDigest {
    let by_digest = callers.into_iter().flat_map(|options| {
        let digests = options.token_digests.clone();
        let known = before.iter().find(|(_, known)| *known.name() == options.name);
        let share = known.map(|(_, known)| known.share.clone()).unwrap_or_default();
        let caller = Caller { party: Party::from(&options.name), options: Arc::new(options), share };
        digests.into_iter().map(move |digest| (digest, caller.clone()))
    });
    by_digest.collect()
}

impl Callers {
    /// From now on these may call, and nobody else. Requests that have begun go on.
    pub fn set(&self, callers: Vec<CallerOptions>) {
        let mut known = self.0.write().expect("no holder panics");
        *known = by_digest(callers, &known);
    }

    /// Compares with every digest, whichever fits: how long it takes says nothing about any of them.
    pub(super) fn find(&self, token: &[u8]) -> Option<Caller> {
        let callers = self.0.read().expect("no holder panics").clone();
        let told: [u8; 32] = Sha256::digest(token).into();
        let mut found = u32::MAX;
        for (index, (digest, _)) in (0_u32..).zip(callers.iter()) {
            found.conditional_assign(&index, told.ct_eq(digest));
        }
        callers.get(usize::try_from(found).ok()?).map(|(_, caller)| caller.clone())
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut told = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (told.next(), told.next()) else { return None };
    let (scheme, token) = only.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().cloned().ok_or(Problem::Unauthorized)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn callers() -> Callers {
        let caller = |name: &str, tokens: &[&str]| CallerOptions {
            name: name.to_owned().try_into().unwrap(),
            namespace: "default".to_owned().try_into().unwrap(),
            scopes: vec![Scope::Ingest],
            token_digests: tokens.iter().map(|token| Sha256::digest(token).into()).collect(),
        };
        vec![caller("login", &["old", "new"]), caller("signup", &["other"])].into()
    }

    fn who(values: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        let callers = callers();
        let caller = callers.find(bearer(&headers).unwrap_or_default())?;
        Some(caller.name().to_string())
    }

    #[test]
    fn each_live_token_names_its_caller() {
        assert_eq!(who(&[b"Bearer old"]).as_deref(), Some("login"));
        assert_eq!(who(&[b"bearer new"]).as_deref(), Some("login"));
        assert_eq!(who(&[b"Bearer other"]).as_deref(), Some("signup"));
    }

    #[test]
    fn every_wrong_form_names_nobody() {
        assert_eq!(who(&[]), None);
        assert_eq!(who(&[b"Bearer old", b"Bearer old"]), None, "two headers");
        for wrong in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Bearer  old",
            b"Bearer old ",
            b"Bearer Old",
            b"Bearer ol",
            b"Bearer oldd",
            b"Bearer\told",
            b"Basic old",
            b"Bearerold",
            b"old",
            b"Token old",
            b"Bearer \xff\xfe",
            b"Bearer \"old\"",
            b"Bearer old,Bearer old",
        ] {
            assert_eq!(who(&[wrong]), None, "{wrong:?}");
        }
    }

    #[test]
    fn callers_that_are_set_anew_are_known_at_once_and_the_others_no_more() {
        let (callers, others) = (callers(), callers());
        let seen = callers.clone();
        callers.set(vec![CallerOptions {
            name: "billing".to_owned().try_into().unwrap(),
            namespace: "default".to_owned().try_into().unwrap(),
            scopes: vec![Scope::Read],
            token_digests: vec![Sha256::digest("newest").into()],
        }]);
        assert_eq!(seen.find(b"newest").unwrap().name().as_str(), "billing");
        assert!(seen.find(b"old").is_none());
        assert!(others.find(b"old").is_some(), "others' callers are their own");
    }

    #[test]
    fn a_caller_has_one_share_whatever_its_token_and_however_often_it_is_set_anew() {
        let set = callers();
        let share = |token: &[u8]| set.find(token).unwrap().share().clone();
        let old = share(b"old");
        assert!(Arc::ptr_eq(&old, &share(b"new")));
        assert!(!Arc::ptr_eq(&old, &share(b"other")));
        set.set(vec![CallerOptions {
            name: "login".to_owned().try_into().unwrap(),
            namespace: "default".to_owned().try_into().unwrap(),
            scopes: vec![Scope::Ingest],
            token_digests: vec![Sha256::digest("newest").into()],
        }]);
        assert!(Arc::ptr_eq(&old, &share(b"newest")));
    }

    #[test]
    fn without_callers_nobody_gets_in() {
        assert!(Callers::from(Vec::new()).find(b"").is_none());
    }
}
