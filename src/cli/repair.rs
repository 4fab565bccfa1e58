//! What the commands do that take a backlog in, and write a whole out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::commands::{load, open, until_signalled, usage};
use super::{ExportArgs, Failure, ImportArgs};
use crate::app;
use crate::config::Role;
use crate::domain::{LetterReason, Namespace};
use crate::intake::{EventReader, LineFault};
use crate::operate::export::{ExportError, Whole, export as write_out};
use crate::operate::import::{Import, ImportError, ImportOptions};
use crate::store::{Clock, Doors, Span};

/// How long Postgres may take to answer at first.
const REACHED_WITHIN: Duration = Duration::from_secs(10);
/// How long the writers may take to end: everything that they were given has an answer by then.
const WRITERS_END: Duration = Duration::from_secs(5);

pub(super) async fn import(args: ImportArgs) -> Result<(), Failure> {
    let namespace = Namespace::try_from(args.namespace).map_err(|fault| usage("--namespace", fault))?;
    // As a worker needs it: accounts, and no callers.
    let config = load(&args.config, Role::Worker)?;
    let accounts = config.accounts.iter().map(|account| account.account_sid.clone()).collect();
    let (file, bytes) = source(&args.file)?;
    let stop = until_signalled()?;
    let store = app::store(&config, Clock::default())?;
    store.ledger.ping(REACHED_WITHIN).await?;
    // No lane is here: what is taken is claimed by whoever runs.
    let mut writers = store.start_writers(&Doors::default());
    let reader = EventReader::new(namespace, accounts);
    let read = |text: &str| {
        let (event_id, event) = reader.read(text);
        let fault = |LineFault { field, detail }| (field, detail);
        (event_id, event.map_err(|faults| faults.into_iter().map(fault).collect()))
    };
    let options =
        ImportOptions { format: args.format, rate: args.rate, dry_run: args.dry_run, from_line: args.from_line };
    let import = Import { inbox: &store.inbox, ledger: &store.ledger, read: &read, options };
    let done = import.run(file, bytes, &mut BufWriter::new(io::stdout()), &stop).await;
    store.close_inbox();
    if tokio::time::timeout(WRITERS_END, async { while writers.join_next().await.is_some() {} }).await.is_err() {
        tracing::debug!("A writer did not end in time");
    }
    match done.map_err(later)?.refused {
        0 => Ok(()),
        refused => Err(Failure::Found(format!("{refused} line(s) were refused; the report says why"))),
    }
}

fn later(error: ImportError) -> Failure {
    Failure::TryLater(error.into())
}

/// The file, and its length where it has one.
fn source(path: &Path) -> Result<(Box<dyn BufRead + Send>, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let unreadable = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(unreadable)?;
    let metadata = file.metadata().with_context(unreadable)?;
    if metadata.is_dir() {
        return Err(Failure::Usage(format!("{} is a folder", path.display())));
    }
    Ok((Box::new(BufReader::new(file)), Some(metadata.len())))
}

pub(super) async fn export(args: ExportArgs) -> Result<(), Failure> {
    let namespace = args.namespace.map(Namespace::try_from).transpose().map_err(|fault| usage("--namespace", fault))?;
    let reason = args.reason.map(LetterReason::try_from).transpose().map_err(|fault| usage("--reason", fault))?;
    if reason.is_some() && args.whole != Whole::DeadLetters {
        return Err(Failure::Usage("--reason goes only with dead-letters".to_owned()));
    }
    let span = Span { namespace, since: args.span.since, until: args.span.until };
    let ledger = open(&args.config)?.ledger;
    let mut out = BufWriter::new(io::stdout());
    match write_out(&ledger, args.whole, &span, reason, args.format, &mut out).await {
        Ok(rows) => eprintln!("{rows} rows"),
        // Whoever reads has seen enough.
        Err(ExportError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => return Err(Failure::TryLater(error.into())),
    }
    Ok(())
}
