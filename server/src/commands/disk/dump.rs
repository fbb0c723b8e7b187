//! `waltz disk dump`

use clap::Args;
use serde::Serialize;
use waltz_client::PartitionId;
use waltz_core::journal::{EntryHead, FoundBatch, FoundEntry};
use waltz_core::limits::Limits;
use waltz_core::record::RecordView;
use waltz_core::transcript::entry_text;

use super::DirectoryArgs;
use super::walk::walk;
use crate::exit::Exit;
use crate::output::Output;

/// Show every entry of the journal, a line each: file number, place of its batch, which entry of it,
/// partition, what it says.
#[derive(Debug, Args)]
pub struct DumpArgs {
    #[command(flatten)]
    directory: DirectoryArgs,

    /// Only what is about this partition
    #[arg(long, value_name = "P")]
    partition: Option<u32>,

    /// Only what is in this segment
    #[arg(long, value_name = "N")]
    segment: Option<u32>,

    /// Show the records in each entry, too, but for their data
    #[arg(long)]
    records: bool,
}

#[derive(Debug, Serialize)]
struct EntryLine<'a> {
    segment: u32,
    /// Where its batch is in the file.
    offset: u32,
    /// The batch's number in its incarnation.
    batch: u64,
    index: usize,
    entry: &'a EntryHead,
    body_bytes: u32,
    damaged: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<RecordLine>>,
}

#[derive(Debug, Serialize)]
struct RecordLine {
    id: u64,
    client: String,
    sequence: u64,
    header: u32,
    locks: usize,
    data_bytes: usize,
}

/// Runs the command.
///
/// # Errors
/// When the journal can't be read to its end, or something can't be printed.
pub fn run(args: &DumpArgs) -> anyhow::Result<Exit> {
    let mut output = Output::new();
    let walked = walk(&args.directory.directory, |segment, batch| {
        if args.segment.is_some_and(|wanted| wanted != segment.segment) {
            return Ok(());
        }
        for (index, entry) in batch.entries.iter().enumerate() {
            let wanted = args.partition.map(PartitionId);
            if wanted.is_none() || entry.head.partition() == wanted {
                print(args, &mut output, line(args, segment.segment, batch, index, entry))?;
            }
        }
        Ok(())
    });
    output.flush()?;
    walked?.outcome()
}

fn line<'a>(
    args: &DumpArgs,
    segment: u32,
    batch: &FoundBatch<'_>,
    index: usize,
    entry: &'a FoundEntry<'_>,
) -> EntryLine<'a> {
    EntryLine {
        segment,
        offset: batch.offset,
        batch: batch.number,
        index,
        entry: &entry.head,
        body_bytes: entry.place.map_or(0, |place| place.length),
        damaged: entry.is_damaged,
        records: args.records.then(|| records(entry)),
    }
}

/// The records in an entry, up to the first that is none.
fn records(entry: &FoundEntry<'_>) -> Vec<RecordLine> {
    let mut rest = match entry.head {
        EntryHead::Records { .. } | EntryHead::Repair { .. } => entry.body,
        _ => &[],
    };
    let mut lines = Vec::new();
    while let Ok((record, after)) = RecordView::parse(rest, &Limits::default()) {
        rest = after;
        lines.push(RecordLine {
            id: record.id().0,
            client: record.req_id().client.to_string(),
            sequence: record.req_id().sequence,
            header: record.header(),
            locks: record.lock_count(),
            data_bytes: record.data().len(),
        });
    }
    lines
}

fn print(args: &DumpArgs, output: &mut Output, line: EntryLine<'_>) -> std::io::Result<()> {
    if args.directory.json {
        return output.json(&line);
    }
    let EntryLine { segment, offset, index, entry, body_bytes, damaged, .. } = &line;
    let partition = entry.partition().map_or_else(|| "-".to_owned(), |it| it.to_string());
    let damaged = if *damaged { ", DAMAGED" } else { "" };
    let text = entry_text(entry);
    output.line(format_args!(
        "{segment:>4} {offset:>9} {index:>4}  {partition:<6} {text}, {body_bytes} bytes{damaged}"
    ))?;
    for record in line.records.iter().flatten() {
        let RecordLine { id, client, sequence, header, locks, data_bytes } = record;
        output.line(format_args!(
            "                             {id}: request {sequence} of client {client}, header \
             {header}, {locks} locks, {data_bytes} bytes"
        ))?;
    }
    Ok(())
}
