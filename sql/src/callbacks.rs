//! The client's callbacks, on a database.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use sqlx::Pool;
use tokio::sync::{Mutex, MutexGuard};
use waltz_client::{CallbackError, ClientCallbacks, Mark, PartitionId, Transaction};

use crate::backoff::Backoff;
use crate::batch::apply_batch;
use crate::connection::Connection;
use crate::database::SqlDatabase;
use crate::error::SqlError;
use crate::marks::{MarkError, Marks};
use crate::options::SqlOptions;

/// What an application does with its database for each committed transaction.
///
/// Applying has to be a function of the transaction and the database alone: what it changes is
/// rolled back when the database transaction can't be committed, and it is called again.
pub trait SqlApply<DB: SqlDatabase>: Send + Sync + 'static {
    /// Applies one committed transaction.
    ///
    /// # Errors
    /// What the application fails with: nothing of the transaction is kept, the error is given to
    /// [`Self::uncaught_exception`], and the transaction comes again. Errors of the database that
    /// pass by themselves, such as lost connections and deadlocks, are not reported: the
    /// transaction is applied again at once.
    fn apply(
        &self,
        transaction: &Transaction,
        connection: &mut Connection<'_, DB>,
    ) -> impl Future<Output = Result<(), CallbackError>> + Send;

    /// Whether [`Self::apply`] reads the transaction's data. It is loaded before the database
    /// transaction begins, so that no lock is held while the log is asked; to load it in
    /// [`Self::apply`] all the same would hold locks for as long as that takes.
    fn needs_data(&self, transaction: &Transaction) -> bool {
        let _ = transaction;
        true
    }

    /// A transaction failed to apply; it will come again. Logged by default.
    fn uncaught_exception(&self, transaction: &Transaction, error: &CallbackError) {
        tracing::error!(
            partition = %transaction.partition(),
            id = %transaction.id(),
            %error,
            "a transaction failed to apply and will be applied again"
        );
    }
}

/// Callbacks that keep a database up to date with the log: every transaction is applied exactly
/// once, together with the high-water mark, however many instances share the database. Clones
/// share everything.
pub struct SqlCallbacks<DB: SqlDatabase, A> {
    shared: Arc<Shared<DB, A>>,
}

/// What all partitions use.
pub(crate) struct Shared<DB: SqlDatabase, A> {
    pub(crate) pool: Pool<DB>,
    pub(crate) application: A,
    pub(crate) options: SqlOptions,
    pub(crate) marks: Marks,
    /// Where writers would poll for their turn, those of this process take it in order instead.
    writer: Option<Mutex<()>>,
}

impl<DB: SqlDatabase, A: SqlApply<DB>> SqlCallbacks<DB, A> {
    /// Callbacks on a pool of connections. Each mounted partition uses one while it applies, and
    /// none between; what contexts read with takes more.
    pub fn new(pool: Pool<DB>, application: A) -> Self {
        Self::with_options(pool, application, SqlOptions::default())
    }

    /// As [`Self::new`], with options.
    pub fn with_options(pool: Pool<DB>, application: A, options: SqlOptions) -> Self {
        let marks = Marks::new::<DB>(&options.table);
        let writer = DB::ONE_WRITER.then(|| Mutex::new(()));
        Self { shared: Arc::new(Shared { pool, application, options, marks, writer }) }
    }

    /// Makes the table of high-water marks, unless it is there. All instances may do so at once,
    /// before each connects its client.
    ///
    /// # Errors
    /// When the database fails for longer than it is given, or may not make tables.
    pub async fn migrate(&self) -> Result<(), SqlError> {
        let _turn = self.shared.turn().await;
        let mut backoff = Backoff::new(self.shared.options.patience);
        while let Err(error) = self.shared.migrate_once().await {
            let action = "make the table of high-water marks";
            backoff.failed_with::<DB>(action, error).await?;
        }
        Ok(())
    }

    /// The connections that these callbacks use, for contexts to read with. What a context reads
    /// is as new as its client's high-water mark or newer, on the same database: don't read from
    /// replicas of it that may lag behind.
    pub fn pool(&self) -> &Pool<DB> {
        &self.shared.pool
    }

    /// The application.
    pub fn application(&self) -> &A {
        &self.shared.application
    }
}

impl<DB: SqlDatabase, A> Shared<DB, A> {
    /// To be held while writing.
    pub(crate) async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match &self.writer {
            Some(writer) => Some(writer.lock().await),
            None => None,
        }
    }

    /// A partition's mark; its row is made if there is none.
    pub(crate) async fn high_water_mark(&self, partition: PartitionId) -> Result<Mark, SqlError> {
        let mut backoff = Backoff::new(self.options.patience);
        loop {
            match self.high_water_mark_once(partition).await {
                Ok(mark) => return Ok(mark),
                Err(error) => {
                    let action = "read the high-water mark; is its table made (see migrate)";
                    backoff.failed_with::<DB>(action, error).await?;
                }
            }
        }
    }

    async fn high_water_mark_once(&self, partition: PartitionId) -> Result<Mark, MarkError> {
        let mut connection = self.pool.acquire().await?;
        if let Some(mark) = self.marks.read::<DB>(&mut connection, partition).await? {
            return Ok(mark);
        }
        self.marks.insert::<DB>(&mut connection, partition).await?;
        let mark = self.marks.read::<DB>(&mut connection, partition).await?;
        mark.ok_or(MarkError::Database(sqlx::Error::RowNotFound))
    }

    async fn migrate_once(&self) -> Result<(), MarkError> {
        let mut connection = self.pool.acquire().await?;
        Ok(self.marks.migrate::<DB>(&mut connection).await?)
    }
}

impl<DB: SqlDatabase, A: SqlApply<DB>> ClientCallbacks for SqlCallbacks<DB, A> {
    async fn high_water_mark(&self, partition: PartitionId) -> Result<Mark, CallbackError> {
        let _turn = self.shared.turn().await;
        Ok(self.shared.high_water_mark(partition).await?)
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        self.apply_batch(std::slice::from_ref(transaction)).await.1
    }

    async fn apply_batch(&self, batch: &[Transaction]) -> (usize, Result<(), CallbackError>) {
        apply_batch(&self.shared, batch).await
    }

    fn uncaught_exception(&self, transaction: &Transaction, error: &CallbackError) {
        self.shared.application.uncaught_exception(transaction, error);
    }
}

impl<DB: SqlDatabase, A> Clone for SqlCallbacks<DB, A> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<DB: SqlDatabase, A> fmt::Debug for SqlCallbacks<DB, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { pool, options, .. } = &*self.shared;
        f.debug_struct("SqlCallbacks")
            .field("database", &DB::NAME)
            .field("pool", pool)
            .field("options", options)
            .finish_non_exhaustive()
    }
}
