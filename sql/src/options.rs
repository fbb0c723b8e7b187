//! How callbacks use their database.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::table::TableName;

/// How [`SqlCallbacks`](crate::SqlCallbacks) use their database.
///
/// ```
/// use std::time::Duration;
/// use waltz_sql::SqlOptions;
///
/// # fn example() -> Result<(), waltz_sql::TableNameError> {
/// let options = SqlOptions::default().table("orders_marks".parse()?).patience(Duration::from_secs(5));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SqlOptions {
    pub(crate) table: TableName,
    pub(crate) max_transactions: usize,
    pub(crate) max_bytes: usize,
    pub(crate) patience: Duration,
}

impl Default for SqlOptions {
    fn default() -> Self {
        Self {
            table: TableName::default(),
            max_transactions: 256,
            max_bytes: 4 << 20,
            patience: Duration::from_secs(30),
        }
    }
}

impl SqlOptions {
    /// The table of the high-water marks; `waltz_marks` by default.
    #[must_use]
    pub fn table(mut self, table: TableName) -> Self {
        self.table = table;
        self
    }

    /// How many transactions are applied in one database transaction, at most; 256 by default.
    #[must_use]
    pub fn max_transactions(mut self, count: NonZeroUsize) -> Self {
        self.max_transactions = count.get();
        self
    }

    /// A database transaction takes no more transactions once their data has so many bytes; 4 MiB
    /// by default.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How long the database may fail before that is reported; 30 s by default. It is tried again
    /// after that, too, as the client gives a transaction until it is applied.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}
