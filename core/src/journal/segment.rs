//! The first block of a segment: whose it is, and where the segment before it ends. The last block
//! is a copy of it.
//!
//! ```text
//!  0  magic        "WALTZSEG"                  little-endian throughout
//!  8  version      u32 (3)
//! 12  segment_bytes u32
//! 16  cluster      u64
//! 24  node         u32
//! 28  segment      u32  from 1
//! 32  storage      u64
//! 40  incarnation  u64
//! 48  nonce        u64  drawn at random by the opening
//! 56  first_batch  u64  the number of this segment's first batch in the incarnation
//! 64  previous     u32 segment (0: none), u32 end, u32 chain
//! 76  first_segment u32  the oldest one still needed
//! 80  previous     u64 next batch
//! 88  replay_from  u32  where a fold may begin; 0: at the oldest segment only
//! 92  checksum     u32  CRC32C of everything before
//! ```
//!
//! Version 2 has no `replay_from`: its checksum is at 88. It is read, and never written.
//!
//! The checksum starts every other checksum of the segment, so nothing that another segment,
//! incarnation or storage left on the disk can pass for part of this one. A header is durable
//! before its file gets a segment's name; a segment without a readable header is damaged.
//!
//! Segments before `first_segment` were released: they may be gone, and nobody misses them.
//!
//! In `replay_from` a checkpoint begins that was complete and read back when the header was written.
//! It is a hint: an opening that finds no sound checkpoint from there on begins at the oldest segment.

use bytes::{Buf, BufMut, Bytes};

use crate::id::{ClusterKey, Incarnation, NodeId, StorageId};

use super::header_error::HeaderError;
use super::layout::{BLOCK_BYTES, Layout};

const MAGIC: [u8; 8] = *b"WALTZSEG";
const CHECKSUM_BYTES: usize = 4;

/// How a header is encoded. Its checksum starts every other one of the segment, so that a segment
/// keeps the version it was begun with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderVersion {
    /// Without [`SegmentHeader::replay_from`]: read, not written.
    Two,
    /// The one that new segments get.
    #[default]
    Three,
}

impl HeaderVersion {
    fn decode(number: u32) -> Result<Self, HeaderError> {
        match number {
            2 => Ok(Self::Two),
            3 => Ok(Self::Three),
            other => Err(HeaderError::Version(other)),
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    /// How many bytes come before the checksum.
    fn checked_bytes(self) -> usize {
        match self {
            Self::Two => 88,
            Self::Three => 92,
        }
    }
}

/// Whose a segment is and how it follows the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// How it is encoded.
    pub version: HeaderVersion,
    /// How it is divided.
    pub layout: Layout,
    /// The cluster.
    pub cluster: ClusterKey,
    /// The node.
    pub node: NodeId,
    /// The journal.
    pub storage: StorageId,
    /// Its place among the journal's segments, from 1.
    pub segment: u32,
    /// The opening that wrote it.
    pub incarnation: Incarnation,
    /// Drawn at random by that opening.
    pub nonce: u64,
    /// The number of its first batch in the incarnation.
    pub first_batch: u64,
    /// The oldest segment that was still needed when this one began; those before were released.
    pub first_segment: u32,
    /// The segment that it follows, though that one may have been released.
    pub previous: Option<Previous>,
    /// The segment in which a checkpoint begins that a fold may begin with, if there is one.
    pub replay_from: Option<u32>,
}

/// The segment before, and how much of it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Previous {
    /// Which one.
    pub segment: u32,
    /// Where it ends. Whatever it holds beyond was cut, and nothing before may be missing.
    pub end: SegmentEnd,
}

/// The point after a segment's last batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentEnd {
    /// The first byte of the segment that no batch has.
    pub offset: u32,
    /// The checksum of the last entry.
    pub chain: u32,
    /// The number that the next batch of its incarnation would have.
    pub next_batch: u64,
}

