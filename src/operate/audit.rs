//! `confirmd audit`: proves the conservation law in one snapshot of the database.

use std::io;

use crate::store::Audit;

/// Writes what was counted; the last line says whether the law holds.
pub fn write(audit: &Audit, out: &mut impl io::Write) -> io::Result<()> {
    let Audit { accepted, parked, resolved, expired, owed, pending, confirmed, dead, shadowed, drift } = audit;
    writeln!(out, "events accepted {accepted} = parked {parked} + resolved {resolved} + expired {expired}")?;
    writeln!(out, "feedback owed   {owed} = pending {pending} + confirmed {confirmed} + dead {dead}")?;
    if 0 < *shadowed {
        writeln!(out, "of the dead     {shadowed} shadowed: their account was in shadow, and nothing was sent")?;
    }
    if drift.total() == 0 {
        return writeln!(out, "no drift: everything is accounted for, once");
    }
    let lines = [
        (drift.events, "events are not exactly one of parked, resolved and expired"),
        (drift.unowed, "resolved events name a message that is not owed"),
        (drift.messages, "owed messages are not exactly one of pending, confirmed and dead"),
        (drift.strays, "rows belong to no event or message"),
    ];
    for (count, what) in lines.into_iter().filter(|(count, _)| 0 < *count) {
        writeln!(out, "DRIFT: {count} {what}")?;
    }
    Ok(())
}
