//! `waltz bench restart`: how long a node takes to open its journal, by the journal's size.

mod records;
mod writer;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::args::{parse_bytes, working_directory};
use crate::exit::Exit;
use crate::output::{Output, Table};

use records::Shape;
use writer::Writer;

/// Measure openings of a journal.
#[derive(Debug, Args)]
pub struct RestartBench {
    /// How large the journal is when it is opened, ascending; it grows from one size to the next
    #[arg(
        long,
        value_name = "BYTES,...",
        value_delimiter = ',',
        default_value = "1G,2G,4G,8G",
        value_parser = parse_bytes
    )]
    sizes: Vec<u64>,

    /// Bytes of data in each record; a journal for each
    #[arg(long, value_name = "BYTES,...", value_delimiter = ',', default_value = "1024,100")]
    payload: Vec<usize>,

    /// Records that come to a replica at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    run: u32,

    /// Replicas of the node
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: u32,

    /// Where the journal is while it is measured [default: the current directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One opening.
#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    payload_bytes: usize,
    run: u32,
    partitions: u32,
    records: u64,
    /// Of all batches.
    journal_bytes: u64,
    /// Of those that the opening read.
    read_bytes: u64,
    /// Whether the opening had to read everything.
    is_whole: bool,
    seconds: f64,
    /// What the process grew by: the index, for the most part. Of Linux only.
    memory_bytes: Option<u64>,
    /// How long it takes to read and verify all of it, out of the page cache.
    scan_seconds: f64,
    scan_bytes_per_second: f64,
}

/// Runs the command.
///
/// # Errors
/// When the disk has no room, the journal can't be used, or an opening finds another state than was
/// written.
pub async fn run(args: RestartBench) -> anyhow::Result<Exit> {
    let mut sizes = args.sizes.clone();
    sizes.sort_unstable();
    let mut reports = Vec::new();
    for &payload in &args.payload {
        let shape = Shape::new(payload, args.run, args.partitions)?;
        let directory = working_directory(args.data.as_ref())?;
        let mut writer = Writer::begin(directory.path(), shape)?;
        for &size in &sizes {
            while writer.written() < size {
                writer.write()?;
                // Somebody may want it to end.
                tokio::task::yield_now().await;
            }
            let (opened, opening) = writer.restart()?;
            writer = opened;
            let scan = writer.scan()?;
            reports.push(Report {
                bench: "restart",
                payload_bytes: payload,
                run: args.run,
                partitions: args.partitions,
                records: writer.records(),
                journal_bytes: scan.bytes,
                read_bytes: opening.recovery.bytes,
                is_whole: opening.recovery.replayed_from == Some(1),
                seconds: opening.seconds,
                memory_bytes: opening.memory_bytes,
                scan_seconds: scan.seconds,
                scan_bytes_per_second: scan.bytes as f64 / scan.seconds,
            });
        }
    }
    print(&args, &reports)
}

fn print(args: &RestartBench, reports: &[Report]) -> anyhow::Result<Exit> {
    let mut output = Output::new();
    if args.json {
        for report in reports {
            output.json(report)?;
        }
    } else {
        let names = ["record", "journal", "records", "read", "opened in", "memory", "scan"];
        let mut table = Table::new(names);
        for report in reports {
            let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
            table.row([
                format!("{} B", report.payload_bytes),
                mebibytes(report.journal_bytes),
                report.records.to_string(),
                mebibytes(report.read_bytes),
                format!("{:.3} s", report.seconds),
                report.memory_bytes.map_or_else(|| "unknown".to_owned(), mebibytes),
                format!("{:.2} GB/s", report.scan_bytes_per_second / 1e9),
            ]);
        }
        output.line(table)?;
    }
    output.flush()?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_grows_is_opened_at_each_size_from_its_checkpoints() {
        let directory = tempfile::tempdir().unwrap();
        let shape = Shape::new(1024, 16, 3).unwrap();
        let mut writer = Writer::begin(directory.path(), shape).unwrap();
        let mut read = Vec::new();
        for size in [1 << 20, 220 << 20] {
            while writer.written() < size {
                writer.write().unwrap();
            }
            let (opened, opening) = writer.restart().unwrap();
            writer = opened;
            let scan = writer.scan().unwrap();
            assert!(opening.recovery.bytes <= scan.bytes);
            read.push((opening.recovery.bytes, scan.bytes));
        }
        assert_eq!(read[0].0, read[0].1, "there is no checkpoint yet");
        assert!(read[1].0 < read[1].1, "{read:?}");
    }
}
