//! At the end: whether everybody has the same, and nothing that was promised is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use waltz_client::{Client, ClientConfig, FeedOptions, Mark, NoDatabase, PartitionId, Partitions};

use super::client::{Progress, submission_of};
use super::parts::{Bounces, Parts};
use super::told::{Told, read_all};
use crate::output::{Output, Table};
use crate::trial::{Check, Contents, Digest, PATIENCE, compare_logs, wait_until_whole};

/// The report.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    sound: bool,
    seed: u64,
    transactions: u64,
    told: u64,
    retries: u64,
    failed: u64,
    seconds: f64,
    transactions_per_second: f64,
    bounces: BTreeMap<String, u64>,
    partitions: Vec<Line>,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Line {
    partition: u32,
    transactions: u64,
    checksum: String,
}

/// A log as a reader of our own has read it.
#[derive(Debug, Default)]
struct Log {
    /// Which submission each transaction is.
    submissions: Vec<u64>,
    contents: Contents,
}

impl Verdict {
    /// Lets everybody come to an end, reads the logs once more, stops the nodes, reads their disks
    /// and compares.
    ///
    /// # Errors
    /// When something does not come to an end or can't be read.
    pub(super) async fn reach(
        mut parts: Parts,
        wanted: u64,
        bounces: &Bounces,
        elapsed: Duration,
        seed: u64,
    ) -> anyhow::Result<Self> {
        parts.finish().await?;
        let clients = parts.progress();
        let config = ClientConfig::new(parts.cluster.addresses())
            .connect_timeout(PATIENCE)
            .mount_timeout(PATIENCE)
            .request_timeout(PATIENCE)
            .partitions(Partitions::none());
        let sets = wait_until_whole(&config).await?;
        let mut dense = Vec::new();
        let logs = read_logs(&config, sets.keys().copied(), &mut dense).await?;
        parts.cluster.stop(PATIENCE).await?;
        let marks = logs.iter().map(|(partition, log)| (*partition, mark(log))).collect();
        let (digests, unlike) = compare_logs(&parts.cluster, &sets, &marks);
        let told = read_all(&parts.directory).context("could not read what clients were told")?;
        dense.extend(repeated(&logs));
        let transactions = logs.values().map(|log| log.submissions.len() as u64).sum();
        let few = format!("{transactions} transactions of {wanted}");
        let check = |name, violations| Check { name, violations };
        let checks = vec![
            check("ids are dense and no submission is in the log twice", dense),
            check("what clients were told to be committed is in the log", missing(&logs, &told)),
            check("the logs of all replicas are identical", unlike),
            check(
                "checksums of all replicas and all clients are equal",
                checksums(&logs, &digests, &clients),
            ),
            check("enough was committed", Vec::from_iter((transactions < wanted).then_some(few))),
        ];
        let counts = bounces.counts().iter().enumerate();
        Ok(Self {
            sound: checks.iter().all(|check| check.violations.is_empty()),
            seed,
            transactions,
            told: told.len() as u64,
            retries: clients.iter().map(|client| client.retries).sum(),
            failed: clients.iter().map(|client| client.failed).sum(),
            seconds: elapsed.as_secs_f64(),
            transactions_per_second: transactions as f64 / elapsed.as_secs_f64(),
            bounces: counts.map(|(part, count)| (parts.label(part).to_owned(), *count)).collect(),
            partitions: logs.iter().map(line).collect(),
            checks,
        })
    }

    /// Whether everything holds.
    pub(super) fn is_sound(&self) -> bool {
        self.sound
    }