impl SegmentHeader {
    /// The block as it is written.
    pub fn encode(&self) -> Bytes {
        let mut block = Vec::with_capacity(BLOCK_BYTES as usize);
        block.put_slice(&MAGIC);
        block.put_u32_le(self.version.number());
        block.put_u32_le(self.layout.segment_bytes());
        block.put_u64_le(self.cluster.0);
        block.put_u32_le(self.node.0);
        block.put_u32_le(self.segment);
        block.put_u64_le(self.storage.0);
        block.put_u64_le(self.incarnation.0);
        block.put_u64_le(self.nonce);
        block.put_u64_le(self.first_batch);
        let none = Previous { segment: 0, end: SegmentEnd { offset: 0, chain: 0, next_batch: 0 } };
        let previous = self.previous.unwrap_or(none);
        block.put_u32_le(previous.segment);
        block.put_u32_le(previous.end.offset);
        block.put_u32_le(previous.end.chain);
        block.put_u32_le(self.first_segment);
        block.put_u64_le(previous.end.next_batch);
        if self.version == HeaderVersion::Three {
            block.put_u32_le(self.replay_from.unwrap_or(0));
        }
        assert_eq!(
            block.len(),
            self.version.checked_bytes(),
            "the header has its documented length"
        );
        block.put_u32_le(crc32c::crc32c(&block));
        block.resize(BLOCK_BYTES as usize, 0);
        Bytes::from(block)
    }

    /// Reads a segment's first block, or the copy of it.
    ///
    /// # Errors
    /// When it is no header that this program understands, or is damaged.
    pub fn decode(block: &[u8]) -> Result<Self, HeaderError> {
        let longest = HeaderVersion::Three.checked_bytes() + CHECKSUM_BYTES;
        if block.len() < longest || block[..8] != MAGIC {
            return Err(HeaderError::Magic);
        }
        let mut input = &block[8..longest];
        let version = HeaderVersion::decode(input.get_u32_le())?;
        let segment_bytes = input.get_u32_le();
        let (cluster, node) = (ClusterKey(input.get_u64_le()), NodeId(input.get_u32_le()));
        let (segment, storage) = (input.get_u32_le(), StorageId(input.get_u64_le()));
        let incarnation = Incarnation(input.get_u64_le());
        let (nonce, first_batch) = (input.get_u64_le(), input.get_u64_le());
        let (before, offset, chain) = (input.get_u32_le(), input.get_u32_le(), input.get_u32_le());
        let (first_segment, next_batch) = (input.get_u32_le(), input.get_u64_le());
        let replay_from = match version {
            HeaderVersion::Two => None,
            HeaderVersion::Three => Some(input.get_u32_le()).filter(|&segment| segment != 0),
        };
        let computed = crc32c::crc32c(&block[..version.checked_bytes()]);
        let found = input.get_u32_le();
        if found != computed {
            return Err(HeaderError::Checksum { found, computed });
        }
        let layout = Layout::new(segment_bytes).ok_or(HeaderError::Layout(segment_bytes))?;
        let end = SegmentEnd { offset, chain, next_batch };
        let previous = (before != 0).then_some(Previous { segment: before, end });
        Ok(Self {
            version,
            layout,
            cluster,
            node,
            storage,
            segment,
            incarnation,
            nonce,
            first_batch,
            first_segment,
            previous,
            replay_from,
        })
    }

