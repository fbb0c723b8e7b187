//! A transaction as bytes: encoded once, then journalled, replicated and served as it is.
//!
//! ```text
//!  0  length    u32  whole record, this field included        little-endian throughout
//!  4  checksum  u32  CRC32C of everything that follows
//!  8  id        u64  the transaction id; assigned by the server
//! 16  client    u64 ┐
//! 24  generation u64│ the ReqId
//! 32  partition u32 │
//! 36  header    u32 │ the application's own 32 bits
//! 40  sequence  u64 ┘
//! 48  computed  u64  the client's high-water mark: number of ids it had seen
//! 56  writes u16, reads u16, appends u16, version u16 (1)
//! 64  locks, 8 bytes each: writes, then reads, then appends
//!  …  data
//! ```
//!
//! A *run* is records of consecutive ids end to end. Peers and disks are not trusted: a
//! [`RecordView`] exists only of bytes whose lengths and checksum were verified.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{ClientId, Generation, Mark, PartitionId, ReqId, SessionId, TransactionId};
use crate::limits::Limits;
use crate::lock::{LockId, LockKind};

/// Length of the fixed part of a record, in bytes.
pub const HEADER_BYTES: usize = 64;
const VERSION: u16 = 1;

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Fewer bytes than the record says it has, or than any record has.
    #[error("record cut short: {have} bytes of {need}")]
    Short {
        /// Bytes at hand.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// Longer than the configured limit.
    #[error(
        "record of {length} bytes is over the limit of {limit}; raise the record limit or send less"
    )]
    TooLong {
        /// What it says of its length.
        length: usize,
        /// The limit.
        limit: u32,
    },
    /// More locks than the configured limit, or than its length has room for.
    #[error("record names {locks} locks; the limit is {limit}")]
    Locks {
        /// What it says of its locks.
        locks: usize,
        /// The limit.
        limit: u32,
    },
    /// The checksum does not match: rot, or a broken peer.
    #[error("record checksum is {found:08x}, computed {computed:08x}")]
    Checksum {
        /// As written in the record.
        found: u32,
        /// As computed from its bytes.
        computed: u32,
    },
    /// Written by a version this one does not know.
    #[error("record format version {0} is not known; this program reads version 1")]
    Version(u16),
    /// A run's records are not numbered one after another from where it says.
    #[error("run holds record {found} where {expected} belongs")]
    Order {
        /// The id that was found.
        found: TransactionId,
        /// The id that belongs there.
        expected: TransactionId,
    },
    /// A run holds another number of records than it says.
    #[error("run says {said} records and holds {held}")]
    Count {
        /// What its head says.
        said: u32,
        /// What its bytes hold.
        held: u32,
    },
}

/// A verified record within a larger buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordView<'a> {
    bytes: &'a [u8],
    writes: u16,
    reads: u16,
    appends: u16,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

impl<'a> RecordView<'a> {
    /// The record at the start of `buffer`, verified; and what follows it.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes; nothing is allocated to find out.
    pub fn parse(buffer: &'a [u8], limits: &Limits) -> Result<(Self, &'a [u8]), RecordError> {
        if buffer.len() < HEADER_BYTES {
            return Err(RecordError::Short { have: buffer.len(), need: HEADER_BYTES });
        }
        let length = u32_at(buffer, 0) as usize;
        if length > limits.record as usize {
            return Err(RecordError::TooLong { length, limit: limits.record });
        }
        if length < HEADER_BYTES || length > buffer.len() {
            return Err(RecordError::Short { have: buffer.len(), need: length.max(HEADER_BYTES) });
        }
        let (bytes, rest) = buffer.split_at(length);
        let (found, computed) = (u32_at(bytes, 4), crc32c::crc32c(&bytes[8..]));
        if found != computed {
            return Err(RecordError::Checksum { found, computed });
        }
        if u16_at(bytes, 62) != VERSION {
            return Err(RecordError::Version(u16_at(bytes, 62)));
        }
        let (writes, reads, appends) = (u16_at(bytes, 56), u16_at(bytes, 58), u16_at(bytes, 60));
        let locks = usize::from(writes) + usize::from(reads) + usize::from(appends);
        if locks > limits.locks as usize || HEADER_BYTES + locks * 8 > length {
            return Err(RecordError::Locks { locks, limit: limits.locks });
        }
        Ok((Self { bytes, writes, reads, appends }, rest))
    }

