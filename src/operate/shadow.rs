//! What a process says of shadow when it starts: which lanes send nothing, and what becomes of what they did not send.

use crate::domain::{AccountSid, DeadReason, LaneName, LetterReason};
use crate::store::{LetterFilter, Store, StoreError};

/// Says so for each lane that is in shadow, or was.
///
/// # Errors
/// Where Postgres does not answer.
pub async fn tell(store: &Store, lanes: &[(AccountSid, LaneName, bool)]) -> Result<(), StoreError> {
    for (account_sid, lane, shadow) in lanes {
        let reason = Some(LetterReason::Dead(DeadReason::Shadowed));
        let account_sid = Some(account_sid.clone());
        let shadowed = store.operator.count(&LetterFilter { reason, account_sid, ..LetterFilter::default() }).await?;
        if *shadow {
            tracing::warn!(%lane, shadowed, "In shadow: everything is done but the request, and Twilio hears nothing");
        } else if 0 < shadowed {
            tracing::info!(%lane, shadowed, "Was in shadow: what was shadowed stays unsent; `confirmd dead-letters replay --reason shadowed` sends it");
        }
    }
    Ok(())
}
