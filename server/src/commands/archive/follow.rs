//! `waltz archive follow`: an archive that is kept up to date with what is committed.
//!
//! It is a consumer like any other, registered under a name. Trimming by age, by size and by what
//! consumers have applied never overtakes a registered consumer, and this one counts as applied what
//! was read back from the archive: so nothing goes that way before it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use waltz_archive::{Archive, LogName};
use waltz_client::{Client, Mark, NoDatabase, PartitionId, PartitionStatus, Partitions};

use super::logs::Logs;
use super::upload::{Archived, ArchivedLine, Upload};
use crate::args::{ServerArgs, parse_duration};
use crate::commands::connect::{config, connect};
use crate::commands::ranges::PartitionRanges;
use crate::commands::survey::Survey;
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
        Follower { args, archive, client, followed: BTreeMap::new(), output: Output::new() };
    follower.run().await
}

struct Follower {
    args: FollowArgs,
    archive: Archive,
    client: Client,
    followed: BTreeMap<PartitionId, Followed>,
    output: Output,
}

/// A log, and up to where the archive has it for sure.
#[derive(Debug, Clone, Copy)]
struct Followed {
    log: LogName,
    archived: Option<Mark>,
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

    /// Archives what is committed of each partition.
    async fn pass(&mut self) -> anyhow::Result<Exit> {
        let partitions = self.args.partition.resolve(&self.client.cluster().await?)?;
        self.meet(&partitions).await?;
        let survey = Survey::take(&self.client).await?;
        let (served, mut exit) = (survey.served(), Exit::Success);
        for partition in partitions {
            let outcome = match served.get(&partition) {
                Some(status) => self.bring_up(partition, status).await,
                None => Err(anyhow::anyhow!("nobody serves it now")),
            };
            if let Err(error) = outcome {
                tracing::error!("partition {}: {}", partition.0, explain(&error));
                exit = Exit::Failure;
            }
        }
        Ok(exit)
    }

    /// Finds out which logs those are that are new.
    async fn meet(&mut self, partitions: &BTreeSet<PartitionId>) -> anyhow::Result<()> {
        let is_new = |partition: &PartitionId| !self.followed.contains_key(partition);
        let new: BTreeSet<_> = partitions.iter().copied().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let logs = Logs::find(&self.client, &new).await?;
        for partition in new {
            let (log, _) = logs.of(partition)?;
            self.followed.insert(partition, Followed { log, archived: None });
        }
        Ok(())
    }

    async fn bring_up(
        &mut self,
        partition: PartitionId,
        status: &PartitionStatus,
    ) -> anyhow::Result<()> {
        let Followed { log, archived } = self.followed[&partition];
        let (client, archive, accept_gap) = (&self.client, &self.archive, self.args.accept_gap);
        let (name, committed) = (&self.args.name, status.committed);
        let start = match archived {
            Some(archived) => archived,
            None => {
                // From now on the log's start stays where it is.
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
        let archived = match archived {
            Some(_) => upload.write(start.next(), &bar).await?,
            None => upload.run(&bar).await?,
        };
        bar.finish_and_clear();
        client.advance_consumer(partition, name, committed).await?;
        self.followed.insert(partition, Followed { log, archived: Some(committed) });
        self.tell(partition, to.0, &archived)
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
