//! The SQLite database that callbacks fold the log into.
//!
//! Each partition has one row with its high-water mark. Applying transaction *t* moves the mark
//! from *t-1* to *t* where it is *t-1*, in the same database transaction as the change itself:
//! one row changed means that this instance applies it, none that another one already did. So any
//! number of instances on one database apply every transaction exactly once together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use thiserror::Error;
use waltz_core::id::{Mark, PartitionId, TransactionId};

use crate::account::AccountId;
use crate::operation::Operation;

/// How long an instance waits for another one's write.
const BUSY: Duration = Duration::from_secs(20);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS marks (
        partition INTEGER PRIMARY KEY, next INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS accounts (
        account INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS statements (
        account INTEGER NOT NULL, partition INTEGER NOT NULL, id INTEGER NOT NULL,
        number INTEGER NOT NULL, cents INTEGER NOT NULL, balance INTEGER NOT NULL,
        PRIMARY KEY (account, id)) WITHOUT ROWID;";

/// What is kept of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// Each account's balance.
    Balances,
    /// Balances, and one line for every change of one.
    Statements,
}

/// One line of an account's statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// Whose.
    pub account: AccountId,
    /// The operation.
    pub number: u64,
    /// What changed.
    pub cents: i64,
    /// The balance after it.
    pub balance: i64,
}

/// Why the database could not do it.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// SQLite failed; trying again may help.
    #[error("SQLite: {0}")]
    Sql(#[from] rusqlite::Error),
    /// The transaction is not the next one.
    #[error("{partition} is at {mark}, so transaction {id} can't be applied next")]
    Gap {
        /// The partition.
        partition: PartitionId,
        /// The mark in the database.
        mark: Mark,
        /// The transaction.
        id: TransactionId,
    },
}

/// One instance's way to a database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Database {
    writer: Arc<Mutex<Connection>>,
    reader: Arc<Mutex<Connection>>,
    projection: Projection,
    opening_cents: i64,
}

