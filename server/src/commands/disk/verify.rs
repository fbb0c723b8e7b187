//! `waltz disk verify`

use clap::Args;
use serde::Serialize;
use waltz_core::journal::{EntryHead, Fault, FoundEntry, segment_name};
use waltz_core::limits::Limits;
use waltz_core::record::Run;

use super::DirectoryArgs;
use super::walk::{Walked, walk};
use crate::exit::Exit;
use crate::output::Output;
use crate::trial::Check;

/// Check everything that is there: every header, batch and record by its checksum, and that the
/// entries follow from one another.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    directory: DirectoryArgs,
}

#[derive(Debug, Serialize)]
struct Verdict {
    sound: bool,
    #[serde(flatten)]
    found: Option<Found>,
    checks: Vec<Check>,
}

/// What there is.
#[derive(Debug, Serialize)]
struct Found {
    cluster: String,
    node: u32,
    disk: String,
    incarnation: u64,
    segments: usize,
    entries: u64,
    bytes: u64,
    partitions: usize,
    /// A write that was cut short when the node stopped: it was never acknowledged.
    torn: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When it can't be printed.
pub fn run(args: &VerifyArgs) -> anyhow::Result<Exit> {
    let mut records = Vec::new();
    let walked = walk(&args.directory.directory, |segment, batch| {
        let wrong = |(index, entry)| {
            let fault = bad_records(entry)?;
            let file = segment_name(segment.segment);
            Some(format!("entry {index} of the batch at byte {} of {file}: {fault}", batch.offset))
        };
        records.extend(batch.entries.iter().enumerate().filter_map(wrong));
        Ok(())
    });
    let verdict = verdict(walked, records);
    let mut output = Output::new();
    match args.directory.json {
        true => output.json(&verdict)?,
        false => tell(&verdict, &mut output)?,
    }
    output.flush()?;
    Ok(if verdict.sound { Exit::Success } else { Exit::Failure })
}

/// What is wrong with the records in an entry whose checksum is right.
fn bad_records(entry: &FoundEntry<'_>) -> Option<String> {
    let (EntryHead::Records { session, first, count, .. }
    | EntryHead::Repair { session, first, count, .. }) = &entry.head
    else {
        return None;
    };
    // A damaged body is told of with its batch.
    let body = Some(entry.body).filter(|_| !entry.is_damaged)?;
    let body = bytes::Bytes::copy_from_slice(body);
    let verified = Run::verify(*session, *first, *count, body, &Limits::default());
    verified.err().map(|error| error.to_string())
}

fn verdict(walked: anyhow::Result<Walked>, records: Vec<String>) -> Verdict {
    let check = |name, violations| Check { name, violations };
    let (mut found, mut headers, mut batches, mut unknown) = (None, vec![], vec![], vec![]);
    let mut unreadable = Vec::new();
    match walked {
        Err(error) => unreadable.push(crate::exit::explain(&error)),
        Ok(walked) => {
            for damage in &walked.examination.recovery.damaged {
                match damage.fault {
                    Fault::SegmentHeader => headers.push(damage.to_string()),
                    Fault::Batch { .. } => batches.push(damage.to_string()),
                }
            }
            unknown.extend(walked.examination.recovery.suspect.map(|damage| damage.to_string()));
            found = Some(summary(&walked));
        }
    }
    let checks = vec![
        check("the journal can be read", unreadable),
        check("headers of segments are whole", headers),
        check("batches are as they were written", batches),
        check("what was written is known", unknown),
        check("records are sound", records),
    ];
    let sound = checks.iter().all(|check| check.violations.is_empty());
    Verdict { sound, found, checks }
}

fn summary(walked: &Walked) -> Found {
    let recovery = &walked.examination.recovery;
    let newest = walked.examination.segments.last();
    Found {
        cluster: newest.map_or_else(String::new, |header| header.cluster.to_string()),
        node: newest.map_or(0, |header| header.node.0),
        disk: recovery.storage.to_string(),
        incarnation: recovery.incarnation.0,
        segments: recovery.segments,
        entries: recovery.entries,
        bytes: recovery.bytes,
        partitions: walked.state.storage().replicas().count(),
        torn: recovery.torn.as_ref().map(ToString::to_string),
    }
}

fn tell(verdict: &Verdict, output: &mut Output) -> std::io::Result<()> {
    if let Some(found) = &verdict.found {
        let Found { cluster, node, disk, incarnation, .. } = found;
        output.line(format_args!("node {node} of cluster {cluster}, disk {disk}"))?;
        let Found { segments, entries, bytes, partitions, .. } = found;
        output.line(format_args!(
            "entries: {entries}, partitions: {partitions}, segments: {segments}, bytes: {bytes}, \
             incarnation: {incarnation}"
        ))?;
        if let Some(torn) = &found.torn {
            output.line(format_args!("{torn}: it was cut short when the node stopped"))?;
        }
        output.line("")?;
    }
    verdict.checks.iter().try_for_each(|check| check.print(output))
}
