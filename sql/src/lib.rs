//! Keeps SQL databases up to date with Waltz: PostgreSQL, MySQL and MariaDB, SQLite.
//!
//! A service gives a pool of connections and an application to [`SqlCallbacks`], and these to its
//! client. Every committed transaction is then applied exactly once, in order, however many
//! instances of the service share the database and whenever any of them, or the database, stops:
//!
//! - A table has a row for each partition: its id and its high-water mark.
//! - Transaction *t* is applied in one serializable database transaction, which first moves the
//!   mark from *t* - 1 to *t* where it is *t* - 1. If that changes a row, the application
//!   [applies](SqlApply::apply) *t* and it is committed. If not, another instance did it, and it is
//!   skipped. A client that is behind applies many transactions in one database transaction.
//! - Lost connections, deadlocks and serialization failures are tried again after a pause. If it
//!   is not known whether a commit succeeded, the mark tells.
//! - What the application fails with is rolled back and given to
//!   [`SqlApply::uncaught_exception`], and the transaction comes again.
//! - The data of transactions is loaded before the database transaction begins: no database lock
//!   is ever held while the log is waited for.
//!
//! The application's [`Connection`] takes statements that read and change rows. It can't commit,
//! roll back or change the isolation.
//!
//! Contexts read with the same pool ([`SqlCallbacks::pool`]). What they read is at least as new as
//! their client's high-water mark; what is newer is what locks are for.
//!
//! # PostgreSQL
//!
#![cfg_attr(feature = "postgres", doc = "```no_run")]
#![cfg_attr(not(feature = "postgres"), doc = "```ignore")]
//! use waltz_client::{CallbackError, Client, ClientConfig, Transaction, Utf8};
//! use waltz_sql::sqlx::{self, Postgres, PgPool};
//! use waltz_sql::{Connection, SqlApply, SqlCallbacks};
//!
//! /// Counts how often each word was appended.
//! struct Words;
//!
//! impl SqlApply<Postgres> for Words {
//!     async fn apply(
//!         &self,
//!         transaction: &Transaction,
//!         connection: &mut Connection<'_, Postgres>,
//!     ) -> Result<(), CallbackError> {
//!         let word: String = transaction.data(&Utf8).await?;
//!         let count = sqlx::query("INSERT INTO words VALUES ($1, 1)
//!             ON CONFLICT (word) DO UPDATE SET count = words.count + 1")
//!             .bind(word);
//!         connection.execute(count).await?;
//!         Ok(())
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = PgPool::connect("postgres://words@localhost/words").await?;
//! sqlx::query("CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY, count BIGINT NOT NULL)")
//!     .execute(&pool)
//!     .await?;
//! let callbacks = SqlCallbacks::new(pool, Words);
//! callbacks.migrate().await?;
//! let client = Client::connect(ClientConfig::new(["127.0.0.1:7400"]), callbacks).await?;
//! # client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Two transactions that could not have happened one after the other don't both commit; the second
//! is tried again. A transaction that can wait for locks of others for long needs a
//! `lock_timeout`, among the options of the pool.
//!
//! # MySQL and MariaDB
//!
#![cfg_attr(feature = "mysql", doc = "```no_run")]
#![cfg_attr(not(feature = "mysql"), doc = "```ignore")]
//! use waltz_client::{CallbackError, Client, ClientConfig, Transaction, Utf8};
//! use waltz_sql::sqlx::{self, MySql, MySqlPool};
//! use waltz_sql::{Connection, SqlApply, SqlCallbacks};
//!
//! /// Counts how often each word was appended.
//! struct Words;
//!
//! impl SqlApply<MySql> for Words {
//!     async fn apply(
//!         &self,
//!         transaction: &Transaction,
//!         connection: &mut Connection<'_, MySql>,
//!     ) -> Result<(), CallbackError> {
//!         let word: String = transaction.data(&Utf8).await?;
//!         let count = sqlx::query("INSERT INTO words VALUES (?, 1)
//!             ON DUPLICATE KEY UPDATE count = count + 1")
//!             .bind(word);
//!         connection.execute(count).await?;
//!         Ok(())
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = MySqlPool::connect("mysql://words@localhost/words").await?;
//! sqlx::query("CREATE TABLE IF NOT EXISTS words (word VARCHAR(100) PRIMARY KEY, count BIGINT NOT NULL)")
//!     .execute(&pool)
//!     .await?;
//! let callbacks = SqlCallbacks::new(pool, Words);
//! callbacks.migrate().await?;
//! let client = Client::connect(ClientConfig::new(["127.0.0.1:7400"]), callbacks).await?;
//! # client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Tables have to be InnoDB's, as they are by default: others know no transactions.
//!
//! # SQLite
//!
#![cfg_attr(feature = "sqlite", doc = "```no_run")]
#![cfg_attr(not(feature = "sqlite"), doc = "```ignore")]
//! use waltz_client::{CallbackError, Client, ClientConfig, Transaction, Utf8};
//! use waltz_sql::sqlx::{self, Sqlite, SqlitePool};
//! use waltz_sql::{Connection, SqlApply, SqlCallbacks};
//!
//! /// Counts how often each word was appended.
//! struct Words;
//!
//! impl SqlApply<Sqlite> for Words {
//!     async fn apply(
//!         &self,
//!         transaction: &Transaction,
//!         connection: &mut Connection<'_, Sqlite>,
//!     ) -> Result<(), CallbackError> {
//!         let word: String = transaction.data(&Utf8).await?;
//!         let count = sqlx::query("INSERT INTO words VALUES (?, 1)
//!             ON CONFLICT (word) DO UPDATE SET count = count + 1")
//!             .bind(word);
//!         connection.execute(count).await?;
//!         Ok(())
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = sqlx::sqlite::SqliteConnectOptions::new().filename("words.db").create_if_missing(true);
//! let pool = SqlitePool::connect_with(options).await?;
//! sqlx::query("CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY, count INTEGER NOT NULL)")
//!     .execute(&pool)
//!     .await?;
//! let callbacks = SqlCallbacks::new(pool, Words);
//! callbacks.migrate().await?;
//! let client = Client::connect(ClientConfig::new(["127.0.0.1:7400"]), callbacks).await?;
//! # client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`SqlCallbacks::migrate`] switches the file to a write-ahead log, so that reading does not wait for
//! writing. There is one writer at a time: partitions of one process take turns, instances wait up
//! to the `busy_timeout` of the pool's options (5 s by default) and try again.

mod attempt;
mod backoff;
mod batch;
mod callbacks;
mod connection;
mod database;
mod error;
mod marks;
mod options;
mod progress;
mod statement;
mod table;

pub use callbacks::{SqlApply, SqlCallbacks};
pub use connection::{Connection, StatementError};
pub use database::SqlDatabase;
pub use error::SqlError;
pub use options::SqlOptions;
pub use table::{TableName, TableNameError};

pub use sqlx;
