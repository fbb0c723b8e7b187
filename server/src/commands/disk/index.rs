//! `waltz disk index`

use clap::Args;
use serde::Serialize;

use super::DirectoryArgs;
use super::walk::walk;
use crate::exit::Exit;
use crate::output::{Output, Table};

/// Show where each partition's records are: which ids, in which file, from which byte on.
#[derive(Debug, Args)]
pub struct IndexArgs {
    #[command(flatten)]
    directory: DirectoryArgs,

    /// Only this partition
    #[arg(long, value_name = "P")]
    partition: Option<u32>,
}

#[derive(Debug, Serialize)]
struct PieceLine {
    partition: u32,
    first: u64,
    last: u64,
    segment: u32,
    offset: u32,
    bytes: u32,
}

/// Runs the command.
///
/// # Errors
/// When the journal can't be read to its end, or something can't be printed.
pub fn run(args: &IndexArgs) -> anyhow::Result<Exit> {
    let walked = walk(&args.directory.directory, |_, _| Ok(()))?;
    let replicas = walked.state.storage().replicas();
    let replicas = replicas.filter(|(one, _)| args.partition.is_none_or(|wanted| one.0 == wanted));
    let lines = replicas.flat_map(|(partition, replica)| {
        replica.places().map(move |(ids, place)| PieceLine {
            partition: partition.0,
            first: ids.first.0,
            last: ids.last.0,
            segment: place.segment,
            offset: place.offset,
            bytes: place.length,
        })
    });
    let mut output = Output::new();
    if args.directory.json {
        for line in lines {
            output.json(&line)?;
        }
    } else {
        let mut table = Table::new(["partition", "first", "last", "segment", "offset", "bytes"]);
        for PieceLine { partition, first, last, segment, offset, bytes } in lines {
            table.row([
                partition.to_string(),
                first.to_string(),
                last.to_string(),
                segment.to_string(),
                offset.to_string(),
                bytes.to_string(),
            ]);
        }
        output.line(table)?;
    }
    output.flush()?;
    walked.outcome()
}
