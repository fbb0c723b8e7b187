//! The second service: it reads the orders in the log, and ships what is in stock.
//!
//! It never appends while it applies. Applying only writes down which orders wait; what is to be done
//! about them is read from the database later, by whichever instance comes first.

use anyhow::bail;
use waltz_client::{
    CallbackError, Client, Json, Outcome, PartitionId, Transaction, TransactionBuilder,
    TransactionContext,
};
use waltz_sql::sqlx::{self, Sqlite, SqlitePool};
use waltz_sql::{Connection, SqlApply};

use crate::log::{Event, Order};

/// How many there are of each item in the beginning.
pub(crate) const OPENING_STOCK: i64 = 40;

pub(crate) const TABLES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS stock (item INTEGER PRIMARY KEY, taken INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS waiting (
        number INTEGER PRIMARY KEY, item INTEGER NOT NULL, quantity INTEGER NOT NULL)",
];

/// What is done to the database for each transaction of the log.
pub(crate) struct Inventory;

impl SqlApply<Sqlite> for Inventory {
    async fn apply(
        &self,
        transaction: &Transaction,
        connection: &mut Connection<'_, Sqlite>,
    ) -> Result<(), CallbackError> {
        let event: Event = transaction.data(&Json).await?;
        let (Event::Placed(order) | Event::Shipped(order) | Event::Rejected(order)) = event;
        if let Event::Placed(Order { number, item, quantity }) = event {
            let wait = sqlx::query("INSERT INTO waiting VALUES (?, ?, ?)");
            connection.execute(wait.bind(number).bind(item).bind(quantity)).await?;
            return Ok(());
        }
        let settled = sqlx::query("DELETE FROM waiting WHERE number = ?");
        connection.execute(settled.bind(order.number)).await?;
        if let Event::Shipped(Order { item, quantity, .. }) = event {
            let take = sqlx::query(
                "INSERT INTO stock VALUES (?, ?)
                 ON CONFLICT (item) DO UPDATE SET taken = taken + excluded.taken",
            );
            connection.execute(take.bind(item).bind(quantity)).await?;
        }
        Ok(())
    }
}

/// Settles orders until none waits.
pub(crate) async fn settle_all(client: &Client, pool: &SqlitePool) -> anyhow::Result<()> {
    loop {
        client.flush().await?;
        let waiting: Vec<(i64, i64, i64)> =
            sqlx::query_as("SELECT number, item, quantity FROM waiting ORDER BY number")
                .fetch_all(pool)
                .await?;
        if waiting.is_empty() {
            return Ok(());
        }
        let submissions: Vec<_> = waiting
            .into_iter()
            .map(|(number, item, quantity)| Order { number, item, quantity })
            .map(|order| client.submit(Settle { pool: pool.clone(), order }))
            .collect();
        for submission in submissions {
            match submission.await {
                Outcome::Committed(_) | Outcome::Ignored => {}
                other => bail!("an order could not be settled: {other:?}"),
            }
        }
    }
}

/// How many are left of an item.
pub(crate) async fn left(pool: &SqlitePool, item: i64) -> sqlx::Result<i64> {
    let taken: Option<i64> = sqlx::query_scalar("SELECT taken FROM stock WHERE item = ?")
        .bind(item)
        .fetch_optional(pool)
        .await?;
    Ok(OPENING_STOCK - taken.unwrap_or(0))
}

/// Ships an order or rejects it, unless that was done.
struct Settle {
    pool: SqlitePool,
    order: Order,
}

impl TransactionContext for Settle {
    fn partition(&self, partitions: u32) -> PartitionId {
        self.order.partition(partitions)
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        let order = self.order;
        let waits: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM waiting WHERE number = ?")
            .bind(order.number)
            .fetch_one(&self.pool)
            .await?;
        if waits == 0 {
            return Ok(false);
        }
        builder.write_lock(order.lock());
        let event = if left(&self.pool, order.item).await? >= order.quantity {
            builder.write_lock(order.stock_lock());
            Event::Shipped(order)
        } else {
            // Depends on what is left, and leaves it as it is.
            builder.read_lock(order.stock_lock());
            Event::Rejected(order)
        };
        builder.data(&Json, &event)?;
        Ok(true)
    }
}
