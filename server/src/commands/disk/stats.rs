//! `waltz disk stats`

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use waltz_core::journal::EntryHead;
use waltz_core::storage::Replica;

use super::DirectoryArgs;
use super::walk::{Walked, walk};
use crate::exit::Exit;
use crate::output::{Output, Table};

/// Show what takes how much space, and how far each partition's log goes.
#[derive(Debug, Args)]
pub struct StatsArgs {
    #[command(flatten)]
    directory: DirectoryArgs,
}

#[derive(Debug, Serialize)]
struct Statistics {
    /// The files of segments, and those that wait to become some.
    segments: usize,
    spares: usize,
    file_bytes: u64,
    /// Of batches, with what surrounds their entries.
    written_bytes: u64,
    /// Of records that logs still have.
    live_bytes: u64,
    batches: u64,
    entries: BTreeMap<&'static str, Kind>,
    partitions: Vec<PartitionLine>,
}

/// Entries of one kind.
#[derive(Debug, Default, Serialize)]
struct Kind {
    entries: u64,
    body_bytes: u64,
}

#[derive(Debug, Serialize)]
struct PartitionLine {
    partition: u32,
    /// How many records were trimmed.
    trimmed: u64,
    /// How many there are.
    records: u64,
    /// How many there ever were.
    end: u64,
    /// How many are known to be committed.
    committed: u64,
    bytes: u64,
    /// The oldest segment with records of it.
    oldest_segment: Option<u32>,
    set: u64,
    nodes: Vec<u32>,
}

/// Runs the command.
///
/// # Errors
/// When the journal can't be read to its end, or something can't be printed.
pub fn run(args: &StatsArgs) -> anyhow::Result<Exit> {
    let (mut kinds, mut batches) = (BTreeMap::<_, Kind>::new(), 0);
    let walked = walk(&args.directory.directory, |_, batch| {
        batches += 1;
        for entry in &batch.entries {
            let kind = kinds.entry(name(&entry.head)).or_default();
            kind.entries += 1;
            kind.body_bytes += entry.place.map_or(0, |place| u64::from(place.length));
        }
        Ok(())
    })?;
    let statistics = statistics(&walked, kinds, batches);
    let mut output = Output::new();
    match args.directory.json {
        true => output.json(&statistics)?,
        false => tell(&statistics, &mut output)?,
    }
    output.flush()?;
    walked.outcome()
}

fn name(head: &EntryHead) -> &'static str {
    match head {
        EntryHead::Create { .. } => "create",
        EntryHead::Promise { .. } => "promise",
        EntryHead::Cut { .. } => "cut",
        EntryHead::Join { .. } => "join",
        EntryHead::Records { .. } => "records",
        EntryHead::Change { .. } => "change",
        EntryHead::Trim { .. } => "trim",
        EntryHead::Reset { .. } => "reset",
        EntryHead::Repair { .. } => "repair",
        EntryHead::LowWater { .. } => "low water",
        EntryHead::Coordinator(_) => "coordinator",
        EntryHead::Checkpoint { .. } => "checkpoint",
        EntryHead::CheckpointEnd { .. } => "checkpoint end",
        EntryHead::Enroll => "enroll",
    }
}

fn statistics(walked: &Walked, kinds: BTreeMap<&'static str, Kind>, batches: u64) -> Statistics {
    let segments = &walked.examination.segments;
    let replicas = walked.state.storage().replicas();
    let partitions: Vec<_> = replicas.map(|(_, replica)| partition_line(replica)).collect();
    Statistics {
        segments: segments.len(),
        spares: walked.examination.spares,
        file_bytes: segments.iter().map(|header| u64::from(header.layout.segment_bytes())).sum(),
        written_bytes: walked.examination.recovery.bytes,
        live_bytes: partitions.iter().map(|line| line.bytes).sum(),
        batches,
        entries: kinds,
        partitions,
    }
}

fn partition_line(replica: &Replica) -> PartitionLine {
    let (start, last) = (replica.summary().start, replica.last());
    let set = replica.summary().set();
    PartitionLine {
        partition: replica.partition().0,
        trimmed: start.count(),
        records: last.count() - start.count(),
        end: last.count(),
        committed: replica.low_water().count(),
        bytes: replica.places().map(|(_, place)| u64::from(place.length)).sum(),
        oldest_segment: replica.places().map(|(_, place)| place.segment).min(),
        set: set.version.0,
        nodes: set.replicas.nodes().map(|node| node.0).collect(),
    }
}

fn tell(statistics: &Statistics, output: &mut Output) -> std::io::Result<()> {
    let Statistics { segments, spares, file_bytes, written_bytes, live_bytes, batches, .. } =
        statistics;
    output.line(format_args!("segments  {segments}, {file_bytes} bytes; {spares} spare"))?;
    output.line(format_args!("written   {batches} batches, {written_bytes} bytes"))?;
    output.line(format_args!("live      {live_bytes} bytes of records that logs still have\n"))?;
    let mut kinds = Table::new(["entries", "count", "bytes"]);
    for (name, kind) in &statistics.entries {
        kinds.row([(*name).to_owned(), kind.entries.to_string(), kind.body_bytes.to_string()]);
    }
    output.line(format_args!("{kinds}\n"))?;
    let mut partitions = Table::new([
        "partition",
        "trimmed",
        "records",
        "committed",
        "bytes",
        "oldest segment",
        "set",
        "nodes",
    ]);
    for line in &statistics.partitions {
        let nodes: Vec<_> = line.nodes.iter().map(u32::to_string).collect();
        partitions.row([
            line.partition.to_string(),
            line.trimmed.to_string(),
            line.records.to_string(),
            line.committed.to_string(),
            line.bytes.to_string(),
            line.oldest_segment.map_or_else(|| "none".to_owned(), |segment| segment.to_string()),
            format!("v{}", line.set),
            nodes.join(","),
        ]);
    }
    output.line(partitions)
}
