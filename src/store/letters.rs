//! Dead letters: feedback that was given up and events that expired, listed together, and brought back.

use chrono::{DateTime, SecondsFormat, Utc};

use super::row::{count, parsed, parsed_if_any, small};
use super::session::Sessions;
use super::{Cursor, DeadLetter, LetterFilter, LetterSubject, Page, StoreError};
use crate::domain::{AccountSid, EventId, LetterReason, MessageSid, Namespace};

/// A filter as the parameters of a statement.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) namespace: Option<String>,
    pub(super) reason: Option<&'static str>,
    pub(super) account_sid: Option<String>,
    pub(super) message_sid: Option<String>,
    pub(super) event_id: Option<String>,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) until: Option<DateTime<Utc>>,
}

impl From<&LetterFilter> for Terms {
    fn from(filter: &LetterFilter) -> Self {
        Self {
            namespace: filter.namespace.as_ref().map(Namespace::as_str).map(str::to_owned),
            reason: filter.reason.map(LetterReason::as_str),
            account_sid: filter.account_sid.as_ref().map(AccountSid::as_str).map(str::to_owned),
            message_sid: filter.message_sid.as_ref().map(MessageSid::as_str).map(str::to_owned),
            event_id: filter.event_id.as_ref().map(EventId::as_str).map(str::to_owned),
            since: filter.since,
            until: filter.until,
        }
    }
}

impl Terms {
    /// As the record of a replay has it. The same filter is always the same words.
    pub(super) fn in_words(&self) -> String {
        let time = |at: Option<DateTime<Utc>>| at.map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true));
        let words = [
            ("namespace", self.namespace.clone()),
            ("reason", self.reason.map(str::to_owned)),
            ("account", self.account_sid.clone()),
            ("message", self.message_sid.clone()),
            ("event", self.event_id.clone()),
            ("since", time(self.since)),
            ("until", time(self.until)),
        ];
        let told: Vec<String> =
            words.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value}"))).collect();
        if told.is_empty() { "all".to_owned() } else { told.join(", ") }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    namespace: String,
    message_sid: Option<String>,
    event_id: Option<String>,
    action_id: Option<String>,
    account_sid: Option<String>,
    reason: String,
    attempts: i32,
    last_status: Option<i32>,
    last_code: Option<i32>,
    died_at: DateTime<Utc>,
}

pub(super) async fn page(
    sessions: &Sessions,
    filter: &LetterFilter,
    limit: u32,
    from: Option<Cursor>,
) -> Result<Page<DeadLetter>, StoreError> {
    let terms = Terms::from(filter);
    let (before, id) = from.map(|cursor| (cursor.died_at, cursor.id)).unzip();
    let rows: Vec<Row> = sessions
        .run(move |session| {
            let (terms, id) = (terms.clone(), id.clone());
            Box::pin(async move {
                sqlx::query_as(PAGE)
                    .bind(terms.namespace)
                    .bind(terms.reason)
                    .bind(terms.account_sid)
                    .bind(terms.message_sid)
                    .bind(terms.event_id)
                    .bind(before)
                    .bind(id)
                    // One more than asked for tells whether there is a next page.
                    .bind(i64::from(limit) + 1)
                    .bind(terms.since)
                    .bind(terms.until)
                    .fetch_all(session)
                    .await
            })
        })
        .await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = limit < rows.len();
    let last = rows.get(limit.saturating_sub(1)).map(|row| Cursor { died_at: row.died_at, id: row.id.clone() });
    let items = rows.into_iter().take(limit).map(letter).collect::<Result<_, _>>()?;
    Ok(Page { items, next: last.filter(|_| more) })
}

fn letter(row: Row) -> Result<DeadLetter, sqlx::Error> {
    let subject = match (row.message_sid, row.account_sid, row.event_id) {
        (Some(message_sid), Some(account_sid), _) => LetterSubject::Feedback {
            message_sid: parsed(message_sid)?,
            account_sid: parsed(account_sid)?,
            attempts: small(row.attempts),
            last_status: row.last_status.and_then(|status| u16::try_from(status).ok()),
            last_code: row.last_code.map(small),
        },
        (_, _, event_id) => LetterSubject::Event { event_id: parsed(event_id.unwrap_or_default())? },
    };
    Ok(DeadLetter {
        namespace: parsed(row.namespace)?,
        subject,
        action_id: parsed_if_any(row.action_id)?,
        reason: row.reason,
        died_at: row.died_at,
    })
}