impl Database {
    /// Opens a database file that other instances may share, or creates it.
    ///
    /// # Errors
    /// When SQLite can't.
    pub fn open(
        path: &Path,
        projection: Projection,
        opening_cents: i64,
    ) -> Result<Self, DatabaseError> {
        let connect = || -> Result<Arc<Mutex<Connection>>, DatabaseError> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY)?;
            // The database is rebuilt from the log: after a power cut it may be behind, never wrong.
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.execute_batch(SCHEMA)?;
            Ok(Arc::new(Mutex::new(connection)))
        };
        Ok(Self { writer: connect()?, reader: connect()?, projection, opening_cents })
    }

    /// A database in memory. Instances share it as clones.
    ///
    /// # Errors
    /// When SQLite can't.
    pub fn in_memory(projection: Projection, opening_cents: i64) -> Result<Self, DatabaseError> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(SCHEMA)?;
        let connection = Arc::new(Mutex::new(connection));
        Ok(Self { writer: connection.clone(), reader: connection, projection, opening_cents })
    }

    /// What was applied of a partition.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn mark(&self, partition: PartitionId) -> Result<Mark, DatabaseError> {
        read_mark(&lock(&self.reader), partition)
    }

    /// An account's balance; an account that the log has not touched has what it opened with.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn balance(&self, account: AccountId) -> Result<i64, DatabaseError> {
        let balance = read_balance(&lock(&self.reader), account)?;
        Ok(balance.unwrap_or(self.opening_cents))
    }

    /// Applies transactions of one partition, in order, those that no instance applied before.
    /// Returns how many this instance applied.
    ///
    /// # Errors
    /// When SQLite fails, or the first transaction comes too early; nothing is applied then.
    pub fn apply(
        &self,
        partition: PartitionId,
        batch: &[(TransactionId, Operation)],
    ) -> Result<usize, DatabaseError> {
        let Some((last, _)) = batch.last() else { return Ok(0) };
        // Reading first costs no lock, and often another instance was faster.
        if self.mark(partition)?.includes(*last) {
            return Ok(0);
        }
        let mut connection = lock(&self.writer);
        let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        sql.prepare_cached("INSERT OR IGNORE INTO marks VALUES (?1, 0)")?.execute([partition.0])?;
        let mut applied = 0;
        for (id, operation) in batch {
            if advance(&sql, partition, *id)? {
                self.post(&sql, partition, *id, operation)?;
                applied += 1;
                continue;
            }
            let mark = read_mark(&sql, partition)?;
            if !mark.includes(*id) {
                return Err(DatabaseError::Gap { partition, mark, id: *id });
            }
        }
        sql.commit()?;
        Ok(applied)
    }

    /// The balance of every account that the log touched.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn balances(&self) -> Result<BTreeMap<AccountId, i64>, DatabaseError> {
        let connection = lock(&self.reader);
        let mut query = connection.prepare("SELECT account, balance FROM accounts")?;
        let rows = query.query_map([], |row| Ok((account(row.get(0)?), row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// All lines of all statements, by account, then in the order they were made.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn statements(&self) -> Result<Vec<Statement>, DatabaseError> {
        let connection = lock(&self.reader);
        let mut query = connection.prepare(
            "SELECT account, number, cents, balance FROM statements ORDER BY account, id",
        )?;
        let rows = query.query_map([], |row| {
            Ok(Statement {
                account: account(row.get(0)?),
                number: row.get::<_, i64>(1)? as u64,
                cents: row.get(2)?,
                balance: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn post(
        &self,
        sql: &Connection,
        partition: PartitionId,
        id: TransactionId,
        operation: &Operation,
    ) -> Result<(), DatabaseError> {
        for posting in operation.postings() {
            let before = read_balance(sql, posting.account)?.unwrap_or(self.opening_cents);
            let (account, balance) = (posting.account.0 as i64, before + posting.cents);
            sql.prepare_cached("INSERT OR REPLACE INTO accounts VALUES (?1, ?2)")?
                .execute(params![account, balance])?;
            if self.projection == Projection::Statements {
                let (id, number) = (id.0 as i64, operation.number() as i64);
                sql.prepare_cached("INSERT INTO statements VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                    .execute(params![account, partition.0, id, number, posting.cents, balance])?;
            }
        }
        Ok(())
    }
}

/// Moves the mark from the id before to `id`, if that is where it is.
fn advance(
    sql: &Connection,
    partition: PartitionId,
    id: TransactionId,
) -> Result<bool, DatabaseError> {
    let changed = sql
        .prepare_cached("UPDATE marks SET next = ?2 + 1 WHERE partition = ?1 AND next = ?2")?
        .execute(params![partition.0, id.0 as i64])?;
    Ok(changed == 1)
}

fn read_mark(sql: &Connection, partition: PartitionId) -> Result<Mark, DatabaseError> {
    let next: Option<i64> = sql
        .prepare_cached("SELECT next FROM marks WHERE partition = ?1")?
        .query_row([partition.0], |row| row.get(0))
        .optional()?;
    Ok(next.map_or(Mark::NONE, |next| Mark::before(TransactionId(next as u64))))
}

fn read_balance(sql: &Connection, account: AccountId) -> Result<Option<i64>, DatabaseError> {
    let balance = sql
        .prepare_cached("SELECT balance FROM accounts WHERE account = ?1")?
        .query_row([account.0 as i64], |row| row.get(0))
        .optional()?;
    Ok(balance)
}

/// SQLite's integers are signed; accounts keep all 64 bits.
fn account(stored: i64) -> AccountId {
    AccountId(stored as u64)
}

/// A thread that panicked left no half-done transaction: SQLite rolled it back.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId(3);

    fn transfer(id: u64) -> (TransactionId, Operation) {
        let (from, to) = (AccountId(id % 3), AccountId(5));
        (TransactionId(id), Operation::Transfer { number: id, from, to, cents: 10 })
    }

    fn batch(ids: std::ops::Range<u64>) -> Vec<(TransactionId, Operation)> {
        ids.map(transfer).collect()
    }

    #[test]
    fn a_transaction_is_applied_once_however_often_it_comes() {
        let database = Database::in_memory(Projection::Balances, 100).unwrap();
        assert_eq!(database.mark(P).unwrap(), Mark::NONE);
        assert_eq!(database.apply(P, &batch(0..2)).unwrap(), 2);
        assert_eq!(database.apply(P, &batch(0..3)).unwrap(), 1);
        assert_eq!(database.apply(P, &batch(1..3)).unwrap(), 0);
        assert_eq!(database.mark(P).unwrap(), Mark::at(TransactionId(2)));
        assert_eq!(database.balance(AccountId(5)).unwrap(), 130);
        assert_eq!(database.balance(AccountId(0)).unwrap(), 90);
        assert_eq!(database.balance(AccountId(99)).unwrap(), 100);
    }

    #[test]
    fn a_gap_is_refused_and_leaves_nothing_behind() {
        let database = Database::in_memory(Projection::Balances, 0).unwrap();
        let mut broken = batch(0..2);
        broken.push(transfer(4));
        let error = database.apply(P, &broken).unwrap_err();
        assert!(matches!(error, DatabaseError::Gap { id: TransactionId(4), .. }), "{error}");
        assert_eq!(database.mark(P).unwrap(), Mark::NONE);
        assert!(database.balances().unwrap().is_empty());
    }

    #[test]
    fn instances_of_one_file_apply_everything_once_together() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bank.db");
        let applied: usize = std::thread::scope(|scope| {
            let instances: Vec<_> = (1..=3)
                .map(|step| {
                    let database = Database::open(&path, Projection::Balances, 0).unwrap();
                    scope.spawn(move || {
                        let all = batch(0..300);
                        all.chunks(step * 3)
                            .map(|part| database.apply(P, part).unwrap())
                            .sum::<usize>()
                    })
                })
                .collect();
            instances.into_iter().map(|instance| instance.join().unwrap()).sum::<usize>()
        });
        let database = Database::open(&path, Projection::Balances, 0).unwrap();
        assert_eq!(applied, 300);
        assert_eq!(database.balance(AccountId(5)).unwrap(), 3_000);
        assert_eq!(database.balances().unwrap().values().sum::<i64>(), 0);
    }

    #[test]
    fn statements_tell_each_change_and_the_balance_after_it() {
        let database = Database::in_memory(Projection::Statements, 100).unwrap();
        database.apply(P, &batch(0..4)).unwrap();
        let lines = database.statements().unwrap();
        let of_zero: Vec<_> = lines
            .iter()
            .filter(|line| line.account == AccountId(0))
            .map(|line| (line.number, line.cents, line.balance))
            .collect();
        assert_eq!(of_zero, [(0, -10, 90), (3, -10, 80)]);
        assert_eq!(lines.len(), 8);
    }
}