    /// Shows it.
    ///
    /// # Errors
    /// When it can't be printed.
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut output = Output::new();
        match json {
            true => output.json(self)?,
            false => self.print_tables(&mut output)?,
        }
        Ok(output.flush()?)
    }

    fn print_tables(&self, output: &mut Output) -> std::io::Result<()> {
        let Self { transactions, told, retries, failed, seed, .. } = self;
        output.line(format_args!(
            "{transactions} transactions in {:.1} s, {:.0}/s (seed {seed}); clients were told of \
             {told}, retried {retries}, failed {failed}\n",
            self.seconds, self.transactions_per_second
        ))?;
        let mut bounced = Table::new(["part", "bounced"]);
        for (part, count) in &self.bounces {
            bounced.row([part.clone(), count.to_string()]);
        }
        output.line(format_args!("{bounced}\n"))?;
        let mut logs = Table::new(["partition", "transactions", "checksum everywhere"]);
        for Line { partition, transactions, checksum } in &self.partitions {
            logs.row([partition.to_string(), transactions.to_string(), checksum.clone()]);
        }
        output.line(format_args!("{logs}\n"))?;
        self.checks.iter().try_for_each(|check| check.print(output))
    }
}

fn line((partition, log): (&PartitionId, &Log)) -> Line {
    Line {
        partition: partition.0,
        transactions: log.submissions.len() as u64,
        checksum: log.contents.to_string(),
    }
}

fn mark(log: &Log) -> Mark {
    Mark::before(waltz_client::TransactionId(log.submissions.len() as u64))
}

/// Reads everything that is committed, with a reader that has no state.
async fn read_logs(
    config: &ClientConfig,
    partitions: impl Iterator<Item = PartitionId>,
    violations: &mut Vec<String>,
) -> anyhow::Result<BTreeMap<PartitionId, Log>> {
    let client = Client::connect(config.clone(), NoDatabase::newest()).await?;
    let mut logs = BTreeMap::new();
    for partition in partitions {
        let mut log = Log::default();
        let mut feed = client.feed_with(partition, Mark::NONE, FeedOptions::new().until_now());
        while let Some(transaction) = feed.next().await {
            let transaction = transaction.context("the log can't be read")?;
            let (id, data) = (transaction.id(), transaction.bytes().await?);
            if id.0 != log.submissions.len() as u64 {
                violations.push(format!("{partition} has {id} after {}", log.submissions.len()));
            }
            match submission_of(&data) {
                Some(submission) => log.submissions.push(submission),
                None => violations.push(format!("{partition} has {id}, which nobody submitted")),
            }
            log.contents.add(id, transaction.header(), &data);
        }
        logs.insert(partition, log);
    }
    client.close().await;
    Ok(logs)
}

fn repeated(logs: &BTreeMap<PartitionId, Log>) -> Vec<String> {
    let mut all: Vec<u64> = logs.values().flat_map(|log| log.submissions.iter().copied()).collect();
    all.sort_unstable();
    let twice = all.windows(2).filter(|pair| pair[0] == pair[1]);
    twice.map(|pair| format!("submission {:x} is in the log twice", pair[0])).collect()
}

fn missing(logs: &BTreeMap<PartitionId, Log>, told: &[Told]) -> Vec<String> {
    let is_there = |told: &Told| {
        let log = logs.get(&told.partition);
        log.and_then(|log| log.submissions.get(told.id.0 as usize)) == Some(&told.submission)
    };
    let missing = told.iter().filter(|told| !is_there(told));
    missing
        .map(|told| {
            format!("{} has not submission {:x} as {}", told.partition, told.submission, told.id)
        })
        .collect()
}

fn checksums(
    logs: &BTreeMap<PartitionId, Log>,
    digests: &BTreeMap<PartitionId, Digest>,
    clients: &[Progress],
) -> Vec<String> {
    let mut violations = Vec::new();
    for (partition, log) in logs {
        let mut compare = |who: String, found: Option<(u64, Contents)>| {
            let expected = (log.submissions.len() as u64, log.contents);
            if found.unwrap_or_default() != expected {
                violations.push(format!("{partition} is {found:?} at {who}, not {expected:?}"));
            }
        };
        let on_disk = digests.get(partition);
        compare("the replicas".to_owned(), on_disk.map(|log| (log.last.count(), log.contents)));
        for (index, client) in clients.iter().enumerate() {
            let read = client.read.get(&partition.0);
            let read = read.map(|read| (read.transactions, read.contents));
            compare(format!("client {}", index + 1), read);
        }
    }
    violations
}
