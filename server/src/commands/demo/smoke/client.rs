//! One client of the smoke test: a process that submits until it is told to stop by a line on its
//! standard input, reads on until that ends, and keeps a checksum of all it reads in a database of its
//! own.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use waltz_client::{
    CallbackError, Client, ClientCallbacks, Conflict, FeedMode, Mark, Outcome, PartitionId,
    PartitionLocalLock, SubmitOptions, Transaction, TransactionBuilder, TransactionContext,
    TransactionId,
};
use waltz_core::time::Random;

use super::told::{Diary, Told};
use crate::args::{ServerArgs, parse_duration};
use crate::commands::connect::{config, connect};
use crate::exit::Exit;
use crate::output::Output;
use crate::trial::Contents;

/// Few enough that submissions conflict now and then.
const KEYS: u64 = 100_000;
const DATA_BYTES: usize = 100;
/// How often it says how far it is.
const SAY_EVERY: Duration = Duration::from_millis(200);

/// A client of the smoke test, started by it.
#[derive(Debug, Args)]
pub struct SmokeClientArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Where it keeps what it knows
    #[arg(long)]
    directory: PathBuf,

    /// Its number
    #[arg(long)]
    client: u32,

    /// How often it was started before
    #[arg(long)]
    life: u32,

    /// Submissions under way in each partition
    #[arg(long, default_value_t = 200)]
    workers: u32,

    /// How long each of them waits before the next one
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pause: Duration,
}

/// How far a client is; a line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Commits it was told of in this life.
    pub(super) written: u64,
    /// Executions that a changed lock made necessary, in this life.
    pub(super) retries: u64,
    /// Submissions that failed for certain, in this life.
    pub(super) failed: u64,
    /// The longest that a partition committed nothing, in milliseconds, since it last said so.
    pub(super) longest_pause_ms: u64,
    /// What it has read of each partition, in all lives.
    pub(super) read: BTreeMap<u32, Prefix>,
    /// Whether it submits nothing more.
    pub(super) stopped: bool,
    /// Whether it has read everything, too.
    pub(super) finished: bool,
}

/// What was read of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Prefix {
    /// How many transactions.
    pub(super) transactions: u64,
    /// Their checksum.
    pub(super) contents: Contents,
}

/// Runs one client.
///
/// # Errors
/// When the cluster is not found, or something can't be written.
pub async fn run(args: SmokeClientArgs) -> anyhow::Result<Exit> {
    let book = Book::open(&args)?;
    let config = config(&args.server).feed(FeedMode::Records);
    let client = connect(config, book.clone()).await?;
    let partitions = client.cluster().await?.partitions.len() as u32;
    let diary = Diary::create(&args.directory, args.client, args.life);
    let work = Arc::new(Work {
        first: (u64::from(args.client) << 56) | (u64::from(args.life) << 40),
        submissions: AtomicU64::new(0),
        written: AtomicU64::new(0),
        pauses: Pauses::new(partitions),
        retries: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        pause: args.pause,
        diary: Mutex::new(diary.context("could not make a file for what is committed")?),
    });
    let ended = stop_with_stdin(work.clone());
    let mut workers = JoinSet::new();
    for worker in 0..partitions * args.workers {
        let random = Random::new(work.first | u64::from(worker));
        let partition = PartitionId(worker % partitions);
        workers.spawn(work.clone().go_on(client.clone(), partition, random));
    }
    let mut output = Output::new();
    let mut say = tokio::time::interval(SAY_EVERY);
    loop {
        tokio::select! {
            ended = workers.join_next() => match ended {
                Some(ended) => ended.context("a worker ended")??,
                None => break,
            },
            _ = say.tick() => {
                output.json(&work.progress(&book))?;
                output.flush()?;
            }
        }
    }
    output.json(&Progress { stopped: true, ..work.progress(&book) })?;
    output.flush()?;
    // The others may still have submissions under way. Whoever held the other end may be gone.
    let _ = ended.await;
    client.flush().await.context("could not read to the end of the log")?;
    client.close().await;
    work.diary().flush()?;
    output.json(&Progress { stopped: true, finished: true, ..work.progress(&book) })?;
    output.flush()?;
    Ok(Exit::Success)
}

/// Whoever started it has the other end: it writes there when it has seen enough, and closes it when
/// nobody submits any more, or dies. Ready when it is closed.
fn stop_with_stdin(work: Arc<Work>) -> oneshot::Receiver<()> {
    let (end, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin();
        // However it ends, it has ended.
        let _ = stdin.read(&mut [0]);
        work.is_over.store(true, Ordering::Relaxed);
        let _ = stdin.read_to_end(&mut Vec::new());
        drop(end);
    });
    ended
}

/// What all workers share.
#[derive(Debug)]
struct Work {
    /// The number of the first submission of this life.
    first: u64,
    submissions: AtomicU64,
    written: AtomicU64,
    pauses: Pauses,
    retries: AtomicU64,
    failed: AtomicU64,
    is_over: AtomicBool,
    pause: Duration,
    diary: Mutex<Diary>,
}

