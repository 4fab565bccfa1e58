//! `confirmd lanes`: how each account's deliveries stand.

use std::io;

use crate::store::LaneView;

/// Writes a lane a paragraph.
pub fn write(lanes: &[LaneView], out: &mut impl io::Write) -> io::Result<()> {
    if lanes.is_empty() {
        return writeln!(out, "no lane has work, and none is configured");
    }
    for lane in lanes {
        let stands = match &lane.paused {
            None => "running".to_owned(),
            Some(pause) => format!("PAUSED since {}: {}", pause.since.format("%F %T UTC"), pause.reason),
        };
        writeln!(out, "{}  {stands}", lane.account_sid)?;
        writeln!(out, "    {} pending, {} of them being sent, {} dead", lane.pending, lane.leased, lane.dead)?;
        if 0 < lane.shadowed {
            writeln!(
                out,
                "    {} shadowed: not sent, and not sent by itself; dead-letters replay --reason shadowed sends them",
                lane.shadowed
            )?;
        }
        if let Some(due) = lane.oldest_due_at {
            writeln!(out, "    oldest due {}", due.format("%F %T UTC"))?;
        }
        for report in &lane.replicas {
            writeln!(
                out,
                "    {}: {}{} in flight, limit {}, breaker {} at {}",
                report.replica,
                if report.shadow { "IN SHADOW, " } else { "" },
                report.in_flight,
                report.limit,
                report.breaker,
                report.reported_at.format("%T UTC")
            )?;
        }
    }
    Ok(())
}
