//! Databases for tests, and made-up transactions.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use sqlx::mysql::{MySqlPoolOptions, MySqlRow};
use sqlx::postgres::{PgPoolOptions, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Executor, MySql, Pool, Postgres, Row, Sqlite};
use tempfile::TempDir;
use waltz_client::{ClientId, Mark, PartitionId, ReqId, Transaction, TransactionId};
use waltz_core::id::Generation;
use waltz_core::limits::Limits;
use waltz_core::record::{NewRecord, RecordView, append_with_id};
use waltz_databases::{Kind, Server};
use waltz_sql::SqlDatabase;

pub(crate) const P: PartitionId = PartitionId(3);

/// A database that tests can have as many of as they like.
pub(crate) trait TestDatabase: SqlDatabase {
    /// What keeps it alive.
    type Place: Clone + Send + Sync;

    async fn place() -> Self::Place;

    /// Connections of one more instance.
    async fn connect(place: &Self::Place) -> Pool<Self>;

    /// Executes statements, one by one.
    async fn execute(pool: &Pool<Self>, sql: &str);

    /// All rows of a query for integers.
    fn integers(pool: &Pool<Self>, sql: &str) -> impl Future<Output = Vec<Vec<i64>>> + Send;

    fn integer(row: &Self::Row) -> i64;
}

/// A database of a server that other tests use, too.
#[derive(Clone)]
pub(crate) struct OnServer {
    pub(crate) server: Arc<Server>,
    pub(crate) name: String,
}

impl OnServer {
    async fn new(kind: Kind) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let create = move || {
            let server = Server::shared(kind).expect("a database server");
            server.create_database(&name).expect("a database");
            Self { server, name }
        };
        tokio::task::spawn_blocking(create).await.expect("it does not panic")
    }

    /// A server that a test may kill.
    pub(crate) async fn alone(kind: Kind) -> Self {
        let create = move || {
            let server = Arc::new(Server::start(kind).expect("a database server"));
            server.create_database("test").expect("a database");
            Self { server, name: "test".to_owned() }
        };
        tokio::task::spawn_blocking(create).await.expect("it does not panic")
    }

    fn url(&self) -> String {
        self.server.url(&self.name)
    }
}

/// A file.
#[derive(Clone)]
pub(crate) struct InFile {
    _directory: Arc<TempDir>,
    path: PathBuf,
}

macro_rules! queries {
    ($row:ty) => {
        async fn execute(pool: &Pool<Self>, sql: &str) {
            for statement in sql.split(';') {
                pool.execute(AssertSqlSafe(statement)).await.expect(statement);
            }
        }

        async fn integers(pool: &Pool<Self>, sql: &str) -> Vec<Vec<i64>> {
            let rows = pool.fetch_all(AssertSqlSafe(sql)).await.expect(sql);
            let integers = |row: &$row| (0..row.len()).map(|column| row.get(column)).collect();
            rows.iter().map(integers).collect()
        }

        fn integer(row: &$row) -> i64 {
            row.get(0)
        }
    };
}

impl TestDatabase for Postgres {
    type Place = OnServer;

    async fn place() -> OnServer {
        OnServer::new(Kind::Postgres).await
    }

    async fn connect(place: &OnServer) -> Pool<Self> {
        postgres_at(&place.url())
    }

    queries!(PgRow);
}

impl TestDatabase for MySql {
    type Place = OnServer;

    async fn place() -> OnServer {
        OnServer::new(Kind::MariaDb).await
    }

    async fn connect(place: &OnServer) -> Pool<Self> {
        mariadb_at(&place.url())
    }

    queries!(MySqlRow);
}

impl TestDatabase for Sqlite {
    type Place = InFile;

    async fn place() -> InFile {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("database");
        InFile { _directory: Arc::new(directory), path }
    }

    async fn connect(place: &InFile) -> Pool<Self> {
        let file = SqliteConnectOptions::new().filename(&place.path).create_if_missing(true);
        SqlitePoolOptions::new().connect_lazy_with(file)
    }

    queries!(SqliteRow);
}

pub(crate) fn postgres_at(url: &str) -> Pool<Postgres> {
    let options = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(60));
    options.connect_lazy(url).expect("the URL is one")
}

pub(crate) fn mariadb_at(url: &str) -> Pool<MySql> {
    let options =
        MySqlPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(60));
    options.connect_lazy(url).expect("the URL is one")
}

/// A transaction as it comes out of the log.
pub(crate) fn transaction(partition: PartitionId, id: u64, data: &str) -> Transaction {
    let req_id = ReqId { client: ClientId(1), generation: Generation(1), partition, sequence: id };
    let record = NewRecord {
        req_id,
        header: 0,
        computed_at: Mark::NONE,
        writes: &[],
        reads: &[],
        appends: &[],
        data: data.as_bytes(),
    };
    let limits = Limits::default();
    let (mut request, mut record_bytes) = (BytesMut::new(), BytesMut::new());
    record.encode(&limits, &mut request).expect("it is short");
    let (view, _) = RecordView::parse(&request, &limits).expect("it was just encoded");
    append_with_id(&view, TransactionId(id), &mut record_bytes);
    Transaction::of_record(record_bytes.freeze()).expect("it was just encoded")
}

/// Transactions that the ledger takes.
pub(crate) fn transactions(partition: PartitionId, ids: Range<u64>) -> Vec<Transaction> {
    ids.map(|id| transaction(partition, id, "write")).collect()
}

pub(crate) fn mark(last: u64) -> Mark {
    Mark::at(TransactionId(last))
}
