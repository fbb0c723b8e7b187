//! Reads of an archive by id: which pieces there are, and the last ones read, stay in memory, so that
//! a feed that goes through a piece loads it once.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use waltz_core::id::{Mark, PartitionId, TransactionId};
use waltz_core::io::{ArchiveFailure, ArchiveRead};

use crate::piece::{LogName, Piece, SoundPiece};
use crate::statistics::ArchiveStatistics;

/// So many pieces are kept.
const KEPT: usize = 4;
/// Of so many logs it is known which pieces they have.
const LISTED: usize = 64;

/// Where pieces are.
pub trait PieceStore: Send + Sync + 'static {
    /// Why it can't be asked, or a piece is not sound.
    type Error: fmt::Display + Send;

    /// One log's pieces. They may overlap.
    fn pieces(&self, log: LogName) -> impl Future<Output = Result<Vec<Piece>, Self::Error>> + Send;

    /// Reads a piece, and verifies all of it.
    fn read(
        &self,
        log: LogName,
        piece: Piece,
    ) -> impl Future<Output = Result<SoundPiece, Self::Error>> + Send;
}

/// Reads records of an archive.
#[derive(Debug)]
pub struct ArchiveReader<A> {
    archive: A,
    memory: Mutex<Memory>,
    statistics: Arc<ArchiveStatistics>,
}

#[derive(Debug, Default)]
struct Memory {
    /// The pieces of logs, as they were listed last.
    listed: BTreeMap<LogName, Vec<Piece>>,
    /// The one read last is the last one.
    kept: VecDeque<(LogName, SoundPiece)>,
}

impl<A: PieceStore> ArchiveReader<A> {
    /// Reads of this archive.
    pub fn new(archive: A) -> Self {
        Self { archive, memory: Mutex::default(), statistics: Arc::default() }
    }

    /// What its reads come to.
    pub fn statistics(&self) -> &Arc<ArchiveStatistics> {
        &self.statistics
    }

    /// What a partition's machine asks for, answered as it wants to be.
    ///
    /// # Errors
    /// When the archive does not have the first record, or can't be read.
    pub async fn answer(
        &self,
        partition: PartitionId,
        ArchiveRead { creation, first, to, max_bytes }: ArchiveRead,
    ) -> Result<Bytes, ArchiveFailure> {
        match self.read(LogName { partition, creation }, first, to, max_bytes).await {
            Ok(Some(records)) => Ok(records),
            Ok(None) => Err(ArchiveFailure::Lacks),
            Err(error) => Err(ArchiveFailure::Failed { reason: error.to_string() }),
        }
    }