    /// The whole record as it is stored.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its place in the partition.
    pub fn id(&self) -> TransactionId {
        TransactionId(u64_at(self.bytes, 8))
    }

    /// The attempt that appended it.
    pub fn req_id(&self) -> ReqId {
        ReqId {
            client: ClientId(u64_at(self.bytes, 16)),
            generation: Generation(u64_at(self.bytes, 24)),
            partition: PartitionId(u32_at(self.bytes, 32)),
            sequence: u64_at(self.bytes, 40),
        }
    }

    /// The application's 32 bits.
    pub fn header(&self) -> u32 {
        u32_at(self.bytes, 36)
    }

    /// The high-water mark of the client when it computed the transaction.
    pub fn computed_at(&self) -> Mark {
        Mark::before(TransactionId(u64_at(self.bytes, 48)))
    }

    /// Its locks, with their kinds.
    pub fn locks(&self) -> impl Iterator<Item = (LockKind, LockId)> + use<'a> {
        let (writes, reads) = (usize::from(self.writes), usize::from(self.reads));
        let bytes = self.bytes;
        (0..self.lock_count()).map(move |index| {
            let kind = match index {
                i if i < writes => LockKind::Write,
                i if i < writes + reads => LockKind::Read,
                _ => LockKind::Append,
            };
            (kind, LockId(u64_at(bytes, HEADER_BYTES + index * 8)))
        })
    }

    /// The application's bytes.
    pub fn data(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES + self.lock_count() * 8..]
    }

    /// Where the data starts in the record, in bytes.
    pub fn data_offset(&self) -> usize {
        HEADER_BYTES + self.lock_count() * 8
    }

    /// How many locks it names, all kinds together.
    pub fn lock_count(&self) -> usize {
        usize::from(self.writes) + usize::from(self.reads) + usize::from(self.appends)
    }
}

/// What a client asks to append.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NewRecord<'a> {
    /// The attempt.
    pub req_id: ReqId,
    /// The application's 32 bits.
    pub header: u32,
    /// The client's high-water mark when it computed the transaction.
    pub computed_at: Mark,
    /// Locks checked and changed.
    pub writes: &'a [LockId],
    /// Locks checked.
    pub reads: &'a [LockId],
    /// Locks changed.
    pub appends: &'a [LockId],
    /// The application's bytes.
    pub data: &'a [u8],
}

impl NewRecord<'_> {
    /// How long the record is, encoded, in bytes.
    pub fn encoded_bytes(&self) -> usize {
        let locks = self.writes.len() + self.reads.len() + self.appends.len();
        HEADER_BYTES + locks * 8 + self.data.len()
    }

    /// Appends the encoded record to `out`, with no id yet: the server assigns it.
    ///
    /// # Errors
    /// [`RecordError::TooLong`] or [`RecordError::Locks`] when it is over a limit; `out` is
    /// untouched then.
    pub fn encode(&self, limits: &Limits, out: &mut BytesMut) -> Result<(), RecordError> {
        let length = self.encoded_bytes();
        if length > limits.record as usize {
            return Err(RecordError::TooLong { length, limit: limits.record });
        }
        let locks = self.writes.len() + self.reads.len() + self.appends.len();
        let limit = limits.locks.min(u32::from(u16::MAX));
        if locks > limit as usize {
            return Err(RecordError::Locks { locks, limit });
        }
        let start = out.len();
        out.reserve(length);
        out.put_u32_le(length as u32);
        out.put_u32_le(0);
        out.put_u64_le(0);
        out.put_u64_le(self.req_id.client.0);
        out.put_u64_le(self.req_id.generation.0);
        out.put_u32_le(self.req_id.partition.0);
        out.put_u32_le(self.header);
        out.put_u64_le(self.req_id.sequence);
        out.put_u64_le(self.computed_at.count());
        out.put_u16_le(self.writes.len() as u16);
        out.put_u16_le(self.reads.len() as u16);
        out.put_u16_le(self.appends.len() as u16);
        out.put_u16_le(VERSION);
        for lock in self.writes.iter().chain(self.reads).chain(self.appends) {
            out.put_u64_le(lock.0);
        }
        out.put_slice(self.data);
        seal(&mut out[start..]);
        Ok(())
    }
}

