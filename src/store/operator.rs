//! All that an operator can change: pause and resume lanes here, bring dead letters back in [`super::replay`]. What is
//! done stands on record with the name of who did it.

use uuid::Uuid;

use super::clock::Clock;
use super::operation::{Deed, record};
use super::session::Sessions;
use super::{LaneView, StoreError, lanes};
use crate::domain::{AccountSid, Actor};

/// What operators may do. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    pub(super) sessions: Sessions,
    pub(super) clock: Clock,
    pub(super) accounts: Vec<AccountSid>,
    pub(super) actor: Actor,
}

impl Operator {
    /// The same rights, in somebody's name.
    pub fn by(&self, actor: Actor) -> Self {
        Self { actor, ..self.clone() }
    }

    /// Stops a lane until somebody resumes it. Its work waits, and no attempt is counted.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn pause(&self, account_sid: &AccountSid, reason: &str) -> Result<LaneView, StoreError> {
        let (account, reason, now) = (account_sid.as_str().to_owned(), reason.to_owned(), self.clock.now());
        let deed = self.deed("pause", &account, Some(&reason));
        self.sessions
            .transaction(move |session| {
                let (account, reason, deed) = (account.clone(), reason.clone(), deed.clone());
                Box::pin(async move {
                    sqlx::query(
                        "-- Operator::pause
                        insert into account_lane (account_sid, paused_reason, paused_by, paused_at)
                        values ($1, $2, 'operator', coalesce($3, clock_timestamp()))
                        on conflict (account_sid) do update
                        set paused_reason = excluded.paused_reason, paused_by = excluded.paused_by,
                            paused_at = coalesce(account_lane.paused_at, excluded.paused_at), probe_at = null",
                    )
                    .bind(account)
                    .bind(reason)
                    .bind(now)
                    .execute(&mut *session)
                    .await?;
                    record(session, &deed, 1, None, now).await
                })
            })
            .await?;
        self.lane(account_sid).await
    }

    /// Lets a lane send again, whoever paused it.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn resume(&self, account_sid: &AccountSid) -> Result<LaneView, StoreError> {
        let now = self.clock.now();
        let account = account_sid.clone();
        let deed = self.deed("resume", account_sid.as_str(), None);
        self.sessions
            .transaction(move |session| {
                let (account, deed) = (account.clone(), deed.clone());
                Box::pin(async move {
                    let resumed = lanes::resume(session, &account, None).await?;
                    record(session, &deed, resumed, None, now).await
                })
            })
            .await?;
        self.lane(account_sid).await
    }

    pub(super) fn deed(&self, what: &'static str, subject: &str, reason: Option<&str>) -> Deed {
        Deed {
            // Of one deed that is tried twice, one row stays.
            operation_id: Uuid::now_v7(),
            run_id: Uuid::now_v7(),
            actor: self.actor.clone(),
            what,
            subject: subject.to_owned(),
            reason: reason.map(str::to_owned),
        }
    }

    async fn lane(&self, account_sid: &AccountSid) -> Result<LaneView, StoreError> {
        let mut also = self.accounts.clone();
        also.push(account_sid.clone());
        let lanes = lanes::lanes(&self.sessions, &self.clock, &also).await?;
        lanes
            .into_iter()
            .find(|lane| lane.account_sid == *account_sid)
            .ok_or(StoreError::Postgres(sqlx::Error::RowNotFound))
    }
}
