//! `waltz admin partition trim`

use anyhow::{Context, ensure};
use clap::Args;
use indicatif::ProgressBar;
use waltz_archive::{Archive, LogName};
use waltz_client::{Mark, OperatorRequest, PartitionStatus, TransactionId};

use super::super::operator::{ConfirmArgs, Operator};
use crate::commands::archive::{ArchivedLine, Logs, Upload, wait_until_served};
use crate::commands::ranges::PartitionRanges;
use crate::exit::Exit;

/// Forget the oldest transactions. Readers that have not applied them are told so, unless an archive
/// has them; consumers that are registered don't hold this up.
#[derive(Debug, Args)]
pub struct TrimArgs {
    #[command(flatten)]
    confirm: ConfirmArgs,

    /// Which partitions: all, or numbers and ranges such as 0-6,9
    #[arg(long, value_name = "P")]
    partition: PartitionRanges,

    /// The last transaction to forget
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    to: u64,

    /// Have the transactions in an archive first: a directory, or s3://BUCKET/FOLDER with its
    /// settings in the variables AWS_*. Nothing is forgotten that was not read back from it
    #[arg(long, value_name = "URL")]
    archive: Option<String>,

    /// Go on although an archive that ends before the log's start gets a hole
    #[arg(long, requires = "archive")]
    accept_gap: bool,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached or has no such partition, or nobody says yes; or the archive
/// can't be used.
pub async fn run(args: &TrimArgs) -> anyhow::Result<Exit> {
    let archive = args.archive.as_deref().map(Archive::open).transpose()?;
    let mut operator = Operator::confirming(&args.confirm).await?;
    let partitions = args.partition.resolve(&operator.client.cluster().await?)?;
    let first = archive.as_ref().map_or_else(String::new, |archive| {
        format!("have everything up to {} in {} and then ", args.to, archive.url())
    });
    operator.confirm(&format!(
        "{first}forget everything up to {} in {} partitions?",
        args.to,
        partitions.len()
    ))?;
    let logs = match &archive {
        Some(archive) => {
            for partition in &partitions {
                wait_until_served(&operator.client, *partition).await?;
            }
            Some((archive, Logs::ask(&operator.client).await?))
        }
        None => None,
    };
    let (mut exit, start) = (Exit::Success, Mark::at(TransactionId(args.to)));
    for partition in partitions {
        if let Some((archive, logs)) = &logs {
            let kept = match logs.of(partition) {
                Ok(log) => keep(&mut operator, args, archive, log).await,
                Err(error) => Err(error),
            };
            if let Err(error) = kept {
                tracing::error!("partition {}: {}", partition.0, crate::exit::explain(&error));
                exit = Exit::Failure;
                continue;
            }
        }
        if !operator.ask(OperatorRequest::Trim { partition, start }).await? {
            exit = Exit::Failure;
        }
    }
    operator.leave(exit).await
}

/// Has everything that is to be forgotten of a partition in the archive.
async fn keep(
    operator: &mut Operator,
    args: &TrimArgs,
    archive: &Archive,
    (log, status): (LogName, &PartitionStatus),
) -> anyhow::Result<()> {
    let to = TransactionId(args.to);
    ensure!(status.committed.includes(to), "its log ends with {}", status.committed);
    let archived = match operator.is_dry() {
        true => None,
        false => {
            let (client, start, accept_gap) = (&operator.client, status.start, args.accept_gap);
            let bar = ProgressBar::new(0).with_message("transactions in the archive");
            let upload = Upload { client, archive, log, start, to, accept_gap };
            let archived = upload.run(&bar).await;
            let archived =
                archived.context("nothing was trimmed; run the command again to go on")?;
            bar.finish_and_clear();
            Some(archived)
        }
    };
    let partition = log.partition.0;
    match (operator.json, &archived) {
        (true, archived) => operator.output.json(&ArchivedLine {
            outcome: if archived.is_some() { "archived" } else { "planned" },
            partition,
            archive: archive.url(),
            to: to.0,
            archived: archived.as_ref(),
        })?,
        (false, Some(archived)) => {
            let text = format_args!("archived: partition {partition} up to {to}: {archived}");
            operator.output.line(text)?;
        }
        (false, None) => operator.output.line(format_args!(
            "planned: partition {partition} up to {to} into {}",
            archive.url()
        ))?,
    }
    operator.output.flush()?;
    Ok(())
}
