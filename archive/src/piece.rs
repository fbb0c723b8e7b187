//! Pieces: the objects that an archive consists of. Each holds records of consecutive ids of one
//! log, whole, and is never changed.
//!
//! ```text
//! PREFIX/partition-3/creation-00000000000000c5/00000000000000000100-00000000000000000199.waltz
//! ```
//!
//! It is a stream of records (`stream.rs`) with these fields:
//!
//! ```text
//!  0  magic      "WALTZARC"
//!  8  version    u32 (1)
//! 12  partition  u32
//! 16  creation   u64  which log of that number
//! 24  first      u64  the id of the first record
//! 32  checksum   u32
//! 36  records
//! ```

use std::fmt;

use bytes::Bytes;
use waltz_core::id::{CreationId, Mark, PartitionId, TransactionId};

use crate::stream::{Format, Holding, RecordReader, RecordWriter, StreamError};

const FORMAT: Format = Format { magic: *b"WALTZARC", version: 1 };
/// A piece is begun anew once it has about so many bytes; it has one record at least.
pub const PIECE_BYTES: usize = 32 << 20;
const SUFFIX: &str = ".waltz";

/// One partition's log, of one creation of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogName {
    /// The partition.
    pub partition: PartitionId,
    /// Its creation, which no other log has.
    pub creation: CreationId,
}

impl LogName {
    /// The folders that its pieces are in.
    pub fn folders(self) -> [String; 2] {
        let Self { partition, creation } = self;
        [format!("partition-{}", partition.0), format!("creation-{:016x}", creation.0)]
    }

    /// The log whose pieces are in these folders.
    pub fn parse(partition: &str, creation: &str) -> Option<Self> {
        let partition = partition.strip_prefix("partition-")?.parse().ok()?;
        let creation = u64::from_str_radix(creation.strip_prefix("creation-")?, 16).ok()?;
        Some(Self { partition: PartitionId(partition), creation: CreationId(creation) })
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [partition, creation] = self.folders();
        write!(f, "{partition}/{creation}")
    }
}

/// Which records a piece holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// The first one.
    pub first: TransactionId,
    /// The last one.
    pub last: TransactionId,
}

impl Piece {
    /// Whether it holds this record.
    pub fn contains(&self, id: TransactionId) -> bool {
        (self.first..=self.last).contains(&id)
    }

    /// How many records it holds.
    pub fn count(&self) -> u64 {
        self.last.0 - self.first.0 + 1
    }

    /// The name of its object in the log's folder. Names sort as ids do.
    pub fn file_name(&self) -> String {
        format!("{:020}-{:020}{SUFFIX}", self.first.0, self.last.0)
    }

    /// The piece of this name.
    pub fn parse(file_name: &str) -> Option<Self> {
        let (first, last) = file_name.strip_suffix(SUFFIX)?.split_once('-')?;
        let id = |digits: &str| (digits.len() == 20).then(|| digits.parse().ok()).flatten();
        let (first, last) = (TransactionId(id(first)?), TransactionId(id(last)?));
        (first <= last && last.0 < u64::MAX).then_some(Self { first, last })
    }
}

/// Writes a piece.
#[derive(Debug)]
pub struct PieceWriter {
    first: TransactionId,
    records: RecordWriter<Vec<u8>>,
}

impl PieceWriter {
    /// Begins a piece with the record of this id.
    pub fn new(log: LogName, first: TransactionId) -> Self {
        let mut fields = Vec::with_capacity(20);
        fields.extend_from_slice(&log.partition.0.to_le_bytes());
        fields.extend_from_slice(&log.creation.0.to_le_bytes());
        fields.extend_from_slice(&first.0.to_le_bytes());
        let records = RecordWriter::begin(Vec::new(), FORMAT, &fields).expect(IN_MEMORY);
        Self { first, records }
    }

    /// Adds the log's next record.
    pub fn push(&mut self, record: &[u8]) {
        self.records.push(record).expect(IN_MEMORY);
    }

    /// The id of the record that comes next.
    pub fn next(&self) -> TransactionId {
        TransactionId(self.first.0 + self.records.count())
    }

    /// Whether it is long enough.
    pub fn is_full(&self) -> bool {
        self.records.out().len() >= PIECE_BYTES
    }

    /// Ends the piece, unless it is empty.
    pub fn end(self) -> Option<(Piece, Bytes)> {
        let last = Mark::before(self.next()).id().filter(|last| *last >= self.first)?;
        let bytes = self.records.end().expect(IN_MEMORY);
        Some((Piece { first: self.first, last }, Bytes::from(bytes)))
    }
}

const IN_MEMORY: &str = "memory takes what is written";

/// A piece that was read and is sound.
#[derive(Debug, Clone)]
pub struct SoundPiece {
    piece: Piece,
    bytes: Bytes,
    /// Where each record begins, and where the last one ends.
    offsets: Vec<usize>,
}

