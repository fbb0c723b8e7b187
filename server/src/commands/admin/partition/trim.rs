//! `waltz admin partition trim`

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use waltz_archive::{Archive, LogName};
use waltz_client::{
    Client, FeedError, FeedOptions, Mark, OperatorRequest, PartitionId, PartitionStatus,
    TransactionId,
};
use waltz_core::id::{CreationId, Member};

use super::super::operator::{ConfirmArgs, Operator};
use super::super::ranges::PartitionRanges;
use crate::commands::archive::{Archived, Upload};
use crate::commands::survey::{Survey, inspect_all};
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

/// A partition whose beginning is in an archive, for programs.
#[derive(Debug, Serialize)]
struct ArchivedLine<'a> {
    /// `archived`, or `planned` in a dry run.
    outcome: &'static str,
    partition: u32,
    archive: &'a str,
    to: u64,
    #[serde(flatten)]
    archived: Option<&'a Archived>,
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
        Some(archive) => Some((archive, Logs::find(&operator, &partitions).await?)),
        None => None,
    };
    let (mut exit, start) = (Exit::Success, Mark::at(TransactionId(args.to)));
    for partition in partitions {
        if let Some((archive, logs)) = &logs
            && let Err(error) = keep(&mut operator, args, archive, logs.of(partition)?).await
        {
            tracing::error!("partition {}: {}", partition.0, crate::exit::explain(&error));
            exit = Exit::Failure;
            continue;
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
            let archived = Upload { client, archive, log, start, to, accept_gap }.run(&bar).await?;
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
        (false, Some(Archived { records, bytes, found })) => operator.output.line(format_args!(
            "archived: partition {partition} up to {to}: {records} transactions written \
             ({bytes} bytes), {found} found there, all read back and sound"
        ))?,
        (false, None) => operator.output.line(format_args!(
            "planned: partition {partition} up to {to} into {}",
            archive.url()
        ))?,
    }
    operator.output.flush()?;
    Ok(())
}

/// Reads some of a log: that a server does once it serves it.
async fn wait_until_served(client: &Client, partition: PartitionId) -> anyhow::Result<()> {
    let options = FeedOptions::new().headers_only().until_now();
    match client.feed_with(partition, Mark::NONE, options).next_batch().await {
        None | Some(Ok(_) | Err(FeedError::Trimmed { .. })) => Ok(()),
        Some(Err(error)) => {
            Err(error).with_context(|| format!("partition {} can't be read", partition.0))
        }
    }
}

/// What the nodes say of the logs of some partitions.
struct Logs(Vec<(LogName, PartitionStatus)>);

impl Logs {
    async fn find(operator: &Operator, partitions: &BTreeSet<PartitionId>) -> anyhow::Result<Self> {
        for partition in partitions {
            wait_until_served(&operator.client, *partition).await?;
        }
        let survey = Survey::take(&operator.client).await?;
        let inspections = inspect_all(&operator.client, &survey.view).await?;
        let replicas = inspections.values().flatten().flat_map(|node| {
            let member = |storage| Member { node: node.node, storage };
            node.replicas.iter().map(move |replica| (node.storage.map(member), replica))
        });
        let replicas: Vec<_> = replicas.collect();
        let served = survey.served();
        let find = |partition: PartitionId| {
            let status = *served.get(&partition).context("nobody serves it now; try again")?;
            let of_set = replicas.iter().find(|(member, replica)| {
                replica.partition == partition
                    && member.is_some_and(|member| status.members.contains(member))
            });
            let creation: CreationId =
                of_set.context("no node that keeps it says what it keeps")?.1.creation;
            anyhow::Ok((LogName { partition, creation }, status.clone()))
        };
        let logs = partitions.iter().map(|partition| {
            find(*partition).with_context(|| format!("partition {} can't be archived", partition.0))
        });
        Ok(Self(logs.collect::<Result<_, _>>()?))
    }

    fn of(&self, partition: PartitionId) -> anyhow::Result<(LogName, &PartitionStatus)> {
        match self.0.iter().find(|(log, _)| log.partition == partition) {
            Some((log, status)) => Ok((*log, status)),
            None => bail!("partition {} is not known", partition.0),
        }
    }
}
