//! Why a database does not follow the log, in the words that its operator reads.

use std::time::Duration;

use thiserror::Error;
use waltz_client::{Mark, PartitionId, TransactionId};

/// Why a database could not be brought up to date. It is given to
/// [`SqlApply::uncaught_exception`](crate::SqlApply::uncaught_exception) as it is; the
/// application's own errors are, too.
#[derive(Debug, Error)]
pub enum SqlError {
    /// The database failed, and trying again would not help.
    #[error("could not {action}: {source}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
    /// The database failed for longer than it was given.
    #[error("the database has failed for {} ms; last: {reason}", patience.as_millis())]
    Unavailable {
        /// How long it was tried, at least.
        patience: Duration,
        /// What it said last.
        reason: String,
    },
    /// A statement failed, and the application went on as if it had not.
    #[error("nothing was applied, as a statement failed: {0}")]
    StatementFailed(String),
    /// The database transaction was ended by something other than the callbacks.
    #[error(
        "the application ended the database transaction that it was given; whether the transactions from {first} to {last} of partition {partition} are applied completely is not known"
    )]
    TransactionEnded {
        /// The partition.
        partition: PartitionId,
        /// The first that it applied.
        first: TransactionId,
        /// The last that it applied.
        last: TransactionId,
    },
    /// The database lacks what comes before a transaction: it went back in time.
    #[error(
        "partition {partition}: transaction {id} can't be applied as the database has only applied up to {mark}; was it restored while this client ran? Start the client again"
    )]
    Gap {
        /// The partition.
        partition: PartitionId,
        /// What is in the database.
        mark: Mark,
        /// What came.
        id: TransactionId,
    },
    /// The table holds what is no mark.
    #[error("partition {partition}: {stored} is stored as its next transaction, which is no id")]
    NotAMark {
        /// The partition.
        partition: PartitionId,
        /// What is stored.
        stored: i64,
    },
    /// An id that databases can't store.
    #[error("partition {partition}: transaction {id} is beyond what the database can count")]
    TooLarge {
        /// The partition.
        partition: PartitionId,
        /// The id.
        id: TransactionId,
    },
}