impl SoundPiece {
    /// Verifies that bytes are this piece of this log, whole.
    ///
    /// # Errors
    /// When they are not.
    pub fn verify(log: LogName, piece: Piece, bytes: Bytes) -> Result<Self, StreamError> {
        let (mut reader, said) = RecordReader::open(&bytes[..], FORMAT, fields)?;
        let wrong = |reason| Err(StreamError::Damaged { offset: 12, reason });
        if said != log || reader.holding().first != piece.first {
            let first = reader.holding().first;
            return wrong(format!("it says that it begins with {first} of {said}"));
        }
        let mut offsets = vec![offset(&reader)];
        while reader.next_record()?.is_some() {
            offsets.push(offset(&reader));
        }
        if reader.count() != piece.count() {
            let (found, named) = (reader.count(), piece.count());
            return wrong(format!("it holds {found} records, and its name says {named}"));
        }
        Ok(Self { piece, bytes, offsets })
    }

    /// Which records it holds.
    pub fn piece(&self) -> Piece {
        self.piece
    }

    /// How long it is, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Records from `first` on, end to end: no more than up to `to`, and no more than `max_bytes` but
    /// one at least. None when it does not hold `first`, or that comes after `to`.
    pub fn records(&self, first: TransactionId, to: Mark, max_bytes: u32) -> Option<Bytes> {
        if !self.piece.contains(first) || !to.includes(first) {
            return None;
        }
        let at = (first.0 - self.piece.first.0) as usize;
        let begin = self.offsets[at];
        let last = self.piece.last.mark().min(to).id()?;
        let ends = &self.offsets[at + 1..=(last.0 - self.piece.first.0) as usize + 1];
        let fitting = ends.partition_point(|end| end - begin <= max_bytes as usize).max(1);
        Some(self.bytes.slice(begin..ends[fitting - 1]))
    }
}

fn offset(reader: &RecordReader<&[u8]>) -> usize {
    usize::try_from(reader.offset()).expect("it is in memory")
}

fn fields(bytes: [u8; 20]) -> (Holding, LogName) {
    let u32_at = |at| u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
    let u64_at = |at| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
    let (partition, creation) = (PartitionId(u32_at(0)), CreationId(u64_at(4)));
    let holding = Holding { partition, first: TransactionId(u64_at(12)) };
    (holding, LogName { partition, creation })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LOG, piece, record};

    fn verify(bytes: &[u8]) -> Result<SoundPiece, StreamError> {
        SoundPiece::verify(LOG, piece(10..14).0, Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn what_was_written_is_read_back() {
        let (name, bytes) = piece(10..14);
        assert_eq!(name.file_name(), "00000000000000000010-00000000000000000013.waltz");
        assert_eq!(Piece::parse(&name.file_name()), Some(name));
        let sound = verify(&bytes).unwrap();
        let all: Vec<_> = (10..14).flat_map(record).collect();
        let read =
            |first, to, max| sound.records(TransactionId(first), Mark::at(TransactionId(to)), max);
        assert_eq!(read(10, 13, u32::MAX).unwrap(), all);
        assert_eq!(read(11, 99, 1).unwrap(), record(11));
        assert_eq!(read(11, 12, u32::MAX).unwrap(), [record(11), record(12)].concat());
        let two = 2 * record(11).len() as u32;
        assert_eq!(read(11, 99, two).unwrap(), [record(11), record(12)].concat());
        assert_eq!(read(11, 99, two - 1).unwrap(), record(11));
        assert_eq!((read(9, 13, 1), read(14, 99, 1), read(12, 11, 1)), (None, None, None));
        assert!(PieceWriter::new(LOG, TransactionId(3)).end().is_none());
    }

    #[test]
    fn no_changed_missing_or_added_byte_goes_unnoticed() {
        let (_, sound) = piece(10..14);
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut bytes = sound.to_vec();
                bytes[at] ^= 1 << bit;
                assert!(verify(&bytes).is_err(), "bit {bit} of {at}");
            }
            assert!(verify(&sound[..at]).is_err(), "cut at {at}");
        }
        assert!(verify(&[&sound[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_piece_of_another_log_or_another_name_is_refused() {
        let (name, bytes) = piece(10..14);
        let other = LogName { creation: CreationId(4), ..LOG };
        let error = SoundPiece::verify(other, name, bytes.clone()).unwrap_err();
        assert!(error.to_string().contains("creation-"), "{error}");
        let longer = Piece { last: TransactionId(14), ..name };
        let error = SoundPiece::verify(LOG, longer, bytes.clone()).unwrap_err();
        assert!(error.to_string().contains("holds 4 records"), "{error}");
        let later = Piece { first: TransactionId(11), last: TransactionId(14) };
        assert!(SoundPiece::verify(LOG, later, bytes).is_err());
    }

    #[test]
    fn names_that_are_none_are_not_taken() {
        let names = ["", "1-2.waltz", "00000000000000000010-00000000000000000009.waltz", "x.tmp"];
        assert_eq!(names.map(Piece::parse), [None; 4]);
        let [partition, creation] = LOG.folders();
        assert_eq!(LogName::parse(&partition, &creation), Some(LOG));
        assert_eq!(LogName::parse(&creation, &partition), None);
    }
}
