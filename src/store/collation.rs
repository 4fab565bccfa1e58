//! How the database orders text. Every id is text and found by its order in an index, so the order must not change.

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

use super::StoreError;
use super::open::SCHEMA_DEADLINE;

/// By what a database orders text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collation {
    /// By its bytes: the quickest, and nothing that is installed changes it.
    Bytes,
    /// By a language, as a library of the system knows it.
    Language(String),
    /// By a language, and the library knows it otherwise than when the indexes were made: in them an id may not be found
    /// that is there. <https://www.postgresql.org/docs/current/sql-altercollation.html#SQL-ALTERCOLLATION-NOTES>
    Changed { language: String, then: String, now: String },
}

impl Collation {
    /// `provider`: `c` of the C library, `i` of ICU, `b` of Postgres itself.
    fn of(provider: &str, language: String, then: Option<String>, now: Option<String>) -> Self {
        let bytes = matches!(language.as_str(), "C" | "POSIX") || language.starts_with("C.");
        match (then, now) {
            _ if provider != "i" && bytes => Self::Bytes,
            (Some(then), Some(now)) if then != now => Self::Changed { language, then, now },
            _ => Self::Language(language),
        }
    }
}

/// Since 15 Postgres keeps with which version of a library a database was made.
const KEEPS_VERSIONS: i32 = 150_000;

/// Asks by what the database orders text.
///
/// # Errors
/// Where Postgres cannot be reached, does not answer in time, or refuses.
pub async fn collation(connect: &PgConnectOptions) -> Result<Collation, StoreError> {
    tokio::time::timeout(SCHEMA_DEADLINE, ask(connect)).await.map_err(|_| StoreError::Deadline)?
}

async fn ask(connect: &PgConnectOptions) -> Result<Collation, StoreError> {
    let mut session = connect.connect().await?;
    let version: i32 =
        sqlx::query_scalar("select current_setting('server_version_num')::integer").fetch_one(&mut session).await?;
    let asked = if version < KEEPS_VERSIONS {
        "select 'c', datcollate::text, null::text, null::text from pg_database where datname = current_database()"
    } else {
        // The name of the column changed with 17.
        "select datlocprovider::text,
                coalesce(to_jsonb(pg_database) ->> 'datlocale', to_jsonb(pg_database) ->> 'daticulocale', datcollate),
                datcollversion, pg_database_collation_actual_version(oid)
         from pg_database
         where datname = current_database()"
    };
    let (provider, language, then, now): (String, String, Option<String>, Option<String>) =
        sqlx::query_as(asked).fetch_one(&mut session).await?;
    Ok(Collation::of(&provider, language, then, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_language_can_change() {
        let changed =
            |language: &str| Collation::Changed { language: language.into(), then: "1".into(), now: "2".into() };
        let cases = [
            ("c", "C", None, None, Collation::Bytes),
            ("c", "POSIX", None, None, Collation::Bytes),
            ("c", "C.UTF-8", Some("1"), Some("2"), Collation::Bytes),
            ("b", "C.UTF-8", Some("1"), Some("1"), Collation::Bytes),
            ("c", "en_US.UTF-8", Some("2.36"), Some("2.36"), Collation::Language("en_US.UTF-8".into())),
            ("c", "en_US.UTF-8", None, None, Collation::Language("en_US.UTF-8".into())),
            ("c", "Cy_GB.UTF-8", Some("1"), Some("2"), changed("Cy_GB.UTF-8")),
            ("i", "en", Some("1"), Some("2"), changed("en")),
            ("i", "C", Some("1"), Some("2"), changed("C")),
        ];
        for (provider, language, then, now, expected) in cases {
            let found = Collation::of(provider, language.into(), then.map(Into::into), now.map(Into::into));
            assert_eq!(found, expected, "{provider} {language}");
        }
    }
}
