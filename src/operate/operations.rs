//! `confirmd operations`: what operators did.

use std::io;

use crate::store::Operation;

/// Writes an operation a line, with all that its batches did together.
pub fn write(operations: &[Operation], out: &mut impl io::Write) -> io::Result<()> {
    for operation in operations {
        let Operation { ended_at, done_by, done_via, what, subject, reason, number, due_until, .. } = operation;
        let via = if done_via == "http" { "over HTTP" } else { "at the command line" };
        write!(out, "{}  {done_by} ({via})  {what} {subject}: {number}", ended_at.format("%F %T UTC"))?;
        if let Some(due_until) = due_until {
            write!(out, ", due until {}", due_until.format("%F %T UTC"))?;
        }
        match reason {
            Some(reason) => writeln!(out, "  {reason}")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}
