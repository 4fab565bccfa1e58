//! `confirmd migrate --check` and `--dry-run`: what the schema lacks.

use std::io;

use crate::store::PendingMigration;

/// Writes a line for each pending migration; with their statements, as SQL that runs as it stands. And a line for each that
/// a newer binary applied.
pub fn write(
    pending: &[PendingMigration],
    newer: &[i64],
    with_statements: bool,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let comment = if with_statements { "-- " } else { "" };
    for version in newer {
        writeln!(out, "{comment}newer: {version} is not known to this binary, and does not stop it")?;
    }
    if pending.is_empty() {
        return writeln!(out, "{comment}the schema is up to date");
    }
    for PendingMigration { version, description, sql } in pending {
        if with_statements {
            writeln!(out, "-- migration {version}: {description}\n\n{}\n", sql.trim())?;
        } else {
            writeln!(out, "pending: {version} {description}")?;
        }
    }
    Ok(())
}
