//! `waltz backup restore`

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::Args;
use waltz_client::{
    AppendRequest, Client, LockKind, Mark, NoDatabase, PartitionId, Partitions, Transaction,
    TransactionId,
};

use super::super::connect::{config, connect, require_partition};
use super::super::log::Log;
use super::super::window::Window;
use super::file::BackupReader;
use super::{progress, verify};
use crate::args::ServerArgs;
use crate::exit::Exit;
use crate::output::Output;

/// Appends under way at once, where they check no locks.
const PIPELINE: usize = 256;

/// Append what a backup holds to an empty partition, and compare. A restore that was interrupted
/// goes on where it came to.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Which partition: an empty one, that nobody else appends to
    #[arg(long, value_name = "P")]
    partition: u32,

    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,

    /// Take a backup that does not begin with id 0: its records get smaller ids
    #[arg(long)]
    renumber: bool,
}

/// Runs the command.
///
/// # Errors
/// When the file is not sound, the partition holds something else, or the cluster can't be reached.
pub(super) async fn run(args: RestoreArgs) -> anyhow::Result<Exit> {
    // All of it, before anything is appended.
    let holds = verify(&args.from)?;
    ensure!(
        holds.first == 0 || args.renumber,
        "the backup begins with id {}, as what was before had been trimmed: its records would get \
         ids from 0 on; say --renumber if nobody knows them by their ids",
        holds.first
    );
    let partition = PartitionId(args.partition);
    let client_config = config(&args.server).partitions(Partitions::from_iter([partition]));
    let client = connect(client_config, NoDatabase::newest()).await?;
    require_partition(&client, partition).await?;
    let (mut reader, there) = compare(&client, partition, BackupReader::open(&args.from)?).await?;
    append(&client, partition, &mut reader, there).await?;
    let (reader, restored) = compare(&client, partition, BackupReader::open(&args.from)?).await?;
    ensure!(
        restored == holds.records && reader.count() == restored,
        "the partition has {restored} transactions of the backup's {}",
        holds.records
    );
    client.close().await;
    let mut output = Output::new();
    match args.server.json {
        true => output
            .json(&serde_json::json!({ "restored": restored, "appended": restored - there }))?,
        false => output.line(format_args!(
            "{restored} transactions are in partition {}, {} of them appended now; all are as in \
             the backup",
            partition.0,
            restored - there
        ))?,
    }
    output.flush()?;
    Ok(Exit::Success)
}

/// Compares all that the partition holds with the backup's beginning; where the backup goes on, and
/// after how many transactions.
async fn compare(
    client: &Client,
    partition: PartitionId,
    mut reader: BackupReader,
) -> anyhow::Result<(BackupReader, u64)> {
    let bar = progress("transactions compared");
    let mut log = Log::after(client, partition, Mark::NONE);
    let mut compared = 0;
    while let Some(batch) = log.next_batch().await? {
        ensure!(
            log.start() == Mark::NONE,
            "partition {} was trimmed: choose an empty one",
            partition.0
        );
        for there in batch {
            let id = there.id();
            let Some(record) = reader.next_record()? else {
                bail!("partition {} holds more than the backup: choose an empty one", partition.0)
            };
            let kept = Transaction::of_record(record)?;
            let is_same = there.header() == kept.header()
                && there.locks() == kept.locks()
                && there.bytes().await? == kept.bytes().await?;
            ensure!(
                is_same,
                "transaction {id} of partition {} is not the backup's: choose an empty one",
                partition.0
            );
            compared += 1;
        }
        bar.set_position(compared);
    }
    bar.finish_and_clear();
    Ok((reader, compared))
}

/// Appends what is left of the backup. What checks locks waits until all before it is in the log:
/// nothing that it might conflict with is after its mark then.
async fn append(
    client: &Client,
    partition: PartitionId,
    reader: &mut BackupReader,
    there: u64,
) -> anyhow::Result<()> {
    let bar = progress("transactions appended");
    let mut window = Window::new();
    let mut next = there;
    loop {
        let record = reader.next_record()?;
        let is_last = record.is_none();
        let checks = record.as_ref().is_some_and(checks_locks);
        while !window.is_empty() && (is_last || checks || window.len() >= PIPELINE) {
            let (expected, ended): (u64, Result<TransactionId, _>) = window.next().await;
            let id = ended.with_context(|| {
                format!("transaction {expected} could not be appended; run the command again")
            })?;
            ensure!(
                id.0 == expected,
                "somebody else appends to partition {}: choose an empty one that nobody uses",
                partition.0
            );
            bar.inc(1);
        }
        let Some(record) = record else { break };
        let at = match checks {
            true => Mark::before(TransactionId(next)),
            false => Mark::NONE,
        };
        let request = request(&Transaction::of_record(record)?).await?.at(at);
        window.push(next, client.append(partition, request));
        next += 1;
    }
    bar.finish_and_clear();
    Ok(())
}

fn checks_locks(record: &Bytes) -> bool {
    let transaction = Transaction::of_record(record.clone());
    transaction.is_ok_and(|transaction| {
        transaction.locks().iter().any(|(kind, _)| *kind != LockKind::Append)
    })
}

/// The same transaction once more.
async fn request(transaction: &Transaction) -> anyhow::Result<AppendRequest> {
    let request = AppendRequest::new(transaction.bytes().await?).header(transaction.header());
    Ok(transaction.locks().into_iter().fold(request, |request, (kind, lock)| match kind {
        LockKind::Write => request.write_lock(lock),
        LockKind::Read => request.read_lock(lock),
        LockKind::Append => request.append_lock(lock),
    }))
}
