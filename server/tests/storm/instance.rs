//! One instance of the service: a process of its own that submits until its standard input ends.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use sqlx::{MySqlPool, PgPool, SqlitePool};
use tokio::task::JoinSet;
use waltz_client::{
    CallbackError, Client, ClientConfig, Outcome, PartitionId, PartitionLocalLock, Transaction,
    TransactionBuilder, TransactionContext,
};
use waltz_core::time::Random;
use waltz_sql::{SqlApply, SqlCallbacks, sqlx};

use super::ledger::{Book, COUNTERS, Ledger, Step, partition_of};

/// Submissions that an instance has under way.
const WORKERS: u64 = 64;
/// How an instance ends whose database and log don't fit.
const BROKEN: i32 = 3;

#[derive(Debug, Args)]
pub(crate) struct InstanceArgs {
    /// Where nodes listen.
    #[arg(long, value_delimiter = ',')]
    servers: Vec<String>,
    /// The database.
    #[arg(long)]
    url: String,
    /// Where to write down what was told to be committed.
    #[arg(long)]
    told: PathBuf,
    /// Names this life of the instance.
    #[arg(long)]
    life: u32,
}

/// A transaction does not fit its database: nothing can go on.
pub(crate) fn give_up(transaction: &Transaction, error: &CallbackError) {
    let (partition, id) = (transaction.partition(), transaction.id());
    tracing::error!("{partition} {id} can't be applied: {error}");
    std::process::exit(BROKEN);
}

pub(crate) fn run(args: &InstanceArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let url = args.url.as_str();
        match url.split(':').next() {
            Some("postgres") => serve(args, PgPool::connect_lazy(url)?).await,
            Some("mysql") => serve(args, MySqlPool::connect_lazy(url)?).await,
            _ => serve(args, SqlitePool::connect_lazy(url)?).await,
        }
    })
}

async fn serve<B: Book>(args: &InstanceArgs, book: B) -> anyhow::Result<ExitCode>
where
    Ledger: SqlApply<B::Database>,
{
    let callbacks = SqlCallbacks::new(book.pool(), Ledger);
    callbacks.migrate().await?;
    let client = Client::connect(ClientConfig::new(args.servers.clone()), callbacks).await?;
    let told = Told::new(args)?;
    let stop = Arc::new(AtomicBool::new(false));
    stop_with_stdin(stop.clone());
    let operations = Arc::new(AtomicI64::new(i64::from(args.life) << 32));
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (client, book, told) = (client.clone(), book.clone(), told.clone());
        let (stop, operations) = (stop.clone(), operations.clone());
        let mut random = Random::new(u64::from(args.life) * WORKERS + worker);
        workers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let counter = (random.bits() % COUNTERS as u64) as i64;
                let operation = operations.fetch_add(1, Ordering::Relaxed);
                let increment = Increment { book: book.clone(), counter, operation };
                if let Outcome::Committed(id) = client.submit(increment).await {
                    told.committed(partition_of(counter), id.0, operation);
                }
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended?;
    }
    client.flush().await?;
    client.close().await;
    Ok(ExitCode::SUCCESS)
}

/// The driver has the other end, and closes it when it has seen enough, or dies.
fn stop_with_stdin(stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        // However it ends, it has ended.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.store(true, Ordering::Relaxed);
    });
}

/// Adds one to a counter.
struct Increment<B> {
    book: B,
    counter: i64,
    operation: i64,
}

impl<B: Book> TransactionContext for Increment<B> {
    fn partition(&self, _: u32) -> PartitionId {
        partition_of(self.counter)
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        let Self { counter, operation, .. } = *self;
        let from = self.book.value(counter).await?;
        let lock = PartitionLocalLock::new("counter", counter as u64);
        builder.write_lock(lock).data_bytes(Step { counter, from, operation }.encode());
        Ok(true)
    }
}

/// What this instance was told, in a file that a kill leaves as it is.
#[derive(Clone)]
struct Told(Arc<Mutex<File>>);

impl Told {
    fn new(args: &InstanceArgs) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(&args.told)?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    fn committed(&self, partition: PartitionId, id: u64, operation: i64) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{} {id} {operation}\n", partition.0);
        file.write_all(line.as_bytes()).expect("a line can be written");
    }
}
