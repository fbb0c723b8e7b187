//! Bringing a database up to date with what the client hands over, however often it takes.

use futures_util::stream::{self, StreamExt};
use waltz_client::{CallbackError, FetchError, Mark, Transaction};

use crate::attempt::{Attempt, attempt};
use crate::backoff::Backoff;
use crate::callbacks::{Shared, SqlApply};
use crate::database::SqlDatabase;
use crate::error::SqlError;
use crate::progress::Progress;

/// How many transactions load their data at the same time.
const LOADS_AT_ONCE: usize = 32;

/// Applies transactions of a partition, those that no instance applied before: how many are
/// applied now, by whichever instance, and what stopped it before the end.
pub(crate) async fn apply_batch<DB: SqlDatabase, A: SqlApply<DB>>(
    shared: &Shared<DB, A>,
    batch: &[Transaction],
) -> (usize, Result<(), CallbackError>) {
    let mut applied = 0;
    while applied < batch.len() {
        // All data is here before the database is asked for anything: no lock waits for the log.
        let (part, loaded) = load(shared, &batch[applied..]).await;
        match apply_part(shared, &part).await {
            Ok(()) => applied += part.len(),
            Err((before, error)) => return (applied + before, Err(error)),
        }
        if let Err(error) = loaded {
            return (applied, Err(error.into()));
        }
    }
    (applied, Ok(()))
}

/// The first transactions with the data that the application needs, as many as fit one database
/// transaction, and why there are no more of them if that was not the reason.
async fn load<DB: SqlDatabase, A: SqlApply<DB>>(
    shared: &Shared<DB, A>,
    batch: &[Transaction],
) -> (Vec<Transaction>, Result<(), FetchError>) {
    let (mut part, mut bytes) = (Vec::new(), 0);
    let mut loads = Vec::with_capacity(batch.len().min(shared.options.max_transactions));
    for transaction in batch.iter().take(shared.options.max_transactions) {
        loads.push(load_one(shared, transaction));
    }
    let mut loads = stream::iter(loads).buffered(LOADS_AT_ONCE);
    while let Some(loaded) = loads.next().await {
        match loaded {
            Ok((transaction, length)) => {
                bytes += length;
                part.push(transaction);
            }
            Err(error) => return (part, Err(error)),
        }
        if bytes >= shared.options.max_bytes {
            break;
        }
    }
    (part, Ok(()))
}

async fn load_one<DB: SqlDatabase, A: SqlApply<DB>>(
    shared: &Shared<DB, A>,
    transaction: &Transaction,
) -> Result<(Transaction, usize), FetchError> {
    if !shared.application.needs_data(transaction) {
        return Ok((transaction.clone(), 0));
    }
    let loaded = transaction.load().await?;
    let length = loaded.bytes().await?.len();
    Ok((loaded, length))
}

/// Applies a part in as few database transactions as it takes. On failure, how many of it are
/// applied all the same.
async fn apply_part<DB: SqlDatabase, A: SqlApply<DB>>(
    shared: &Shared<DB, A>,
    part: &[Transaction],
) -> Result<(), (usize, CallbackError)> {
    let mut progress = Progress::new(part.len());
    let mut backoff = Backoff::new(shared.options.patience);
    while let Some(range) = progress.next() {
        let before = range.start;
        let now = &part[range];
        let attempt = {
            let _turn = shared.turn().await;
            attempt(shared, now).await
        };
        let reason = match attempt {
            Attempt::Applied => {
                progress.applied();
                backoff.reset();
                continue;
            }
            Attempt::Elsewhere(Some(mark)) => match count_included(&part[before..], mark) {
                Ok(0) => "the high-water mark was elsewhere for a moment".to_owned(),
                Ok(count) => {
                    progress.applied_elsewhere(before + count);
                    continue;
                }
                Err(error) => return Err((before, error.into())),
            },
            Attempt::Elsewhere(None) => {
                let mark = shared.high_water_mark(now[0].partition()).await;
                mark.map_err(|error| (before, error.into()))?;
                "the partition had no row".to_owned()
            }
            Attempt::Rejected { index, error } => {
                progress.rejected(index, error);
                continue;
            }
            Attempt::NotCommitted(source) => {
                let action = "commit";
                progress.not_committed(SqlError::Database { action, source }.into());
                continue;
            }
            Attempt::Transient(reason) => reason,
            Attempt::Failed(error) => return Err((before, error.into())),
        };
        tracing::debug!(partition = %now[0].partition(), %reason, "applying again");
        if !backoff.failed().await {
            let patience = shared.options.patience;
            return Err((before, SqlError::Unavailable { patience, reason }.into()));
        }
    }
    progress.ended()
}

/// How many transactions a mark that another instance left includes.
fn count_included(batch: &[Transaction], mark: Mark) -> Result<usize, SqlError> {
    let first = &batch[0];
    if mark.next() < first.id() {
        return Err(SqlError::Gap { partition: first.partition(), mark, id: first.id() });
    }
    Ok(batch.iter().take_while(|transaction| mark.includes(transaction.id())).count())
}
