//! `waltz archive follow`: an archive that is kept up to date with what is committed.
//!
//! It is a consumer like any other, registered under a name. Trimming by age, by size and by what
//! consumers have applied never overtakes a registered consumer, and this one counts as applied what
//! was read back from the archive: so nothing goes that way before it is there.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use waltz_archive::{Archive, LogName};
use waltz_client::{Client, Mark, NoDatabase, PartitionId, PartitionStatus, Partitions};

use super::logs::{Logs, wait_until_served};
use super::upload::{Archived, ArchivedLine, Upload};
use crate::args::{ServerArgs, parse_duration};
use crate::commands::connect::{config, connect};
use crate::commands::ranges::PartitionRanges;
use crate::exit::{Exit, explain};
use crate::output::Output;

/// Keep an archive up to date with what is committed, until stopped. It is registered as a consumer,
/// so that nothing is trimmed by age or size before it was read back from the archive. Takes the role
/// of a writer.
#[derive(Debug, Args)]
pub struct FollowArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// A directory, or s3://BUCKET/FOLDER with its settings in the variables AWS_*
    #[arg(value_name = "URL")]
    url: String,

    /// Which partitions: all, those included that are made later, or numbers and ranges such as 0-6,9
    #[arg(long, value_name = "P", default_value = "all")]
    partition: PartitionRanges,

    /// The consumer's name; of another archive another one
    #[arg(long, value_name = "NAME", default_value = "archive")]
    name: String,

    /// How long to let records come together before they are archived: each time makes an object of
    /// each partition that has new ones
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    every: Duration,

    /// Archive what is committed now, and end
    #[arg(long)]
    pub(super) once: bool,

    /// Go on although an archive that ends before the log's start gets a hole
    #[arg(long)]
    accept_gap: bool,
}

/// Runs the command.
///
/// # Errors
/// When the archive can't be used, or nothing can be printed; with `--once` also when the cluster
/// can't be asked.
pub(super) async fn run(args: FollowArgs) -> anyhow::Result<Exit> {
    let archive = Archive::open(&args.url)?;
    let config = config(&args.server).partitions(Partitions::none());
    let client = connect(config, NoDatabase::newest()).await?;
    let mut follower =
        Follower { args, archive, client, archived: BTreeMap::new(), output: Output::new() };
    follower.run().await
}

struct Follower {
    args: FollowArgs,
    archive: Archive,
    client: Client,
    /// Up to where the archive has each log for sure.
    archived: BTreeMap<LogName, Mark>,
    output: Output,
}

impl Follower {
    /// It may be stopped at any point: what is not finished is not in the archive, or does not count as
    /// applied, and comes again.
    async fn run(&mut self) -> anyhow::Result<Exit> {
        if self.args.once {
            return self.pass().await;
        }
        loop {
            if let Err(error) = self.pass().await {
                tracing::error!("{}; it is tried again in {:?}", explain(&error), self.args.every);
            }
            tokio::time::sleep(self.args.every).await;
        }
    }

    /// Archives what is committed of each partition. One that can't be archived now holds up no other.
    async fn pass(&mut self) -> anyhow::Result<Exit> {
        let partitions = self.args.partition.resolve(&self.client.cluster().await?)?;
        if self.args.once {
            for partition in &partitions {
                // One that is not served is told of below.
                let _ = wait_until_served(&self.client, *partition).await;
            }
        }
        let (logs, mut exit) = (Logs::ask(&self.client).await?, Exit::Success);
        for partition in partitions {
            let outcome = match logs.of(partition) {
                Ok((log, status)) => self.bring_up(log, status).await,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                tracing::error!("partition {}: {}", partition.0, explain(&error));
                exit = Exit::Failure;
            }
        }
        Ok(exit)
    }

    async fn bring_up(&mut self, log: LogName, status: &PartitionStatus) -> anyhow::Result<()> {
        let (partition, archived) = (log.partition, self.archived.get(&log).copied());
        let (client, archive, accept_gap) = (&self.client, &self.archive, self.args.accept_gap);
        let (name, committed) = (&self.args.name, status.committed);
        let start = match archived {
            Some(archived) => archived,
            None => {
                // From now on trims by age, size and consumers wait.
                client.advance_consumer(partition, name, status.start).await?;
                status.start
            }
        };
        let Some(to) = committed.id().filter(|to| !start.includes(*to)) else { return Ok(()) };
        let bar = match self.args.once {
            true => ProgressBar::new(0).with_message("transactions in the archive"),
            false => ProgressBar::hidden(),
        };
        let upload = Upload { client, archive, log, start, to, accept_gap };
        let added = match archived {
            Some(_) => upload.write(start.next(), &bar).await?,
            None => upload.run(&bar).await?,
        };
        bar.finish_and_clear();
        client.advance_consumer(partition, name, committed).await?;
        self.archived.insert(log, committed);
        self.tell(partition, to.0, &added)
    }

    fn tell(&mut self, partition: PartitionId, to: u64, archived: &Archived) -> anyhow::Result<()> {
        let (url, partition) = (self.archive.url(), partition.0);
        match self.args.server.json {
            true => self.output.json(&ArchivedLine {
                outcome: "archived",
                partition,
                archive: url,
                to,
                archived: Some(archived),
            })?,
            false => {
                self.output.line(format_args!("partition {partition} up to {to}: {archived}"))?;
            }
        }
        Ok(self.output.flush()?)
    }
}
