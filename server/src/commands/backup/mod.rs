//! `waltz backup`: one partition's log in one file, and back into a cluster.

mod file;
mod restore;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde::Serialize;
use waltz_archive::stream::Holding;
use waltz_client::{Mark, NoDatabase, PartitionId, Partitions};

use super::connect::{config, connect, require_partition};
use super::log::Log;
use crate::args::ServerArgs;
use crate::exit::Exit;
use crate::output::Output;

use file::{BackupReader, BackupWriter};

/// What to do with a backup.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Write all that a partition's log holds now to a file
    Create(CreateArgs),
    /// Read a backup and check all of it
    Verify(VerifyArgs),
    /// Append what a backup holds to an empty partition
    Restore(restore::RestoreArgs),
}

/// Write all that a partition's log holds now to a file, and read it back.
#[derive(Debug, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Which partition
    #[arg(long, value_name = "P")]
    partition: u32,

    /// The file to make
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Read a backup and check all of it.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a backup holds.
#[derive(Debug, Serialize)]
struct Holds {
    partition: u32,
    first: u64,
    records: u64,
    bytes: u64,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, the log not be read to its end, or the file is not sound.
pub async fn run(command: BackupCommand) -> anyhow::Result<Exit> {
    match command {
        BackupCommand::Create(args) => create(args).await,
        BackupCommand::Verify(args) => {
            let holds = verify(&args.file)?;
            print(&holds, args.json)
        }
        BackupCommand::Restore(args) => restore::run(args).await,
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<Exit> {
    let partition = PartitionId(args.partition);
    let client_config = config(&args.server).partitions(Partitions::none());
    let client = connect(client_config, NoDatabase::newest()).await?;
    require_partition(&client, partition).await?;
    let bar = progress("records written");
    let mut log = Log::after(&client, partition, Mark::NONE);
    let mut batch = log.next_batch().await?;
    let mut writer =
        BackupWriter::create(&args.to, Holding { partition, first: log.start().next() })?;
    while let Some(transactions) = batch {
        for transaction in &transactions {
            writer.push(&transaction.record().await?)?;
        }
        bar.inc(transactions.len() as u64);
        batch = log.next_batch().await?;
    }
    writer.finish()?;
    bar.finish_and_clear();
    print(&verify(&args.to)?, args.server.json)
}

/// Reads all of a file.
fn verify(path: &Path) -> anyhow::Result<Holds> {
    let mut reader = BackupReader::open(path)?;
    let bar = progress("records checked");
    while reader.next_record()?.is_some() {
        bar.inc(1);
    }
    bar.finish_and_clear();
    let Holding { partition, first } = reader.holding();
    Ok(Holds {
        partition: partition.0,
        first: first.0,
        records: reader.count(),
        bytes: reader.offset(),
    })
}

fn print(holds: &Holds, json: bool) -> anyhow::Result<Exit> {
    let mut output = Output::new();
    let Holds { partition, first, records, bytes } = holds;
    match json {
        true => output.json(holds)?,
        false => output.line(format_args!(
            "{records} transactions of partition {partition}, from id {first} on: {bytes} bytes, all \
             sound"
        ))?,
    }
    output.flush()?;
    Ok(Exit::Success)
}

fn progress(what: &'static str) -> ProgressBar {
    ProgressBar::new_spinner().with_message(what)
}
