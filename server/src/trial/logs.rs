//! Reads the log that a stopped node has on its disk, from journal entries alone: none of the
//! code that decides in a running node takes part, so it can't hide what it did.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

use anyhow::{Context, ensure};
use waltz_core::id::{Mark, NodeId, PartitionId, SessionId, TransactionId};
use waltz_core::journal::{Damage, EntryHead, Fold, FoundEntry, Place};
use waltz_core::limits::Limits;
use waltz_core::record::Run;
use waltz_runtime::journal::{Journal, Reader};
use waltz_runtime_tokio::FileDisk;

use super::contents::Contents;
use crate::commands::connect::cluster_key;
use crate::commands::serve::{journal_config, journal_directory};
use crate::config::DEFAULT_CLUSTER;

/// A replica's log in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// How far it was read.
    pub last: Mark,
    /// Of every byte of every record up to there.
    pub hash: u64,
    /// What readers see of it.
    pub contents: Contents,
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
    let mut logs = Logs::default();
    let disk = FileDisk::open(journal_directory(data))?;
    let limits = Limits::default();
    let config = journal_config(NodeId(node), cluster_key(DEFAULT_CLUSTER), limits);
    Journal::open(disk.clone(), config, 0, &mut logs)
        .with_context(|| format!("could not read the journal of node {node}"))?;
    let mut reader = Reader::new(disk);
    let mut digests = BTreeMap::new();
    for (partition, log) in &logs.0 {
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

/// The logs that a journal's entries make.
#[derive(Debug, Default)]
struct Logs(BTreeMap<PartitionId, Log>);

impl Fold for Logs {
    fn begin(&mut self, released: bool) -> Result<(), String> {
        if released { Err("its oldest segments are gone".into()) } else { Ok(()) }
    }

    fn entry(&mut self, entry: FoundEntry<'_>) -> Result<(), String> {
        self.apply(&entry.head, entry.place);
        Ok(())
    }

    fn end(&mut self, suspect: Option<&Damage>) -> Result<(), String> {
        suspect.map_or(Ok(()), |damage| Err(damage.to_string()))
    }
}

impl Logs {
    fn apply(&mut self, head: &EntryHead, place: Option<Place>) {
        match (head, place) {
            (EntryHead::Records { partition, session, first, count, .. }, Some(place)) => {
                let log = self.0.entry(*partition).or_default();
                let piece = Piece { session: *session, first: *first, count: *count, place };
                log.pieces.push(piece);
                log.last = Mark::before(TransactionId(first.0 + u64::from(*count)));
            }
            (EntryHead::Cut { partition, keep }, _) => {
                let log = self.0.entry(*partition).or_default();
                log.last = log.last.min(keep.last);
                log.pieces.retain(|piece| keep.last.includes(piece.first));
            }
            _ => {}
        }
    }
}

impl Log {
    fn digest(&self, reader: &mut Reader<FileDisk>, mark: Mark) -> anyhow::Result<Digest> {
        let (mut hasher, mut contents) = (DefaultHasher::new(), Contents::default());
        let (mut next, end) = (TransactionId::FIRST, self.last.min(mark));
        for (index, piece) in self.pieces.iter().enumerate() {
            let until = self.pieces.get(index + 1).map_or(end, |after| Mark::before(after.first));
            let mut bodies = reader.read(&[piece.place])?;
            let body = bodies.pop().context("a body was asked for and none was read")?;
            let run =
                Run::verify(piece.session, piece.first, piece.count, body, &Limits::default())?;
            let Some(run) = run.slice(piece.first, until.min(end)) else { continue };
            ensure!(run.first == next, "transaction {} follows {next}", run.first);
            hasher.write(&run.bytes);
            for record in run.records() {
                contents.add(record.id(), record.header(), record.data());
            }
            next = run.last().next();
        }
        Ok(Digest { last: Mark::before(next), hash: hasher.finish(), contents })
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use waltz_core::id::{ClientId, Epoch, Generation, Position, ReqId, SetVersion};
    use waltz_core::io::Ticket;
    use waltz_core::journal::Entry;
    use waltz_core::record::{NewRecord, RecordView, append_with_id};

    use super::*;

    const P: PartitionId = PartitionId(2);

    /// Transactions whose data is their id, or something else for one of them.
    fn records(epoch: u64, ids: std::ops::Range<u64>, odd: Option<u64>) -> Entry {
        let session = SessionId { epoch: Epoch(epoch), server: NodeId(1), nonce: 0 };
        let (mut body, limits) = (BytesMut::new(), Limits::default());
        for id in ids.clone() {
            let (client, generation) = (ClientId(1), Generation(1));
            let req_id = ReqId { client, generation, partition: P, sequence: id };
            let data = if odd == Some(id) { u64::MAX } else { id }.to_le_bytes();
            let (computed_at, locks) = (Mark::NONE, &[][..]);
            let new = NewRecord {
                req_id,
                header: 0,
                computed_at,
                writes: locks,
                reads: locks,
                appends: locks,
                data: &data,
            };
            let mut encoded = BytesMut::new();
            new.encode(&limits, &mut encoded).unwrap();
            let (view, _) = RecordView::parse(&encoded, &limits).unwrap();
            append_with_id(&view, TransactionId(id), &mut body);
        }
        let (first, count) = (TransactionId(ids.start), (ids.end - ids.start) as u32);
        let low_water = Mark::NONE;
        let head = EntryHead::Records { partition: P, session, first, count, low_water };
        Entry { head, body: body.freeze() }
    }

    fn cut(keep: u64) -> Entry {
        let keep = Mark::at(TransactionId(keep));
        let keep = Position { last: keep, version: SetVersion::FIRST };
        Entry { head: EntryHead::Cut { partition: P, keep }, body: Default::default() }
    }

    /// The digest of a log that came about by these entries, up to its first four transactions.
    fn digest(entries: Vec<Entry>) -> Digest {
        let data = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(journal_directory(data.path())).unwrap();
        let cluster = cluster_key(DEFAULT_CLUSTER);
        let config = journal_config(NodeId(1), cluster, Limits::default());
        let opened = Journal::open(disk.clone(), config, 7, &mut Logs::default());
        let (mut journal, _) = opened.unwrap();
        let tickets = (1..).map(Ticket);
        journal.write(tickets.zip(entries).collect()).unwrap();
        journal.sync().unwrap();
        drop((journal, disk));
        let marks = BTreeMap::from([(P, Mark::before(TransactionId(4)))]);
        digests(data.path(), 1, &marks).unwrap()[&P]
    }

    #[test]
    fn equal_logs_are_equal_however_they_came_about() {
        let straight = digest(vec![records(1, 0..2, None), records(2, 2..5, None)]);
        assert_eq!(straight.last, Mark::before(TransactionId(4)));
        let crooked = digest(vec![
            records(1, 0..4, Some(3)),
            cut(1),
            records(2, 2..3, None),
            records(2, 3..4, None),
        ]);
        assert_eq!(straight, crooked);
    }

    #[test]
    fn a_record_that_differs_or_is_missing_shows() {
        let straight = digest(vec![records(1, 0..4, None)]);
        assert_ne!(straight.hash, digest(vec![records(1, 0..4, Some(3))]).hash);
        let short = digest(vec![records(1, 0..4, None), cut(2)]);
        assert_eq!(short.last, Mark::at(TransactionId(2)));
    }
}
