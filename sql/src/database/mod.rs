//! The databases, and all that is different between them.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

/// A database that can follow the log: [`sqlx::Postgres`], [`sqlx::MySql`] (which MariaDB is to
/// `sqlx`, too) or [`sqlx::Sqlite`].
pub trait SqlDatabase: dialect::Dialect {}

impl<DB: dialect::Dialect> SqlDatabase for DB {}

pub(crate) mod dialect {
    use futures_util::stream::BoxStream;
    use sqlx::error::BoxDynError;
    use sqlx::{Database, Either};

    use crate::statement::Statement;
    use crate::table::TableName;

    /// What a statement comes to, step by step.
    pub(crate) type Steps<'c, DB> = BoxStream<
        'c,
        Result<Either<<DB as Database>::QueryResult, <DB as Database>::Row>, sqlx::Error>,
    >;

    /// Not implemented outside of this crate.
    pub trait Dialect: Database {
        /// Begins a serializable transaction that may write.
        const BEGIN: &'static str;
        /// What the statement that moves a mark ends with.
        const ADVANCE_SUFFIX: &'static str = "";
        /// The words that a statement of the application may begin with.
        const STATEMENTS: &'static [&'static str];
        /// Whether the database refuses to prepare several statements at once.
        const PREPARES_ONE: bool;
        /// Whether it has one writer at a time, and those who wait for it poll.
        const ONE_WRITER: bool;

        /// The statements that make a database ready, each of them idempotent.
        fn migration(table: &TableName) -> Vec<String>;

        /// Adds a row with two integers, unless its key is there.
        fn insert_or_ignore(table: &TableName) -> String;

        /// The name of the nth argument of a statement, from 1 on.
        fn argument(nth: usize) -> String;

        /// Whether the same database transaction may succeed when it is tried again.
        fn is_transient(error: &sqlx::Error) -> bool;

        /// Executes a statement.
        fn fetch_many(
            connection: &mut Self::Connection,
            statement: Statement<Self>,
        ) -> Steps<'_, Self>
        where
            Self: super::SqlDatabase;

        /// Adds an argument.
        fn bind(arguments: &mut Self::Arguments, value: i64) -> Result<(), BoxDynError>;

        /// The first column of a row.
        fn first_integer(row: &Self::Row) -> Result<i64, sqlx::Error>;

        /// How many rows a statement changed.
        fn rows_affected(result: &Self::QueryResult) -> u64;
    }

    /// Whether the connection failed, rather than what was asked of it.
    pub(super) fn is_connection_lost(error: &sqlx::Error) -> bool {
        matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed
        )
    }
}