    /// Records from `first` on, end to end: up to `to` at most, and no more than `max_bytes` but one
    /// at least. `None`: the archive does not have `first`.
    ///
    /// # Errors
    /// When the store can't be asked, or nothing that should hold `first` is sound.
    pub async fn read(
        &self,
        log: LogName,
        first: TransactionId,
        to: Mark,
        max_bytes: u32,
    ) -> Result<Option<Bytes>, A::Error> {
        if let Some(records) = self.lock().find(log, first, to, max_bytes) {
            return Ok(Some(records));
        }
        let mut failure = None;
        for piece in self.holding(log, first).await? {
            match self.archive.read(log, piece).await {
                Ok(sound) => {
                    self.statistics.loaded(sound.bytes());
                    let records = sound.records(first, to, max_bytes);
                    self.lock().keep(log, sound);
                    return Ok(records);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        // What is listed may have been removed, or replaced by what is sound.
        self.lock().listed.remove(&log);
        failure.map_or(Ok(None), Err)
    }

    /// The pieces that hold a record by their names, the ones that reach furthest first.
    async fn holding(&self, log: LogName, id: TransactionId) -> Result<Vec<Piece>, A::Error> {
        let known = self.lock().holding(log, id);
        if !known.is_empty() {
            return Ok(known);
        }
        let pieces = self.archive.pieces(log).await?;
        let mut memory = self.lock();
        if memory.listed.len() >= LISTED {
            memory.listed.clear();
        }
        memory.listed.insert(log, pieces);
        Ok(memory.holding(log, id))
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn find(
        &mut self,
        log: LogName,
        first: TransactionId,
        to: Mark,
        max_bytes: u32,
    ) -> Option<Bytes> {
        let holds =
            |(of, sound): &(LogName, SoundPiece)| *of == log && sound.piece().contains(first);
        let at = self.kept.iter().position(holds)?;
        let (_, sound) = self.kept.remove(at)?;
        let records = sound.records(first, to, max_bytes);
        self.keep(log, sound);
        records
    }

    fn keep(&mut self, log: LogName, sound: SoundPiece) {
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((log, sound));
    }

    fn holding(&self, log: LogName, id: TransactionId) -> Vec<Piece> {
        let pieces = self.listed.get(&log).into_iter().flatten();
        let mut holding: Vec<_> = pieces.filter(|piece| piece.contains(id)).copied().collect();
        holding.sort_by_key(|piece| std::cmp::Reverse(piece.last));
        holding
    }
}

#[cfg(all(test, feature = "store"))]
mod tests {
    use super::*;
    use crate::error::ArchiveError;
    use crate::store::Archive;
    use crate::testing::{LOG, piece, record};

    /// What a reader reads from 0 on, until there is nothing more or it fails.
    async fn all(reader: &ArchiveReader<Archive>, to: u64) -> (Vec<u8>, Option<ArchiveError>) {
        let (mut read, mut next) = (Vec::new(), 0);
        let per_record = record(0).len();
        while next < to {
            let (first, to) = (TransactionId(next), Mark::before(TransactionId(to)));
            match reader.read(LOG, first, to, 3 * per_record as u32).await {
                Ok(Some(records)) => {
                    next += (records.len() / per_record) as u64;
                    read.extend_from_slice(&records);
                }
                Ok(None) => break,
                Err(error) => return (read, Some(error)),
            }
        }
        (read, None)
    }

    async fn rig(pieces: &[std::ops::Range<u64>]) -> (tempfile::TempDir, ArchiveReader<Archive>) {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(directory.path().to_str().unwrap()).unwrap();
        for ids in pieces {
            let (name, bytes) = piece(ids.clone());
            archive.write(LOG, name, bytes).await.unwrap();
        }
        (directory, ArchiveReader::new(archive))
    }

    fn records(ids: std::ops::Range<u64>) -> Vec<u8> {
        ids.flat_map(record).collect()
    }

    #[tokio::test]
    async fn records_come_from_piece_after_piece() {
        let (_directory, reader) = rig(&[0..10, 8..20, 20..31, 31..40, 40..45, 45..60]).await;
        let (read, error) = all(&reader, 50).await;
        assert!(error.is_none() && read == records(0..50), "{error:?}");
        assert_eq!(reader.lock().kept.len(), KEPT);
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_to_be_missing_and_found_later() {
        let (_directory, reader) = rig(&[0..10, 12..20]).await;
        let (read, error) = all(&reader, 20).await;
        assert!(error.is_none() && read == records(0..10), "{error:?}");
        let (name, bytes) = piece(10..12);
        reader.archive.write(LOG, name, bytes).await.unwrap();
        assert_eq!(all(&reader, 20).await.0, records(0..20));
    }

    #[tokio::test]
    async fn a_damaged_piece_is_not_read_and_another_one_is() {
        let (_directory, reader) = rig(&[0..10, 5..15]).await;
        let (longer, _) = piece(5..15);
        let place = reader.archive.place(LOG, longer);
        let mut bytes = std::fs::read(&place).unwrap();
        bytes[700] ^= 1;
        std::fs::write(&place, bytes).unwrap();
        let (read, error) = all(&reader, 15).await;
        assert_eq!(read, records(0..10));
        assert!(error.unwrap().to_string().contains(&place));
    }
}