/// Copies a verified record to the end of a run and gives it its id.
pub fn append_with_id(record: &RecordView<'_>, id: TransactionId, run: &mut BytesMut) {
    let start = run.len();
    run.put_slice(record.bytes);
    run[start + 8..start + 16].copy_from_slice(&id.0.to_le_bytes());
    seal(&mut run[start..]);
}

/// Copies a verified record to the end of a run, but not its data.
fn append_without_data(record: &RecordView<'_>, run: &mut BytesMut) {
    let (start, length) = (run.len(), record.data_offset());
    run.put_slice(&record.bytes[..length]);
    run[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
    seal(&mut run[start..]);
}

fn seal(record: &mut [u8]) {
    let checksum = crc32c::crc32c(&record[8..]);
    record[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// Records of consecutive ids that one session sequenced, end to end in one buffer.
///
/// Sharing a run shares its buffer: journal, peers and feeds hold the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Run {
    /// The session that sequenced them.
    pub session: SessionId,
    /// The first record's id.
    pub first: TransactionId,
    /// How many records; at least one.
    pub count: u32,
    /// The records, end to end.
    pub bytes: Bytes,
}

impl Run {
    /// Verifies that `bytes` are exactly `count` sound records from `first` on.
    ///
    /// # Errors
    /// What is wrong with the first bad record, or that there are more or fewer than said.
    pub fn verify(
        session: SessionId,
        first: TransactionId,
        count: u32,
        bytes: Bytes,
        limits: &Limits,
    ) -> Result<Self, RecordError> {
        let (mut rest, mut held) = (&bytes[..], 0);
        while !rest.is_empty() {
            let (record, after) = RecordView::parse(rest, limits)?;
            let expected = TransactionId(first.0.wrapping_add(u64::from(held)));
            if record.id() != expected {
                return Err(RecordError::Order { found: record.id(), expected });
            }
            held += 1;
            rest = after;
        }
        if held != count || count == 0 {
            return Err(RecordError::Count { said: count, held });
        }
        Ok(Self { session, first, count, bytes })
    }

    /// The mark that the run reaches.
    pub fn last(&self) -> Mark {
        Mark::before(TransactionId(self.first.0 + u64::from(self.count)))
    }

    /// Its records, in order. The bytes were verified when the run was made.
    pub fn records(&self) -> Records<'_> {
        Records { rest: &self.bytes }
    }

    /// The part of the run from `from` on and up to `to`; `None` when nothing of it is.
    pub fn slice(&self, from: TransactionId, to: Mark) -> Option<Self> {
        let (first, last) = (self.first.max(from), self.last().min(to));
        if last.next() <= first {
            return None;
        }
        if first == self.first && last == self.last() {
            return Some(self.clone());
        }
        let offset_of = |id: TransactionId| {
            let mut offset = 0;
            for _ in self.first.0..id.0 {
                offset += u32_at(&self.bytes, offset) as usize;
            }
            offset
        };
        let bytes = self.bytes.slice(offset_of(first)..offset_of(last.next()));
        let count = (last.next().0 - first.0) as u32;
        Some(Self { session: self.session, first, count, bytes })
    }

    /// As many of its first records as fit in `max_bytes`, but at least one.
    pub fn prefix(&self, max_bytes: usize) -> Self {
        if self.bytes.len() <= max_bytes {
            return self.clone();
        }
        let (mut length, mut count) = (0, 0);
        for record in self.records() {
            if count > 0 && length + record.bytes.len() > max_bytes {
                break;
            }
            length += record.bytes.len();
            count += 1;
        }
        Self { session: self.session, first: self.first, count, bytes: self.bytes.slice(..length) }
    }

    /// The same records with empty data: sound in themselves, with their own lengths and checksums.
    pub fn without_data(&self) -> Self {
        let length = self.records().map(|record| record.data_offset()).sum();
        if length == self.bytes.len() {
            return self.clone();
        }
        let mut bytes = BytesMut::with_capacity(length);
        for record in self.records() {
            append_without_data(&record, &mut bytes);
        }
        Self { session: self.session, first: self.first, count: self.count, bytes: bytes.freeze() }
    }
}

/// Iterates over verified records.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordView<'a>;

    fn next(&mut self) -> Option<RecordView<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (bytes, rest) = self.rest.split_at(u32_at(self.rest, 0) as usize);
        self.rest = rest;
        Some(RecordView {
            bytes,
            writes: u16_at(bytes, 56),
            reads: u16_at(bytes, 58),
            appends: u16_at(bytes, 60),
        })
    }
}
