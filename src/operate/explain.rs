//! `confirmd explain`: the verdict table, as the code has it.

use std::io;

use crate::delivery::TABLE;

/// Writes a row of the table a paragraph: what Twilio answers, its class, and what happens then.
pub fn write(out: &mut impl io::Write) -> io::Result<()> {
    writeln!(out, "What each answer of Twilio's means for a feedback:\n")?;
    for row in TABLE {
        writeln!(out, "{}\n    {}: {}\n", row.answer, row.class.as_str(), row.then)?;
    }
    writeln!(
        out,
        "A feedback whose worker was lost delivery.max_lost_leases (5) times in a row is dead: poison.\n\
         Dead letters are kept, listed by `confirmd dead-letters list`, and replayed by `confirmd dead-letters replay`."
    )
}
