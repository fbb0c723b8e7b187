//! The second service: a database of its own with a line for every change of an account. It appends
//! nothing; all that it knows it has from the log.

use std::collections::BTreeMap;

use waltz_client::{CallbackError, Json, Transaction};
use waltz_sql::sqlx::{self, PgPool, Postgres};
use waltz_sql::{Connection, SqlApply};

use crate::log::{Account, Entry};

pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS lines (
    account BIGINT, id BIGINT, cents BIGINT NOT NULL, balance BIGINT NOT NULL,
    PRIMARY KEY (account, id))";

/// What is done to the database for each transaction of the log.
pub(crate) struct Statements;

impl SqlApply<Postgres> for Statements {
    async fn apply(
        &self,
        transaction: &Transaction,
        connection: &mut Connection<'_, Postgres>,
    ) -> Result<(), CallbackError> {
        let entry: Entry = transaction.data(&Json).await?;
        for (account, cents) in entry.postings() {
            let line = sqlx::query(
                "INSERT INTO lines SELECT $1, $2, $3, $3 + COALESCE(
                 (SELECT balance FROM lines WHERE account = $1 ORDER BY id DESC LIMIT 1), 0)",
            );
            let id = i64::try_from(transaction.id().0)?;
            connection.execute(line.bind(account).bind(id).bind(cents)).await?;
        }
        Ok(())
    }
}

/// The balance after each line, by account and transaction.
pub(crate) async fn balances(pool: &PgPool) -> sqlx::Result<BTreeMap<(Account, i64), i64>> {
    let rows: Vec<(Account, i64, i64)> =
        sqlx::query_as("SELECT account, id, balance FROM lines").fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(account, id, balance)| ((account, id), balance)).collect())
}
