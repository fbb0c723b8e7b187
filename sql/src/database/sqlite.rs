//! SQLite: serializable because there is one writer at a time. With a write-ahead log readers
//! don't wait for it.

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteQueryResult, SqliteRow};
use sqlx::{Arguments, Executor, Row, Sqlite};

use super::dialect::{Dialect, Steps, is_connection_lost};
use crate::statement::Statement;
use crate::table::TableName;

/// Busy, locked, input or output failed, disk full, can't be opened, locking protocol.
const TRANSIENT: [u32; 6] = [5, 6, 10, 13, 14, 15];

impl Dialect for Sqlite {
    // A deferred transaction that finds out late that it writes can fail where waiting would do.
    const BEGIN: &'static str = "BEGIN IMMEDIATE";

    const STATEMENTS: &'static [&'static str] = &[
        "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES", "CREATE", "ALTER",
        "DROP",
    ];

    const PREPARES_ONE: bool = false;

    const ONE_WRITER: bool = true;

    fn migration(table: &TableName) -> Vec<String> {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {table} \
             (partition_id INTEGER PRIMARY KEY, next_id INTEGER NOT NULL)"
        );
        vec!["PRAGMA journal_mode = WAL".to_owned(), create]
    }

    fn insert_or_ignore(table: &TableName) -> String {
        format!(
            "INSERT INTO {table} (partition_id, next_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING"
        )
    }

    fn argument(nth: usize) -> String {
        format!("?{nth}")
    }

    fn is_transient(error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(|error| error.code());
        // The low byte of an extended code is the primary one.
        let primary = code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
        is_connection_lost(error) || primary.is_some_and(|code| TRANSIENT.contains(&code))
    }

    fn fetch_many(
        connection: &mut SqliteConnection,
        statement: Statement<Self>,
    ) -> Steps<'_, Self> {
        Executor::fetch_many(connection, statement)
    }

    fn bind(arguments: &mut SqliteArguments, value: i64) -> Result<(), BoxDynError> {
        arguments.add(value)
    }

    fn first_integer(row: &SqliteRow) -> Result<i64, sqlx::Error> {
        row.try_get(0)
    }

    fn rows_affected(result: &SqliteQueryResult) -> u64 {
        result.rows_affected()
    }
}