    /// Checks that the segment belongs where it was found; `storage` is `None` for the one that
    /// tells it.
    ///
    /// # Errors
    /// [`HeaderError::Foreign`], with what differs.
    pub fn check(
        &self,
        cluster: ClusterKey,
        node: NodeId,
        storage: Option<StorageId>,
        segment: u32,
    ) -> Result<(), HeaderError> {
        let storage = storage.unwrap_or(self.storage);
        let compared = [
            ("cluster", self.cluster.to_string(), cluster.to_string()),
            ("node", self.node.to_string(), node.to_string()),
            ("storage", self.storage.to_string(), storage.to_string()),
            ("segment", self.segment.to_string(), segment.to_string()),
        ];
        if let Some((what, found, expected)) =
            compared.into_iter().find(|(_, found, expected)| found != expected)
        {
            return Err(HeaderError::Foreign { what, found, expected });
        }
        if self.first_segment > segment {
            let (found, expected) = (self.first_segment.to_string(), format!("at most {segment}"));
            return Err(HeaderError::Foreign { what: "first segment", found, expected });
        }
        Ok(())
    }

    /// What the checksums of the segment's contents rest on.
    pub(super) fn identity(&self) -> Identity {
        let seed = crc32c::crc32c(&self.encode()[..self.version.checked_bytes()]);
        Identity { segment: self.segment, incarnation: self.incarnation, seed }
    }

    /// The point before the first batch.
    pub(super) fn start(&self) -> SegmentEnd {
        let chain = self.identity().seed;
        SegmentEnd { offset: self.layout.data().start, chain, next_batch: self.first_batch }
    }
}

/// Names one segment of one incarnation in everything written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// The segment.
    pub(super) segment: u32,
    /// The incarnation.
    pub(super) incarnation: Incarnation,
    /// The header's checksum, from which all others start.
    pub(super) seed: u32,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn header() -> SegmentHeader {
        SegmentHeader {
            version: HeaderVersion::Three,
            layout: Layout::new(64 << 10).expect("valid"),
            cluster: ClusterKey(1),
            node: NodeId(2),
            storage: StorageId(3),
            segment: 4,
            incarnation: Incarnation(5),
            nonce: 6,
            first_batch: 7,
            first_segment: 3,
            previous: Some(Previous {
                segment: 3,
                end: SegmentEnd { offset: 8 << 12, chain: 9, next_batch: 10 },
            }),
            replay_from: Some(4),
        }
    }

    #[test]
    fn a_header_reads_as_written() {
        for previous in [header().previous, None] {
            for replay_from in [header().replay_from, None] {
                let header = SegmentHeader { previous, replay_from, ..header() };
                assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
            }
        }
    }

    #[test]
    fn a_header_of_version_2_is_read_as_it_was_written() {
        let header = SegmentHeader { version: HeaderVersion::Two, replay_from: None, ..header() };
        let block = header.encode();
        assert_eq!((block[8], &block[92..96]), (2, &[0; 4][..]), "the checksum ends at 92");
        assert_eq!(SegmentHeader::decode(&block), Ok(header));
        assert_ne!(header.identity().seed, self::header().identity().seed);
    }

    #[test]
    fn no_damaged_header_is_read() {
        let block = header().encode();
        for at in 0..HeaderVersion::Three.checked_bytes() + CHECKSUM_BYTES {
            for flipped in [0x10, 0x01] {
                let mut damaged = block.to_vec();
                damaged[at] ^= flipped;
                assert!(SegmentHeader::decode(&damaged).is_err(), "byte {at}");
            }
        }
        assert_eq!(SegmentHeader::decode(&[0; 4096]), Err(HeaderError::Magic));
        assert_eq!(SegmentHeader::decode(&block[..50]), Err(HeaderError::Magic));
    }

    #[test]
    fn a_foreign_segment_is_named() {
        let check = |cluster, node, storage, segment| {
            let storage = Some(StorageId(storage));
            match header().check(ClusterKey(cluster), NodeId(node), storage, segment) {
                Ok(()) => "",
                Err(HeaderError::Foreign { what, .. }) => what,
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(check(1, 2, 3, 4), "");
        assert_eq!(check(0, 2, 3, 4), "cluster");
        assert_eq!(check(1, 0, 3, 4), "node");
        assert_eq!(check(1, 2, 0, 4), "storage");
        assert_eq!(check(1, 2, 3, 0), "segment");
    }
}
