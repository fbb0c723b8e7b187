//! `waltz archive`: what an archive holds, without a cluster; and how a log gets there.

mod follow;
mod inventory;
mod logs;
mod upload;

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use waltz_archive::Archive;

use crate::exit::Exit;
use crate::output::{Output, Table};

use inventory::Inventory;
pub use logs::{Logs, wait_until_served};
pub use upload::{Archived, ArchivedLine, Upload};

/// What to do with an archive.
#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// Show the logs in an archive, a row each
    List(ArchiveArgs),
    /// Read all of an archive and check it
    Verify(ArchiveArgs),
    /// Keep an archive up to date with what a cluster commits
    Follow(follow::FollowArgs),
}

impl ArchiveCommand {
    /// Whether it goes on until it is stopped.
    pub fn goes_on(&self) -> bool {
        matches!(self, Self::Follow(args) if !args.once)
    }
}

/// Which archive.
#[derive(Debug, Args)]
pub struct ArchiveArgs {
    /// A directory, or s3://BUCKET/FOLDER with its settings in the variables AWS_*
    #[arg(value_name = "URL")]
    url: String,

    /// Print JSON, one value a line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the archive can't be read.
pub async fn run(command: ArchiveCommand) -> anyhow::Result<Exit> {
    match command {
        ArchiveCommand::List(args) => {
            let archive = Archive::open(&args.url)?;
            print(&Inventory::take(&archive).await?, args.json)?;
            Ok(Exit::Success)
        }
        ArchiveCommand::Verify(args) => verify(&args).await,
        ArchiveCommand::Follow(args) => follow::run(args).await,
    }
}

async fn verify(args: &ArchiveArgs) -> anyhow::Result<Exit> {
    let archive = Archive::open(&args.url)?;
    let mut inventory = Inventory::take(&archive).await?;
    let bar = ProgressBar::new(inventory.pieces()).with_message("objects checked");
    let errors = inventory.verify(&archive, || bar.inc(1)).await;
    bar.finish_and_clear();
    let errors = errors?;
    for error in &errors {
        tracing::error!("{error}");
    }
    print(&inventory, args.json)?;
    Ok(if errors.is_empty() { Exit::Success } else { Exit::Failure })
}

fn print(inventory: &Inventory, json: bool) -> anyhow::Result<()> {
    let mut output = Output::new();
    if json {
        for line in inventory.lines() {
            output.json(&line)?;
        }
        return Ok(output.flush()?);
    }
    let mut table = Table::new([
        "partition",
        "creation",
        "first",
        "last",
        "objects",
        "bytes",
        "unsound",
        "missing",
    ]);
    for line in inventory.lines() {
        let ranges = line.missing.iter().map(|(first, last)| format!("{first}-{last}"));
        table.row([
            line.partition.to_string(),
            line.creation,
            line.first.to_string(),
            line.last.to_string(),
            line.objects.to_string(),
            line.bytes.to_string(),
            line.unsound.map_or_else(|| "not checked".to_owned(), |count| count.to_string()),
            ranges.collect::<Vec<_>>().join(", "),
        ]);
    }
    output.line(table)?;
    Ok(output.flush()?)
}
