//! A past: what a database holds after a long life, made quickly.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::{PgArgumentBuffer, PgConnection};
use sqlx::{AssertSqlSafe, Encode, Postgres};
use tokio::sync::Mutex;

use super::ids;
use super::rig::Database;

/// Days over which everything has happened.
const DAYS: u64 = 80;

/// Who is in it: numbers of messages that were confirmed, and after them of those that are dead letters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    pub(super) from: u32,
    pub(super) confirmed: u32,
    pub(super) dead: u32,
}

impl Past {
    /// Fills the tables as years would have, by the quickest way there is: rows in binary into tables that are emptied in
    /// the same transaction, frozen as they come, so that neither a log nor a vacuum sees them again; and the indexes
    /// afterwards. Ten million took 143 s where inserts that select from `generate_series`, and their vacuum, took 459.
    pub(super) async fn make(self, database: &Database) -> anyhow::Result<()> {
        let indexes: Vec<(String, String)> = sqlx::query_as(INDEXES).fetch_all(&database.pool).await?;
        for (drop, _) in &indexes {
            database.execute(drop).await?;
        }
        let now = sqlx::query_scalar("select now()").fetch_one(&database.pool).await?;
        // Two clients, each with tables of its own: as many as there are processors.
        tokio::try_join!(self.tell_of_events(database, now), self.tell_of_messages(database, now))?;
        let left = Mutex::new(indexes.iter());
        let create = async || {
            while let Some((_, create)) = { left.lock().await.next() } {
                database.execute(create).await?;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(create(), create())?;
        database.execute("analyze").await?;
        database.execute("checkpoint").await
    }

    fn all(self) -> impl Iterator<Item = u32> {
        self.from..self.from + self.confirmed + self.dead
    }

    /// Spreads the numbers over all there are, in order. So names are as even as random ones, and what is new falls between
    /// them anywhere; but they come sorted, which the indexes are quicker made of (143 s in all, where it took 224).
    fn spread(self, n: u32) -> u64 {
        let step = u64::MAX / u64::from(self.confirmed + self.dead);
        u64::from(n - self.from) * step + ids::mixed(n.into()) % step
    }

    fn message_sid(self, n: u32) -> String {
        format!("SM{:016x}{:08x}{n:08x}", self.spread(n), ids::mixed(n.into()) as u32)
    }

    fn action_id(self, n: u32) -> String {
        format!("login-{:016x}", self.spread(n))
    }

    pub(super) fn event_id(self, n: u32) -> String {
        let (a, b) = (self.spread(n), ids::mixed(n.into()));
        let (most, more, less) = (a >> 32, (a >> 16) & 0xffff, a & 0xfff);
        format!("{most:08x}-{more:04x}-4{less:03x}-{:04x}-{:012x}", b >> 48, b & 0xffff_ffff_ffff)
    }

    async fn tell_of_events(self, database: &Database, now: DateTime<Utc>) -> anyhow::Result<()> {
        let columns = "event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state, message_sids, at_message)";
        fill(database, columns, self.all(), |row, n| {
            let moment = at(now, n);
            row.text(ids::NAMESPACE)?.text(self.event_id(n))?.field([0_u8].as_slice())?.text(self.action_id(n))?;
            row.text("latest")?.field(moment)?.field(moment)?.text("pending")?;
            row.field(vec![self.message_sid(n)])?.field(true)?;
            Ok(())
        })
        .await?;
        let columns = "dead_letter (message_sid, account_sid, namespace, reason, attempts, last_status, last_code, known_at, owed_at, died_at)";
        fill(database, columns, self.all().skip(self.confirmed as usize), |row, n| {
            let (moment, reason) = (at(now, n), if n % 3 == 0 { "rejected" } else { "message_not_found" });
            row.text(self.message_sid(n))?.text(ids::ACCOUNT_SID)?.text(ids::NAMESPACE)?.text(reason)?;
            row.field(1_i32)?.field(404_i32)?.field(20404_i32)?.field(moment)?.field(moment)?.field(moment)?;
            Ok(())
        })
        .await
    }

    async fn tell_of_messages(self, database: &Database, now: DateTime<Utc>) -> anyhow::Result<()> {
        fill(database, "action (namespace, action_id, first_seen_at)", self.all(), |row, n| {
            row.text(ids::NAMESPACE)?.text(self.action_id(n))?.field(at(now, n))?;
            Ok(())
        })
        .await?;
        let columns = "message (message_sid, account_sid, namespace, action_id, sent_at, registered_at, owed_at, last_event_at, first_event_id)";
        fill(database, columns, self.all(), |row, n| {
            let moment = at(now, n);
            row.text(self.message_sid(n))?.text(ids::ACCOUNT_SID)?.text(ids::NAMESPACE)?.text(self.action_id(n))?;
            row.field(moment)?.field(moment)?.field(moment)?.field(moment)?.text(self.event_id(n))?;
            Ok(())
        })
        .await?;
        let columns = "confirmation (message_sid, account_sid, attempts, confirmed_at, number, status, took_ms)";
        fill(database, columns, self.all().take(self.confirmed as usize), |row, n| {
            row.text(self.message_sid(n))?.text(ids::ACCOUNT_SID)?.field(1_i32)?.field(at(now, n))?;
            row.field(1_i32)?.field(201_i32)?.field(90_i32)?;
            Ok(())
        })
        .await
    }
}

/// When what belongs to a number happened, some time within those days.
fn at(now: DateTime<Utc>, n: u32) -> DateTime<Utc> {
    let seconds = ids::mixed(u64::from(n) | 4 << 32) % (DAYS * 24 * 60 * 60);
    now - TimeDelta::seconds(seconds.cast_signed())
}

/// What is made anew afterwards, as nobody waits for it: how it is dropped, and how it is created. First those that lock
/// their tables, one of each.
const INDEXES: &str = "
    select format('alter table %I drop constraint %I', t.relname, c.conname),
           format('alter table %I add constraint %I %s', t.relname, c.conname, pg_get_constraintdef(c.oid))
    from pg_constraint c join pg_class t on t.oid = c.conrelid
    where c.contype = 'p' and t.relname in ('action', 'message', 'event', 'confirmation', 'dead_letter')
    union all
    select format('drop index %I', i.relname), pg_get_indexdef(i.oid)
    from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid
    where not x.indisprimary and t.relname in ('action', 'message', 'event', 'dead_letter')";

/// Empties a table, and fills it with a row for each number.
async fn fill(
    database: &Database,
    table_and_columns: &str,
    numbers: impl Iterator<Item = u32>,
    mut write: impl FnMut(&mut Row<'_>, u32) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (table, columns) = table_and_columns.split_once(' ').unwrap_or((table_and_columns, ""));
    let fields = i16::try_from(columns.split(',').count())?;
    let mut transaction = database.pool.begin().await?;
    let connection: &mut PgConnection = &mut transaction;
    sqlx::raw_sql(AssertSqlSafe(format!("truncate {table}"))).execute(&mut *connection).await?;
    let copy = format!("copy {table_and_columns} from stdin (format binary, freeze)");
    let mut copy = connection.copy_in_raw(&copy).await?;
    let mut bytes = PgArgumentBuffer::default();
    bytes.extend_from_slice(HEADER);
    for n in numbers {
        bytes.extend_from_slice(&fields.to_be_bytes());
        write(&mut Row(&mut bytes), n)?;
        if A_SEND <= bytes.len() {
            copy.send(bytes.as_slice()).await?;
            bytes.clear();
        }
    }
    bytes.extend_from_slice(&END.to_be_bytes());
    copy.send(bytes.as_slice()).await?;
    copy.finish().await?;
    Ok(transaction.commit().await?)
}

/// Bytes that are sent at once.
const A_SEND: usize = 64 * 1024;

/// What a copy in binary begins with: the signature, no flags, and no more of a header; and what stands in place of a row's number of
/// fields at the end. <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS>
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: i16 = -1;

/// A row of a copy in binary: each field with its length before it.
struct Row<'a>(&'a mut PgArgumentBuffer);

impl Row<'_> {
    fn field<'q, T: Encode<'q, Postgres>>(&mut self, value: T) -> anyhow::Result<&mut Self> {
        let at = self.0.len();
        self.0.extend_from_slice(&[0; size_of::<i32>()]);
        let _never_null = value.encode(self.0).map_err(anyhow::Error::from_boxed)?;
        let length = i32::try_from(self.0.len() - at - size_of::<i32>())?;
        self.0[at..at + size_of::<i32>()].copy_from_slice(&length.to_be_bytes());
        Ok(self)
    }

    fn text(&mut self, text: impl AsRef<str>) -> anyhow::Result<&mut Self> {
        self.field(text.as_ref())
    }
}
