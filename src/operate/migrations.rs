//! `confirmd migrate --check` and `--dry-run`: what the schema lacks.

use std::io;

use crate::store::PendingMigration;

/// Writes a line for each pending migration; with their statements, as SQL that runs as it stands.
pub fn write(pending: &[PendingMigration], with_statements: bool, out: &mut impl io::Write) -> io::Result<()> {
    if pending.is_empty() {
        let comment = if with_statements { "-- " } else { "" };
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
