//! The first service: it takes orders, and knows what became of each.

use waltz_client::{
    CallbackError, Json, PartitionId, Transaction, TransactionBuilder, TransactionContext,
};
use waltz_sql::sqlx::{self, Sqlite, SqlitePool};
use waltz_sql::{Connection, SqlApply};

use crate::log::{Event, Order};

pub(crate) const TABLES: &[&str] = &["CREATE TABLE IF NOT EXISTS orders (
    number INTEGER PRIMARY KEY, item INTEGER NOT NULL, quantity INTEGER NOT NULL,
    state TEXT NOT NULL)"];

/// What is done to the database for each transaction of the log.
pub(crate) struct Orders;

impl SqlApply<Sqlite> for Orders {
    async fn apply(
        &self,
        transaction: &Transaction,
        connection: &mut Connection<'_, Sqlite>,
    ) -> Result<(), CallbackError> {
        let (order, state) = match transaction.data(&Json).await? {
            Event::Placed(order) => (order, "placed"),
            Event::Shipped(order) => (order, "shipped"),
            Event::Rejected(order) => (order, "rejected"),
        };
        let change = sqlx::query(
            "INSERT INTO orders VALUES (?, ?, ?, ?)
             ON CONFLICT (number) DO UPDATE SET state = excluded.state",
        );
        let change = change.bind(order.number).bind(order.item).bind(order.quantity).bind(state);
        connection.execute(change).await?;
        Ok(())
    }
}

/// How many orders of an item are in a state, and how many pieces that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) item: i64,
    pub(crate) state: String,
    pub(crate) orders: i64,
    pub(crate) pieces: i64,
}

/// What there is of each item and state.
pub(crate) async fn totals(pool: &SqlitePool) -> sqlx::Result<Vec<Total>> {
    let rows: Vec<(i64, String, i64, i64)> = sqlx::query_as(
        "SELECT item, state, COUNT(*), SUM(quantity) FROM orders
         GROUP BY item, state ORDER BY item, state",
    )
    .fetch_all(pool)
    .await?;
    let total = |(item, state, orders, pieces)| Total { item, state, orders, pieces };
    Ok(rows.into_iter().map(total).collect())
}

/// Places an order, unless one of its number was placed before: it can be submitted again when it is
/// not known what became of it.
pub(crate) struct Place {
    pub(crate) pool: SqlitePool,
    pub(crate) order: Order,
}

impl TransactionContext for Place {
    fn partition(&self, partitions: u32) -> PartitionId {
        self.order.partition(partitions)
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        let known: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM orders WHERE number = ?")
            .bind(self.order.number)
            .fetch_one(&self.pool)
            .await?;
        if known > 0 {
            return Ok(false);
        }
        builder.write_lock(self.order.lock()).data(&Json, &Event::Placed(self.order))?;
        Ok(true)
    }
}
