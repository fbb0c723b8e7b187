//! What the application has of a database transaction while it applies: statements, and nothing
//! that could end it.

use std::fmt;

use futures_util::TryStreamExt;
use sqlx::{Either, Execute};
use thiserror::Error;

use crate::database::SqlDatabase;
use crate::statement::Statement;

/// The connection on which an application applies transactions.
///
/// It takes whatever `sqlx` can execute ([`sqlx::query`](fn@sqlx::query) with its arguments, or a text), one
/// statement at a time, inside the database transaction that also moves the high-water mark. It
/// can't commit, roll back or change the isolation: statements that could are
/// [refused](StatementError::Refused). Session settings belong into the pool's options.
///
/// After a statement has failed the database transaction will be rolled back, whatever the
/// application does then: databases differ in what is left of it, so no more statements are taken.
/// Avoid errors that are expected, as with `ON CONFLICT DO NOTHING`.
pub struct Connection<'t, DB: SqlDatabase> {
    inner: &'t mut DB::Connection,
    state: State,
}

/// Why a statement was not executed, or failed.
#[derive(Debug, Error)]
pub enum StatementError {
    /// It is none of those that read and change rows.
    #[error(
        "statements that begin with {word:?} are not allowed while applying a transaction; allowed are {}",
        allowed.join(", ")
    )]
    Refused {
        /// The word that it begins with.
        word: String,
        /// The words that it may begin with.
        allowed: &'static [&'static str],
    },
    /// There is more than one.
    #[error("several statements at once are not allowed while applying a transaction")]
    Several,
    /// The database transaction will be rolled back already.
    #[error("an earlier statement failed, so this one was not executed: {0}")]
    Ended(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What became of the statements so far.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Sound,
    /// One is being executed; it stays so when the application drops it.
    Executing,
    Failed {
        transient: bool,
        reason: String,
    },
}

/// Why nothing of a database transaction may be committed.
pub(crate) enum Unsound {
    /// To be tried again.
    Transient(String),
    Failed(String),
}

impl<'t, DB: SqlDatabase> Connection<'t, DB> {
    pub(crate) fn new(inner: &'t mut DB::Connection) -> Self {
        Self { inner, state: State::Sound }
    }

    /// Executes a statement.
    ///
    /// # Errors
    /// When it is refused, or the database fails.
    pub async fn execute<'q>(
        &mut self,
        query: impl Execute<'q, DB>,
    ) -> Result<DB::QueryResult, StatementError> {
        let statement = Statement::checked(query)?;
        Ok(self.run(statement, 0).await?.0)
    }

    /// Executes a query that finds exactly one row, or takes the first.
    ///
    /// # Errors
    /// When it finds none ([`sqlx::Error::RowNotFound`], after which the connection is still
    /// usable), is refused, or the database fails.
    pub async fn fetch_one<'q>(
        &mut self,
        query: impl Execute<'q, DB>,
    ) -> Result<DB::Row, StatementError> {
        let row = self.fetch_optional(query).await?;
        row.ok_or(StatementError::Database(sqlx::Error::RowNotFound))
    }

    /// Executes a query that finds at most one row, or takes the first.
    ///
    /// # Errors
    /// When it is refused, or the database fails.
    pub async fn fetch_optional<'q>(
        &mut self,
        query: impl Execute<'q, DB>,
    ) -> Result<Option<DB::Row>, StatementError> {
        let statement = Statement::checked(query)?;
        Ok(self.run(statement, 1).await?.1.pop())
    }

    /// Executes a query and takes all rows.
    ///
    /// # Errors
    /// When it is refused, or the database fails.
    pub async fn fetch_all<'q>(
        &mut self,
        query: impl Execute<'q, DB>,
    ) -> Result<Vec<DB::Row>, StatementError> {
        let statement = Statement::checked(query)?;
        Ok(self.run(statement, usize::MAX).await?.1)
    }

    /// Executes what no application may.
    #[cfg(all(test, feature = "sqlite"))]
    pub(crate) async fn cheat(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        let statement = Statement::own(sqlx::SqlStr::from_static(sql), DB::Arguments::default());
        run::<DB>(self.inner, statement, 0).await.map(drop)
    }

    /// Whether what was executed may be committed.
    pub(crate) fn soundness(&self) -> Result<(), Unsound> {
        match &self.state {
            State::Sound => Ok(()),
            State::Executing => Err(Unsound::Failed(ABANDONED.to_owned())),
            State::Failed { transient: true, reason } => Err(Unsound::Transient(reason.clone())),
            State::Failed { transient: false, reason } => Err(Unsound::Failed(reason.clone())),
        }
    }

    async fn run(
        &mut self,
        statement: Statement<DB>,
        max_rows: usize,
    ) -> Result<(DB::QueryResult, Vec<DB::Row>), StatementError> {
        if let Err(Unsound::Transient(reason) | Unsound::Failed(reason)) = self.soundness() {
            return Err(StatementError::Ended(reason));
        }
        self.state = State::Executing;
        let executed = run::<DB>(self.inner, statement, max_rows).await;
        self.state = match &executed {
            Ok(_) => State::Sound,
            Err(error) => {
                State::Failed { transient: DB::is_transient(error), reason: error.to_string() }
            }
        };
        Ok(executed?)
    }
}

const ABANDONED: &str = "a statement was dropped before it was done";

/// Executes a statement to its end; of its rows, so many are kept.
pub(crate) async fn run<DB: SqlDatabase>(
    connection: &mut DB::Connection,
    statement: Statement<DB>,
    max_rows: usize,
) -> Result<(DB::QueryResult, Vec<DB::Row>), sqlx::Error> {
    let (mut result, mut rows) = (DB::QueryResult::default(), Vec::new());
    let mut steps = DB::fetch_many(connection, statement);
    while let Some(step) = steps.try_next().await? {
        match step {
            Either::Left(part) => result.extend([part]),
            Either::Right(row) if rows.len() < max_rows => rows.push(row),
            Either::Right(_) => {}
        }
    }
    Ok((result, rows))
}

impl<DB: SqlDatabase> fmt::Debug for Connection<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("database", &DB::NAME)
            .field("state", &self.state)
            .finish()
    }
}
