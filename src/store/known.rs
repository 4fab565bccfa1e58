//! Which events were taken before: what an import asks before it does anything.

use super::fingerprint::fingerprint;
use super::row::column;
use super::{Ledger, StoreError};
use crate::domain::Event;

impl Ledger {
    /// Of each event, in their order: nothing if its key is new, else whether it was taken with the same content.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn known(&self, events: &[Event]) -> Result<Vec<Option<bool>>, StoreError> {
        let namespaces = column(events, |event: &Event| event.key.namespace.as_str().to_owned());
        let event_ids = column(events, |event: &Event| event.key.event_id.as_str().to_owned());
        let fingerprints = column(events, |event| fingerprint(event).to_vec());
        self.sessions
            .run(move |session| {
                let (namespaces, event_ids, fingerprints) =
                    (namespaces.clone(), event_ids.clone(), fingerprints.clone());
                Box::pin(async move {
                    sqlx::query_scalar(
                        "-- Ledger::known
                        select event.fingerprint = told.fingerprint
                        from unnest($1::text[], $2::text[], $3::bytea[]) with ordinality
                             as told (namespace, event_id, fingerprint, place)
                        left join event on event.namespace = told.namespace and event.event_id = told.event_id
                        order by told.place",
                    )
                    .bind(namespaces)
                    .bind(event_ids)
                    .bind(fingerprints)
                    .fetch_all(session)
                    .await
                })
            })
            .await
    }
}
