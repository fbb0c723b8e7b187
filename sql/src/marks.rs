//! The table of marks: a row for each partition, with the id of the first transaction that is not
//! applied. A partition of which nothing is applied has 0 there.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use waltz_client::{Mark, PartitionId, TransactionId};

use crate::connection::run;
use crate::database::SqlDatabase;
use crate::database::dialect::Dialect;
use crate::error::SqlError;
use crate::statement::Statement;
use crate::table::TableName;

/// The statements on the table of marks, made once.
#[derive(Debug, Clone)]
pub(crate) struct Marks {
    migration: Vec<SqlStr>,
    insert: SqlStr,
    read: SqlStr,
    advance: SqlStr,
}

/// How a step on the table fails.
pub(crate) enum MarkError {
    Database(sqlx::Error),
    /// What can't be put right by trying again.
    Certain(SqlError),
}

impl From<sqlx::Error> for MarkError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Marks {
    /// The name was parsed as identifiers: nothing in it can be read as SQL.
    pub(crate) fn new<DB: SqlDatabase>(table: &TableName) -> Self {
        let text = |sql: String| AssertSqlSafe(sql).into_sql_str();
        let (first, second, third) = (DB::argument(1), DB::argument(2), DB::argument(3));
        let (name, suffix) = (table.as_str(), DB::ADVANCE_SUFFIX);
        Self {
            migration: DB::migration(table).into_iter().map(text).collect(),
            insert: text(DB::insert_or_ignore(table)),
            read: text(format!("SELECT next_id FROM {name} WHERE partition_id = {first}")),
            advance: text(format!(
                "UPDATE {name} SET next_id = {first} \
                 WHERE partition_id = {second} AND next_id = {third} {suffix}"
            )),
        }
    }

    /// Makes the table, unless it is there.
    pub(crate) async fn migrate<DB: SqlDatabase>(
        &self,
        connection: &mut DB::Connection,
    ) -> Result<(), sqlx::Error> {
        for sql in &self.migration {
            execute::<DB>(connection, sql, &[]).await?;
        }
        Ok(())
    }

    /// Makes a partition's row, unless it is there, in whichever instance comes first.
    pub(crate) async fn insert<DB: SqlDatabase>(
        &self,
        connection: &mut DB::Connection,
        partition: PartitionId,
    ) -> Result<(), sqlx::Error> {
        let arguments = [i64::from(partition.0), 0];
        execute::<DB>(connection, &self.insert, &arguments).await?;
        Ok(())
    }

    /// A partition's mark; `None` if it has no row.
    pub(crate) async fn read<DB: SqlDatabase>(
        &self,
        connection: &mut DB::Connection,
        partition: PartitionId,
    ) -> Result<Option<Mark>, MarkError> {
        let statement = bound::<DB>(&self.read, &[i64::from(partition.0)])?;
        let (_, rows) = run::<DB>(connection, statement, 1).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let stored = DB::first_integer(row)?;
        let next = u64::try_from(stored)
            .map_err(|_| MarkError::Certain(SqlError::NotAMark { partition, stored }))?;
        Ok(Some(Mark::before(TransactionId(next))))
    }

    /// Moves a partition's mark from just before `first` to `last`, if that is where it is. This
    /// alone decides who applies a transaction: it locks the row until the end of the database
    /// transaction, and of two who try only one finds it there.
    pub(crate) async fn advance<DB: SqlDatabase>(
        &self,
        connection: &mut DB::Connection,
        partition: PartitionId,
        first: TransactionId,
        last: TransactionId,
    ) -> Result<bool, MarkError> {
        let stored = |id: TransactionId| {
            i64::try_from(id.0)
                .map_err(|_| MarkError::Certain(SqlError::TooLarge { partition, id }))
        };
        let arguments = [stored(last.next())?, i64::from(partition.0), stored(first)?];
        Ok(execute::<DB>(connection, &self.advance, &arguments).await? == 1)
    }
}

async fn execute<DB: SqlDatabase>(
    connection: &mut DB::Connection,
    sql: &SqlStr,
    arguments: &[i64],
) -> Result<u64, sqlx::Error> {
    let statement = bound::<DB>(sql, arguments)?;
    let (result, _) = run::<DB>(connection, statement, 0).await?;
    Ok(DB::rows_affected(&result))
}

fn bound<DB: SqlDatabase>(sql: &SqlStr, values: &[i64]) -> Result<Statement<DB>, sqlx::Error> {
    let mut arguments = DB::Arguments::default();
    for value in values {
        <DB as Dialect>::bind(&mut arguments, *value).map_err(sqlx::Error::Encode)?;
    }
    Ok(Statement::own(sql.clone(), arguments))
}
