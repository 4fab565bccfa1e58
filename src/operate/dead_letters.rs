//! `confirmd dead-letters`: what was given up, and how it is brought back.

use std::io;

use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use crate::store::{DeadLetter, LetterFilter, LetterSubject, Operator, Replay, Run, StoreError};

/// Writes a dead letter a line.
pub fn write(letters: &[DeadLetter], out: &mut impl io::Write) -> io::Result<()> {
    for letter in letters {
        let action = letter.action_id.as_ref().map(|action| format!("  action {action}")).unwrap_or_default();
        let died = letter.died_at.format("%F %T UTC");
        match &letter.subject {
            LetterSubject::Feedback { message_sid, attempts, last_status, last_code, .. } => {
                let status = last_status.map(|status| format!("  status {status}")).unwrap_or_default();
                let code = last_code.map(|code| format!(" code {code}")).unwrap_or_default();
                let reason = &letter.reason;
                writeln!(out, "{died}  {message_sid}  {reason} after {attempts}{status}{code}{action}")?;
            }
            LetterSubject::Event { event_id } => writeln!(out, "{died}  event {event_id}  expired{action}")?,
        }
    }
    Ok(())
}

/// Brings dead letters back, telling how far it is. Who is cut off calls again, and goes on where it ended.
///
/// # Errors
/// Where Postgres does not answer; what was brought back before stays so.
pub async fn replay(
    operator: &Operator,
    filter: &LetterFilter,
    rate: u32,
    limit: u64,
    stop: &CancellationToken,
) -> Result<Replay, StoreError> {
    let mut whole = Replay { matched: operator.count(filter).await?, replayed: 0 };
    let mut run = Run::new(filter, rate, limit);
    let all = limit.min(whole.matched);
    let mut progress = Progress::new(Some(all));
    while !stop.is_cancelled() {
        let part = operator.replay_on(&mut run).await?;
        if part == 0 {
            break;
        }
        whole.replayed += part;
        progress.show(whole.replayed, || format!("{} of {all} brought back", whole.replayed));
    }
    progress.end(format!("{} of {all} brought back", whole.replayed));
    Ok(whole)
}
