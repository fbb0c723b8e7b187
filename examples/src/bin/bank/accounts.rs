//! The first service: it moves money, and keeps each account's balance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use waltz_client::{
    CallbackError, Conflict, Json, PartitionId, Transaction, TransactionBuilder, TransactionContext,
};
use waltz_sql::sqlx::{self, PgPool, Postgres};
use waltz_sql::{Connection, SqlApply};

use crate::log::{self, Account, Entry};

pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS accounts (
    account BIGINT PRIMARY KEY, cents BIGINT NOT NULL, changed_by BIGINT NOT NULL)";

/// What is done to the database for each transaction of the log.
pub(crate) struct Accounts;

impl SqlApply<Postgres> for Accounts {
    async fn apply(
        &self,
        transaction: &Transaction,
        connection: &mut Connection<'_, Postgres>,
    ) -> Result<(), CallbackError> {
        let entry: Entry = transaction.data(&Json).await?;
        for (account, cents) in entry.postings() {
            let post = sqlx::query(
                "INSERT INTO accounts VALUES ($1, $2, $3) ON CONFLICT (account) DO UPDATE
                 SET cents = accounts.cents + EXCLUDED.cents, changed_by = EXCLUDED.changed_by",
            );
            let id = i64::try_from(transaction.id().0)?;
            connection.execute(post.bind(account).bind(cents).bind(id)).await?;
        }
        Ok(())
    }
}

/// An account as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) cents: i64,
    /// The id of the transaction that made it so.
    pub(crate) changed_by: i64,
}

/// All accounts.
pub(crate) async fn balances(pool: &PgPool) -> sqlx::Result<BTreeMap<Account, Balance>> {
    let rows: Vec<(Account, i64, i64)> =
        sqlx::query_as("SELECT account, cents, changed_by FROM accounts").fetch_all(pool).await?;
    let balance = |(account, cents, changed_by)| (account, Balance { cents, changed_by });
    Ok(rows.into_iter().map(balance).collect())
}

async fn balance(pool: &PgPool, account: Account) -> sqlx::Result<Option<i64>> {
    let query = sqlx::query_scalar("SELECT cents FROM accounts WHERE account = $1");
    query.bind(account).fetch_optional(pool).await
}

/// Opens an account, unless it is open.
pub(crate) struct Open {
    pub(crate) pool: PgPool,
    pub(crate) account: Account,
}

impl TransactionContext for Open {
    fn partition(&self, partitions: u32) -> PartitionId {
        log::partition(self.account, partitions)
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        if balance(&self.pool, self.account).await?.is_some() {
            return Ok(false);
        }
        let entry = Entry::Opened { account: self.account, cents: log::OPENING_CENTS };
        builder.write_lock(log::lock(self.account)).data(&Json, &entry)?;
        Ok(true)
    }
}

/// Moves money, if there is enough of it.
pub(crate) struct Transfer {
    pub(crate) pool: PgPool,
    pub(crate) from: Account,
    pub(crate) to: Account,
    pub(crate) cents: i64,
    /// Counts how often transfers met a conflict.
    pub(crate) conflicts: Arc<AtomicU64>,
}

impl TransactionContext for Transfer {
    fn partition(&self, partitions: u32) -> PartitionId {
        log::partition(self.from, partitions)
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        let Self { from, to, cents, .. } = *self;
        let balance = balance(&self.pool, from).await?.ok_or("there is no such account")?;
        if balance < cents {
            return Ok(false);
        }
        let entry = Entry::Transferred { from, to, cents };
        builder
            // It depends on what the payer has, and changes it.
            .write_lock(log::lock(from))
            // It changes what the receiver has, and does not depend on it.
            .append_lock(log::lock(to))
            .data(&Json, &entry)?;
        Ok(true)
    }

    fn on_lock_failure(&mut self, _: &Conflict) {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
    }
}
