//! How many transactions a second are applied to each database, beside how many a second the
//! database does by itself with the same statements.
//!
//! ```text
//! cargo run --release -p waltz-sql --example apply_rate
//! ```

use std::io::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Connection as _, Encode, Executor, IntoArguments, Type};
use sqlx::{MySql, MySqlPool, PgPool, Pool, Postgres, Sqlite};
use waltz_client::{
    CallbackError, ClientCallbacks, ClientId, Mark, PartitionId, ReqId, Transaction, TransactionId,
};
use waltz_core::id::Generation;
use waltz_core::limits::Limits;
use waltz_core::record::{NewRecord, RecordView, append_with_id};
use waltz_databases::{Kind, Server};
use waltz_sql::{Connection, SqlApply, SqlCallbacks, SqlDatabase};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The three figures are measured by turns, so that what else the machine does meets them alike.
const ROUNDS: u32 = 8;
const TURN: Duration = Duration::from_secs(1);
const BATCH: u64 = 256;
const DOLLARS: &str = "INSERT INTO stored VALUES ($1, $2)";
const QUESTION_MARKS: &str = "INSERT INTO stored VALUES (?, ?)";
const DATA: &str = "one hundred bytes of data, more or less, as a transfer between two accounts of a bank would have it";

/// Stores each transaction.
struct Store {
    insert: &'static str,
}

impl<DB: SqlDatabase> SqlApply<DB> for Store
where
    for<'q> i64: Encode<'q, DB> + Type<DB>,
    for<'q> &'q str: Encode<'q, DB> + Type<DB>,
    DB::Arguments: IntoArguments<DB>,
{
    async fn apply(
        &self,
        transaction: &Transaction,
        connection: &mut Connection<'_, DB>,
    ) -> Result<(), CallbackError> {
        let insert = sqlx::query(self.insert).bind(transaction.id().0 as i64).bind(DATA);
        connection.execute(insert).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let postgres = tokio::task::spawn_blocking(|| Server::start(Kind::Postgres)).await??;
    let mariadb = tokio::task::spawn_blocking(|| Server::start(Kind::MariaDb)).await??;
    let directory = tempfile::tempdir()?;
    let file = SqliteConnectOptions::new()
        .filename(directory.path().join("database"))
        .create_if_missing(true);
    let mut out = std::io::stdout();
    writeln!(out, "transactions a second; in brackets, as a multiple of the database's own")?;
    writeln!(out, "database    own  one by one          in batches of {BATCH}")?;
    let pool = PgPool::connect(&postgres.create_database("rate")?).await?;
    let begin = "BEGIN ISOLATION LEVEL SERIALIZABLE";
    measure::<Postgres>("PostgreSQL", pool, begin, DOLLARS, &mut out).await?;
    let pool = MySqlPool::connect(&mariadb.create_database("rate")?).await?;
    let begin = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; BEGIN";
    measure::<MySql>("MariaDB", pool, begin, QUESTION_MARKS, &mut out).await?;
    let pool = SqlitePoolOptions::new().connect_with(file).await?;
    measure::<Sqlite>("SQLite", pool, "BEGIN IMMEDIATE", QUESTION_MARKS, &mut out).await
}

async fn measure<DB: SqlDatabase>(
    name: &str,
    pool: Pool<DB>,
    begin: &'static str,
    insert: &'static str,
    out: &mut impl Write,
) -> Outcome<()>
where
    for<'c> &'c Pool<DB>: Executor<'c, Database = DB>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'q> i64: Encode<'q, DB> + Type<DB>,
    for<'q> &'q str: Encode<'q, DB> + Type<DB>,
    DB::Arguments: IntoArguments<DB>,
{
    pool.execute("CREATE TABLE stored (id BIGINT PRIMARY KEY, data VARCHAR(200) NOT NULL)").await?;
    let callbacks = SqlCallbacks::new(pool.clone(), Store { insert });
    callbacks.migrate().await?;
    // The row that the database moves by itself.
    callbacks.high_water_mark(PartitionId(1)).await?;
    let (mut own, mut one_by_one, mut in_batches) = (0.0, 0.0, 0.0);
    for round in 0..ROUNDS {
        own += own_rate(&pool, begin, insert, round).await? / f64::from(ROUNDS);
        one_by_one += rate(&callbacks, 1).await? / f64::from(ROUNDS);
        in_batches += rate(&callbacks, BATCH).await? / f64::from(ROUNDS);
    }
    let (one_ratio, batch_ratio) = (one_by_one / own, in_batches / own);
    writeln!(
        out,
        "{name:10} {own:5.0}  {one_by_one:6.0} ({one_ratio:.2})       {in_batches:8.0} ({batch_ratio:.2})"
    )?;
    Ok(())
}

/// Applies on from the mark, so many in each call, for a while.
async fn rate<DB: SqlDatabase>(callbacks: &SqlCallbacks<DB, Store>, batch: u64) -> Outcome<f64>
where
    Store: SqlApply<DB>,
{
    let first = callbacks.high_water_mark(PartitionId(0)).await?.next().0;
    let (start, mut next) = (Instant::now(), first);
    while start.elapsed() < TURN {
        let (_, result) = callbacks.apply_batch(&transactions(next..next + batch)).await;
        result?;
        next += batch;
    }
    Ok((next - first) as f64 / start.elapsed().as_secs_f64())
}

/// The same statements, one database transaction each, with nothing else.
async fn own_rate<DB: SqlDatabase>(
    pool: &Pool<DB>,
    begin: &'static str,
    insert: &'static str,
    round: u32,
) -> Outcome<f64>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'q> i64: Encode<'q, DB> + Type<DB>,
    for<'q> &'q str: Encode<'q, DB> + Type<DB>,
    DB::Arguments: IntoArguments<DB>,
{
    let mut connection = pool.acquire().await?;
    let (start, mut count) = (Instant::now(), 0_i64);
    while start.elapsed() < TURN {
        let mut sql = connection.begin_with(begin).await?;
        sqlx::query("UPDATE waltz_marks SET next_id = next_id + 1 WHERE partition_id = 1")
            .execute(&mut *sql)
            .await?;
        // Each round has ids of its own, behind those of the log.
        let id = (i64::from(round + 1) << 40) + count;
        sqlx::query(insert).bind(id).bind(DATA).execute(&mut *sql).await?;
        sql.commit().await?;
        count += 1;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

fn transactions(ids: Range<u64>) -> Vec<Transaction> {
    ids.map(|id| transaction(id).expect("it is well formed")).collect()
}

fn transaction(id: u64) -> Outcome<Transaction> {
    let partition = PartitionId(0);
    let (client, generation) = (ClientId(1), Generation(1));
    let record = NewRecord {
        req_id: ReqId { client, generation, partition, sequence: id },
        header: 0,
        computed_at: Mark::NONE,
        writes: &[],
        reads: &[],
        appends: &[],
        data: DATA.as_bytes(),
    };
    let limits = Limits::default();
    let (mut request, mut bytes) = (BytesMut::new(), BytesMut::new());
    record.encode(&limits, &mut request)?;
    let (view, _) = RecordView::parse(&request, &limits)?;
    append_with_id(&view, TransactionId(id), &mut bytes);
    Ok(Transaction::of_record(bytes.freeze())?)
}
