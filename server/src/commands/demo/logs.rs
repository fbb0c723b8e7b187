//! Reads the log that a stopped node has on its disk, from journal entries alone: none of the
//! code that decides in a running node takes part, so it can't hide what it did.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

use anyhow::{Context, ensure};
use waltz_core::id::{Mark, NodeId, PartitionId, SessionId, TransactionId};
use waltz_core::journal::{EntryHead, Place};
use waltz_core::limits::Limits;
use waltz_core::record::Run;
use waltz_runtime::journal::{Journal, Reader};
use waltz_runtime_tokio::FileDisk;

use crate::commands::connect::cluster_key;
use crate::commands::serve::{DEFAULT_CLUSTER, journal_config, journal_directory};

/// A replica's log in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest {
    /// How far it was read.
    pub(super) last: Mark,
    /// Of every byte of every record up to there.
    pub(super) hash: u64,
}

/// Digests of all logs in a data directory, each up to its mark at most.
///
/// # Errors
/// When the journal can't be read, or a record in it is damaged or out of order.
pub(super) fn digests(
    data: &Path,
    node: u32,
    marks: &BTreeMap<PartitionId, Mark>,
) -> anyhow::Result<BTreeMap<PartitionId, Digest>> {
    let mut logs = BTreeMap::<PartitionId, Log>::new();
    let disk = FileDisk::open(journal_directory(data))?;
    let limits = Limits::default();
    let config = journal_config(NodeId(node), cluster_key(DEFAULT_CLUSTER), limits);
    Journal::open(disk.clone(), config, 0, &mut |head, place| {
        apply(&mut logs, &head, place);
        Ok(())
    })
    .with_context(|| format!("could not read the journal of node {node}"))?;
    let mut reader = Reader::new(disk);
    let mut digests = BTreeMap::new();
    for (partition, log) in &logs {
        let mark = marks.get(partition).copied().unwrap_or(Mark::NONE);
        let digest = log.digest(&mut reader, mark).with_context(|| {
            format!("could not read the log of partition {} on node {node}", partition.0)
        })?;
        digests.insert(*partition, digest);
    }
    Ok(digests)
}

/// Where the records of one log are; each piece reaches up to the next one's first id.
#[derive(Debug, Default)]
struct Log {
    pieces: Vec<Piece>,
    last: Mark,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    session: SessionId,
    first: TransactionId,
    count: u32,
    place: Place,
}

fn apply(logs: &mut BTreeMap<PartitionId, Log>, head: &EntryHead, place: Option<Place>) {
    match (head, place) {
        (EntryHead::Records { partition, session, first, count, .. }, Some(place)) => {
            let log = logs.entry(*partition).or_default();
            let piece = Piece { session: *session, first: *first, count: *count, place };
            log.pieces.push(piece);
            log.last = Mark::before(TransactionId(first.0 + u64::from(*count)));
        }
        (EntryHead::Cut { partition, keep }, _) => {
            let log = logs.entry(*partition).or_default();
            log.last = log.last.min(*keep);
            log.pieces.retain(|piece| keep.includes(piece.first));
        }
        _ => {}
    }
}

impl Log {
    fn digest(&self, reader: &mut Reader<FileDisk>, mark: Mark) -> anyhow::Result<Digest> {
        let (mut hasher, mut next, end) =
            (DefaultHasher::new(), TransactionId::FIRST, self.last.min(mark));
        for (index, piece) in self.pieces.iter().enumerate() {
            let until = self.pieces.get(index + 1).map_or(end, |after| Mark::before(after.first));
            let mut bodies = reader.read(&[piece.place])?;
            let body = bodies.pop().context("a body was asked for and none was read")?;
            let run =
                Run::verify(piece.session, piece.first, piece.count, body, &Limits::default())?;
            let Some(run) = run.slice(piece.first, until.min(end)) else { continue };
            ensure!(run.first == next, "transaction {} follows {next}", run.first);
            hasher.write(&run.bytes);
            next = run.last().next();
        }
        Ok(Digest { last: Mark::before(next), hash: hasher.finish() })
    }
}
