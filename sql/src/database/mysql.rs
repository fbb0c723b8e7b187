//! MySQL and MariaDB: serializable by locks on whatever is read or written.

use sqlx::error::BoxDynError;
use sqlx::mysql::{
    MySqlArguments, MySqlConnection, MySqlDatabaseError, MySqlQueryResult, MySqlRow,
};
use sqlx::{Arguments, Executor, MySql, Row};

use super::dialect::{Dialect, Steps, is_connection_lost};
use crate::statement::Statement;
use crate::table::TableName;

/// Too many connections; a server that shuts down or was made read-only; connections lost or
/// killed; lock wait time-outs and deadlocks; interrupted queries; a record that changed since it
/// was read.
const TRANSIENT: [u16; 18] = [
    1020, 1040, 1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1184, 1205, 1213, 1290, 1317, 1836,
    1927, 3024,
];

impl Dialect for MySql {
    // The isolation is that of the next transaction only, whatever the session's is.
    const BEGIN: &'static str =
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; START TRANSACTION READ WRITE";

    // No CALL: a procedure may commit. No definitions: they commit on the side.
    const STATEMENTS: &'static [&'static str] =
        &["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES", "TABLE"];

    const PREPARES_ONE: bool = true;

    const ONE_WRITER: bool = false;

    fn migration(table: &TableName) -> Vec<String> {
        vec![format!(
            "CREATE TABLE IF NOT EXISTS {table} \
             (partition_id BIGINT NOT NULL PRIMARY KEY, next_id BIGINT NOT NULL) ENGINE = InnoDB"
        )]
    }

    fn insert_or_ignore(table: &TableName) -> String {
        format!("INSERT IGNORE INTO {table} (partition_id, next_id) VALUES (?, ?)")
    }

    fn argument(_: usize) -> String {
        "?".to_owned()
    }

    fn is_transient(error: &sqlx::Error) -> bool {
        let error_of_server = error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
        is_connection_lost(error)
            || error_of_server.is_some_and(|error| TRANSIENT.contains(&error.number()))
    }

    fn fetch_many(connection: &mut MySqlConnection, statement: Statement<Self>) -> Steps<'_, Self> {
        Executor::fetch_many(connection, statement)
    }

    fn bind(arguments: &mut MySqlArguments, value: i64) -> Result<(), BoxDynError> {
        arguments.add(value)
    }

    fn first_integer(row: &MySqlRow) -> Result<i64, sqlx::Error> {
        row.try_get(0)
    }

    fn rows_affected(result: &MySqlQueryResult) -> u64 {
        result.rows_affected()
    }
}
