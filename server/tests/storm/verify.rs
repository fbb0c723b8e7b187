//! Whether the database is what the log makes of it, and everything that was told is in both.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::{Context, ensure};
use waltz_client::{Client, ClientConfig, Mark, NoDatabase, PartitionId, Partitions};

use super::kills::Instances;
use super::ledger::{Book, PARTITIONS, Step};

/// How many notes are read at once.
const PAGE: i64 = 10_000;

/// Compares every transaction of the log with its note, and the rest with those. How many there are.
pub(crate) async fn check<B: Book>(
    book: &B,
    servers: &[String],
    directory: &Path,
) -> anyhow::Result<i64> {
    let ends = ends(servers).await?;
    let operations = compare(book, servers, &ends).await?;
    let applied = operations.iter().map(|partition| partition.len() as i64).sum();
    let total = book.total().await?;
    ensure!(total == applied, "the counters come to {total} after {applied} transactions");
    let mut told = 0;
    for index in 0..2 {
        let lines = std::fs::read_to_string(Instances::told(directory, index));
        // An instance that was never told anything has no file.
        let lines = lines.unwrap_or_default();
        let whole = lines.rfind('\n').map_or("", |end| &lines[..end]);
        for line in whole.lines() {
            let numbers: Vec<i64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
            let [partition, id, operation] = numbers[..] else {
                anyhow::bail!("{line:?} is no line of an instance");
            };
            let there = operations[partition as usize].get(id as usize);
            ensure!(there == Some(&operation), "told {line:?}, and the log has {there:?}");
            told += 1;
        }
    }
    ensure!(told > 0, "nobody was told anything");
    Ok(applied)
}

/// Where each partition's log ends.
async fn ends(servers: &[String]) -> anyhow::Result<Vec<Mark>> {
    let client = Client::connect(ClientConfig::new(servers), NoDatabase::newest()).await?;
    client.flush().await?;
    let end = |partition| client.high_water_mark(PartitionId(partition)).context("it is mounted");
    let ends = (0..PARTITIONS).map(end).collect();
    client.close().await;
    ends
}

/// The operations of the log by partition and id, each of which has its note, once.
async fn compare<B: Book>(
    book: &B,
    servers: &[String],
    ends: &[Mark],
) -> anyhow::Result<Vec<Vec<i64>>> {
    let config = ClientConfig::new(servers).partitions(Partitions::none());
    let client = Client::connect(config, NoDatabase::newest()).await?;
    let mut operations = Vec::new();
    for (partition, end) in (0..).map(PartitionId).zip(ends) {
        let mut feed = client.feed(partition, Mark::NONE);
        let (mut steps, mut notes) = (Vec::new(), VecDeque::new());
        while (steps.len() as u64) < end.count() {
            let transaction = feed.next().await.context("the client was not closed")??;
            let id = transaction.id();
            let step = Step::of(&transaction).await.map_err(anyhow::Error::from_boxed)?;
            if notes.is_empty() {
                notes.extend(book.notes(partition, Mark::before(id), PAGE).await?);
            }
            let note = notes.pop_front();
            ensure!(
                note == Some((id, step.operation)),
                "{partition} {id} is operation {}, and its note is {note:?}",
                step.operation
            );
            steps.push(step.operation);
        }
        let more = book.notes(partition, *end, 1).await?;
        ensure!(more.is_empty(), "{partition} ends at {end}, and there is a note {more:?}");
        operations.push(steps);
    }
    client.close().await;
    Ok(operations)
}