impl Work {
    async fn go_on(
        self: Arc<Self>,
        client: Client,
        partition: PartitionId,
        mut random: Random,
    ) -> std::io::Result<()> {
        while !self.is_over.load(Ordering::Relaxed) {
            let submission = self.first + self.submissions.fetch_add(1, Ordering::Relaxed);
            let key = random.bits() % KEYS;
            let write = Write { work: self.clone(), partition, submission, key };
            match client.submit_when_ready(write, SubmitOptions::default()).await.await {
                Outcome::Committed(id) => {
                    self.written.fetch_add(1, Ordering::Relaxed);
                    self.pauses.end(partition);
                    self.diary().write(Told { partition, id, submission })?;
                }
                _ => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
            }
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
        Ok(())
    }

    fn progress(&self, book: &Book) -> Progress {
        Progress {
            written: self.written.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            longest_pause_ms: self.pauses.longest().as_millis() as u64,
            read: book.read(),
            stopped: false,
            finished: false,
        }
    }

    fn diary(&self) -> MutexGuard<'_, Diary> {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For how long each partition has committed nothing.
#[derive(Debug)]
struct Pauses(Mutex<Vec<Pause>>);

#[derive(Debug, Clone, Copy)]
struct Pause {
    /// The last commit.
    since: Instant,
    /// The longest pause that has ended since it was asked for.
    longest: Duration,
}

impl Pauses {
    fn new(partitions: u32) -> Self {
        let pause = Pause { since: Instant::now(), longest: Duration::ZERO };
        Self(Mutex::new(vec![pause; partitions as usize]))
    }

    /// Something was committed.
    fn end(&self, partition: PartitionId) {
        let pause = &mut self.lock()[partition.0 as usize];
        pause.longest = pause.longest.max(pause.since.elapsed());
        pause.since = Instant::now();
    }

    /// The longest of all since this was asked last, those that go on included.
    fn longest(&self) -> Duration {
        let longest =
            |pause: &mut Pause| std::mem::take(&mut pause.longest).max(pause.since.elapsed());
        self.lock().iter_mut().map(longest).max().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Pause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes one key.
struct Write {
    work: Arc<Work>,
    partition: PartitionId,
    submission: u64,
    key: u64,
}

impl TransactionContext for Write {
    fn partition(&self, _: u32) -> PartitionId {
        self.partition
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        let mut data = vec![0; DATA_BYTES];
        data[..8].copy_from_slice(&self.submission.to_le_bytes());
        builder.write_lock(PartitionLocalLock::new("key", self.key)).data_bytes(data);
        Ok(true)
    }

    fn on_lock_failure(&mut self, _: &Conflict) {
        self.work.retries.fetch_add(1, Ordering::Relaxed);
    }
}

/// Which submission a transaction is.
pub(super) fn submission_of(data: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(data.get(..8)?.try_into().ok()?))
}

/// What was read, in a database: mark and checksum move together.
#[derive(Debug, Clone)]
struct Book {
    connection: Arc<Mutex<Connection>>,
    read: Arc<Mutex<BTreeMap<u32, Prefix>>>,
}

impl Book {
    fn open(args: &SmokeClientArgs) -> anyhow::Result<Self> {
        let path = args.directory.join(format!("client-{}.db", args.client));
        let open = || -> rusqlite::Result<Self> {
            let connection = Connection::open(&path)?;
            // It is rebuilt from the log: after a power cut it may be behind, never wrong.
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.execute_batch(
                "CREATE TABLE IF NOT EXISTS read (partition INTEGER PRIMARY KEY,
                 transactions INTEGER NOT NULL, contents INTEGER NOT NULL)",
            )?;
            let connection = Arc::new(Mutex::new(connection));
            Ok(Self { connection, read: Arc::default() })
        };
        open().with_context(|| format!("could not open the database {}", path.display()))
    }

    /// What is in the database of a partition.
    fn load(&self, partition: PartitionId) -> rusqlite::Result<Prefix> {
        let row = self.connection().query_row(
            "SELECT transactions, contents FROM read WHERE partition = ?1",
            params![partition.0],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        );
        let (transactions, contents) = row.optional()?.unwrap_or_default();
        let (transactions, contents) = (transactions.cast_unsigned(), contents.cast_unsigned());
        Ok(Prefix { transactions, contents: Contents(contents) })
    }

    fn store(&self, partition: PartitionId, read: Prefix) -> rusqlite::Result<()> {
        let (transactions, contents) = (read.transactions, read.contents.0);
        self.connection().execute(
            "INSERT OR REPLACE INTO read VALUES (?1, ?2, ?3)",
            params![partition.0, transactions.cast_signed(), contents.cast_signed()],
        )?;
        self.known().insert(partition.0, read);
        Ok(())
    }

    fn read(&self) -> BTreeMap<u32, Prefix> {
        self.known().clone()
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<u32, Prefix>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn apply(&self, batch: &[Transaction]) -> Result<(), CallbackError> {
        let Some(first) = batch.first() else { return Ok(()) };
        let mut read = self.load(first.partition())?;
        for transaction in batch {
            let id = transaction.id();
            if id.0 != read.transactions {
                return Err(
                    format!("{id} does not follow {} transactions", read.transactions).into()
                );
            }
            read.contents.add(id, transaction.header(), &transaction.bytes().await?);
            read.transactions += 1;
        }
        Ok(self.store(first.partition(), read)?)
    }
}

impl ClientCallbacks for Book {
    async fn high_water_mark(&self, partition: PartitionId) -> Result<Mark, CallbackError> {
        let read = self.load(partition)?;
        self.known().insert(partition.0, read);
        Ok(Mark::before(TransactionId(read.transactions)))
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        self.apply(std::slice::from_ref(transaction)).await
    }

    async fn apply_batch(&self, batch: &[Transaction]) -> (usize, Result<(), CallbackError>) {
        match self.apply(batch).await {
            Ok(()) => (batch.len(), Ok(())),
            Err(error) => (0, Err(error)),
        }
    }
}