/// How many a filter matches.
pub(super) async fn matched(sessions: &Sessions, filter: &LetterFilter) -> Result<u64, StoreError> {
    let terms = Terms::from(filter);
    if terms.message_sid.is_none() && terms.event_id.is_none() && terms.since.is_none() && terms.until.is_none() {
        return tallied(sessions, terms).await;
    }
    let number: i64 = sessions
        .run(move |session| {
            let terms = terms.clone();
            Box::pin(async move {
                sqlx::query_scalar(
                    "-- Operator::count
                    select (select count(*) from dead_letter
                            where ($1::text is null or namespace = $1) and ($2::text is null or reason = $2)
                              and ($3::text is null or account_sid = $3) and ($4::text is null or message_sid = $4)
                              and $5::text is null and ($2::text is not null or $4::text is not null or reason <> 'shadowed')
                              and ($6::timestamptz is null or died_at >= $6) and ($7::timestamptz is null or died_at < $7))
                         + (select count(*) from expired
                            where ($1::text is null or namespace = $1) and ($2::text is null or $2 = 'expired')
                              and $3::text is null and $4::text is null and ($5::text is null or event_id = $5)
                              and ($6::timestamptz is null or expired_at >= $6) and ($7::timestamptz is null or expired_at < $7))",
                )
                .bind(terms.namespace)
                .bind(terms.reason)
                .bind(terms.account_sid)
                .bind(terms.message_sid)
                .bind(terms.event_id)
                .bind(terms.since)
                .bind(terms.until)
                .fetch_one(session)
                .await
            })
        })
        .await?;
    Ok(count(number))
}

/// The same, where the tally has it: however many there are.
async fn tallied(sessions: &Sessions, terms: Terms) -> Result<u64, StoreError> {
    let number: i64 = sessions
        .run(move |session| {
            let terms = terms.clone();
            Box::pin(async move {
                sqlx::query_scalar(
                    "-- Operator::count, of the tally
                    select coalesce(sum(letters), 0)::bigint
                    from dead_letter_tally
                    where ($1::text is null or namespace = $1)
                      and (reason = $2 or $2 is null and reason <> 'shadowed')
                      and ($3::text is null or account_sid = $3)",
                )
                .bind(terms.namespace)
                .bind(terms.reason)
                .bind(terms.account_sid)
                .fetch_one(session)
                .await
            })
        })
        .await?;
    Ok(count(number))
}

const PAGE: &str = "-- Ledger::dead_letters
    (
        select dead_letter.message_sid as id, dead_letter.namespace, dead_letter.message_sid, null as event_id,
               message.action_id, dead_letter.account_sid, reason, attempts, last_status, last_code, died_at
        from dead_letter left join message using (message_sid)
        where ($1::text is null or dead_letter.namespace = $1)
          and ($2::text is null or reason = $2)
          and ($3::text is null or dead_letter.account_sid = $3)
          and ($4::text is null or dead_letter.message_sid = $4)
          and $5::text is null
          and ($2::text is not null or $4::text is not null or reason <> 'shadowed')
          and ($6::timestamptz is null or (died_at, dead_letter.message_sid) < ($6, $7))
          and ($9::timestamptz is null or died_at >= $9) and ($10::timestamptz is null or died_at < $10)
        order by died_at desc, dead_letter.message_sid desc
        limit $8
    )
    union all
    (
        select event_id as id, namespace, null, event_id, action_id, null, 'expired', 0, null, null, expired_at
        from expired
        where ($1::text is null or namespace = $1)
          and ($2::text is null or $2 = 'expired')
          and $3::text is null
          and $4::text is null
          and ($5::text is null or event_id = $5)
          and ($6::timestamptz is null or (expired_at, event_id) < ($6, $7))
          and ($9::timestamptz is null or expired_at >= $9) and ($10::timestamptz is null or expired_at < $10)
        order by expired_at desc, event_id desc
        limit $8
    )
    order by died_at desc, id desc
    limit $8";
