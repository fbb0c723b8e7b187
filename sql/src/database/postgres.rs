//! PostgreSQL: serializable by snapshots, so that of two transactions that can't both be, one
//! fails and is tried again.

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnection, PgQueryResult, PgRow};
use sqlx::{Arguments, Executor, Postgres, Row};

use super::dialect::{Dialect, Steps, is_connection_lost};
use crate::statement::Statement;
use crate::table::TableName;

/// The classes of errors that pass: connections, resources, operators, the system.
const TRANSIENT_CLASSES: [&str; 4] = ["08", "53", "57", "58"];

/// Serialization failure, deadlock, lock not available, and a primary that became a standby.
const TRANSIENT: [&str; 4] = ["40001", "40P01", "55P03", "25006"];

impl Dialect for Postgres {
    // The table of marks is so small that PostgreSQL would read all of it to find a row. Then
    // partitions that move their marks at the same time would fail each other's transactions, each
    // having read what the other wrote. So it has to use the index, for this statement alone.
    const BEGIN: &'static str = "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE; \
        SELECT set_config('waltz.enable_seqscan', current_setting('enable_seqscan'), true); \
        SET LOCAL enable_seqscan = off";

    const ADVANCE_SUFFIX: &'static str =
        "RETURNING set_config('enable_seqscan', current_setting('waltz.enable_seqscan'), true)";

    // What runs inside CALL and DO can't end a transaction that was begun outside of it.
    const STATEMENTS: &'static [&'static str] = &[
        "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE", "LOCK",
        "NOTIFY", "CALL", "DO", "CREATE", "ALTER", "DROP", "TRUNCATE",
    ];

    const PREPARES_ONE: bool = true;

    const ONE_WRITER: bool = false;

    /// Creating a table that another session creates at that moment is an error in PostgreSQL, so
    /// sessions take turns; the number is "waltz" in ASCII.
    fn migration(table: &TableName) -> Vec<String> {
        vec![format!(
            "DO $$ BEGIN \
             PERFORM pg_advisory_xact_lock(512735605882); \
             CREATE TABLE IF NOT EXISTS {table} \
             (partition_id BIGINT PRIMARY KEY, next_id BIGINT NOT NULL); \
             END $$"
        )]
    }

    fn insert_or_ignore(table: &TableName) -> String {
        format!(
            "INSERT INTO {table} (partition_id, next_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        )
    }

    fn argument(nth: usize) -> String {
        format!("${nth}")
    }

    fn is_transient(error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(|error| error.code());
        is_connection_lost(error)
            || code.is_some_and(|code| {
                TRANSIENT.contains(&&*code)
                    || TRANSIENT_CLASSES.iter().any(|class| code.starts_with(class))
            })
    }

    fn fetch_many(connection: &mut PgConnection, statement: Statement<Self>) -> Steps<'_, Self> {
        Executor::fetch_many(connection, statement)
    }

    fn bind(arguments: &mut PgArguments, value: i64) -> Result<(), BoxDynError> {
        arguments.add(value)
    }

    fn first_integer(row: &PgRow) -> Result<i64, sqlx::Error> {
        row.try_get(0)
    }

    fn rows_affected(result: &PgQueryResult) -> u64 {
        result.rows_affected()
    }
}
