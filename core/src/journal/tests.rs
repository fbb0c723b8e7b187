//! The format, pinned byte by byte, and read back from bytes that nobody meant to write.

use bytes::Bytes;
use proptest::prelude::*;

use crate::id::{ClusterKey, Epoch, Incarnation, Mark, NodeId, PartitionId, SessionId, StorageId};
use crate::id::{CreationId, ReplicaSet, TransactionId};

use super::batch::BatchHeader;
use super::decode::decode_batch;
use super::*;

const SEGMENT_BYTES: u32 = 64 << 10;

fn header() -> SegmentHeader {
    SegmentHeader {
        layout: Layout::new(SEGMENT_BYTES).expect("a valid size"),
        cluster: ClusterKey(0x1122_3344_5566_7788),
        node: NodeId(3),
        storage: StorageId(0x0102_0304_0506_0708),
        segment: 2,
        incarnation: Incarnation(5),
        nonce: 0xa0a1_a2a3_a4a5_a6a7,
        first_batch: 9,
        previous: Some(Previous {
            segment: 1,
            end: SegmentEnd { offset: 0x8000, chain: 0xdead_beef, next_batch: 9 },
        }),
    }
}

fn records(first: u64, body: &'static [u8]) -> Entry {
    let session = SessionId { epoch: Epoch(4), server: NodeId(3), nonce: 6 };
    let head = EntryHead::Records {
        partition: PartitionId(1),
        session,
        first: TransactionId(first),
        count: 1,
        low_water: Mark::NONE,
    };
    Entry { head, body: Bytes::from_static(body) }
}

fn create() -> Entry {
    let replicas = ReplicaSet(Vec::new());
    let head = EntryHead::Create { partition: PartitionId(1), creation: CreationId(7), replicas };
    Entry { head, body: Bytes::new() }
}

fn batch(entries: impl IntoIterator<Item = Entry>) -> Batch {
    let mut batch = Batch::default();
    for entry in entries {
        batch.push(entry, header().layout).expect("it is short");
    }
    batch
}

/// A segment as it would be on the disk.
fn segment(batches: Vec<Batch>) -> Vec<u8> {
    let mut segment = vec![0; SEGMENT_BYTES as usize];
    let mut put = |offset: usize, bytes: &[u8]| {
        segment[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(0, &header().encode());
    let mut writer = SegmentWriter::new(&header());
    for batch in batches {
        let encoded = writer.place(batch).expect("it fits");
        put(encoded.offset as usize, &encoded.slices.concat());
        put(encoded.seal_offset as usize, &encoded.seal);
    }
    segment
}

/// Everything that is not zero, as offsets and hexadecimal bytes, 16 a line.
fn dump(bytes: &[u8]) -> String {
    let lines = bytes.chunks(16).enumerate().filter(|(_, line)| line.iter().any(|&b| b != 0));
    let line = |(index, line): (usize, &[u8])| {
        let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:05x} {hex}\n", index * 16)
    };
    lines.map(line).collect()
}

/// Changing any of this changes the format: journals written before can't be read any more, so
/// the version in the segment's header has to change too.
#[test]
fn the_format_is_what_it_was() {
    let batches = vec![batch([create(), records(0, b"first")]), batch([records(1, b"second")])];
    assert_eq!(dump(&segment(batches)), GOLDEN.trim_start());
}

const GOLDEN: &str = "
00000 57414c545a5345470100000000000100
00010 88776655443322110300000002000000
00020 08070605040302010500000000000000
00030 a7a6a5a4a3a2a1a00900000000000000
00040 0100000000800000efbeadde00000000
00050 090000000000000067efeda500000000
01000 57534541020000000500000000000000
01010 0a00000000000000004000005a000000
01020 9a13e2c1540000000100000000000000
01030 00000000000000000000000003bc0b84
01040 58c3addf010000000100000000000000
01050 01000000000000000000000000000000
02000 57534541020000000500000000000000
02010 09000000000000000030000069000000
02020 b375931e580000000100000001000000
02030 0000000000000000000000000f283adb
02040 c45ec5c3010000000000000000000000
02050 01000000000107000000000000000000
03000 57424154020000000500000000000000
03010 09000000000000000030000069000000
03020 02000000240000000020000058000000
03030 67efeda500000000000000006ad4c4ea
03040 04000000000000007230bc6f00010700
03050 0800000005000000b375931e04010403
03060 06000100666972737400000000000000
04000 57424154020000000500000000000000
04010 0a00000000000000004000005a000000
04020 01000000140000000010000054000000
04030 b375931e0000000000000000b76dbd6a
04040 08000000060000009a13e2c104010403
04050 060101007365636f6e64000000000000
";

#[test]
fn batches_read_as_written() {
    let batches = vec![batch([create(), records(0, b"first")]), batch([records(1, b"second")])];
    let bytes = Bytes::from(segment(batches));
    let mut scan = SegmentScan::new(header(), bytes.clone(), None);
    let mut next = || scan.next_batch().expect("nothing is damaged");
    let first = next().expect("two batches");
    assert_eq!((first.number, first.offset), (9, 12 << 10));
    assert_eq!(first.entries[0], (create().head, None));
    let place = first.entries[1].1.expect("records have a body");
    let body = place.offset as usize..(place.offset + place.length) as usize;
    assert_eq!((place.segment, &bytes[body]), (2, &b"first"[..]));
    assert_eq!(next().expect("two batches").number, 10);
    assert_eq!(next(), None);
    assert_eq!((scan.end().next_batch, scan.torn()), (11, None));
    let rewrite = scan.rewrite().expect("there is a last batch");
    for (offset, written) in
        [(rewrite.offset, &rewrite.batch), (rewrite.seal_offset, &rewrite.seal)]
    {
        assert_eq!(bytes[offset as usize..][..written.len()], written[..], "the same bytes again");
    }
}

#[test]
fn a_segment_that_ends_elsewhere_than_the_next_one_says_is_damaged() {
    let bytes = Bytes::from(segment(vec![batch([create()]), batch([records(1, b"second")])]));
    let mut whole = SegmentScan::new(header(), bytes.clone(), None);
    while whole.next_batch().expect("nothing is damaged").is_some() {}
    let ends = [
        SegmentEnd { offset: whole.end().offset + 4096, ..whole.end() },
        SegmentEnd { offset: 0, ..whole.end() },
        SegmentEnd { offset: u32::MAX, ..whole.end() },
        SegmentEnd { chain: !whole.end().chain, ..whole.end() },
        SegmentEnd { next_batch: 99, ..whole.end() },
    ];
    for end in ends {
        let mut scan = SegmentScan::new(header(), bytes.clone(), Some(end));
        let damage = loop {
            match scan.next_batch() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{end:?} was accepted"),
                Err(damage) => break damage,
            }
        };
        assert_eq!(damage.evidence, Evidence::LaterSegment);
    }
}

#[test]
fn a_batch_takes_no_more_than_one_sync_should() {
    let layout = header().layout;
    let mut batch = Batch::default();
    let entry = || records(7, &[1; 5000]);
    while batch.push(entry(), layout).is_ok() {}
    let (length, before) = (batch.bytes(), batch.clone());
    assert!((5000..=SEGMENT_BYTES as usize / 4).contains(&length));
    assert!(batch.push(entry(), layout).is_err());
    assert_eq!(batch, before, "what is not taken leaves nothing behind");
    assert!(Batch::default().push(records(0, &[1; 60_000]), layout).is_ok());
}

proptest! {
    /// Whatever is done to a segment, the batches before it are found as they were, and none
    /// that was not written.
    #[test]
    fn overwritten_bytes_give_a_prefix_or_damage(
        at in 4096..SEGMENT_BYTES as usize,
        bytes in proptest::collection::vec(any::<u8>(), 1..600),
    ) {
        let batches = (0..8).map(|n| batch([create(), records(n, &[3; 700])])).collect();
        let sound = segment(batches);
        let read = |segment: Vec<u8>| {
            let mut scan = SegmentScan::new(header(), Bytes::from(segment), None);
            let mut found = Vec::new();
            let outcome = loop {
                match scan.next_batch() {
                    Ok(Some(batch)) => found.push(batch),
                    Ok(None) => break Ok(()),
                    Err(damage) => break Err(damage),
                }
            };
            (found, outcome)
        };
        let (written, outcome) = read(sound.clone());
        prop_assert_eq!((written.len(), outcome), (8, Ok(())));
        let mut damaged = sound.clone();
        let end = damaged.len().min(at + bytes.len());
        damaged[at..end].copy_from_slice(&bytes[..end - at]);
        let (found, outcome) = read(damaged);
        prop_assert_eq!(&found[..], &written[..found.len()]);
        prop_assert!(found.len() == 8 || outcome.is_err());
    }

    /// Lengths that lie are refused, sound checksums or not.
    #[test]
    fn lying_lengths_are_refused(
        length in any::<u32>(),
        entries in prop_oneof![0..4_u32, any::<u32>()],
        table in prop_oneof![0..200_u32, any::<u32>()],
        seal_offset in any::<u32>(),
        seal_length in any::<u32>(),
        filling in any::<u8>(),
    ) {
        let (segment_header, mut segment) = (header(), segment(Vec::new()));
        let (identity, start) = (segment_header.identity(), segment_header.start());
        let header = BatchHeader {
            number: start.next_batch,
            offset: start.offset,
            length,
            entries,
            table,
            seal_offset,
            seal_length,
            previous: start.chain,
        };
        let at = start.offset as usize;
        segment[at..].fill(filling);
        header.encode(identity, &mut segment[at..at + 64]);
        let layout = segment_header.layout;
        let decoded = decode_batch(&segment, layout, identity, start, SEGMENT_BYTES);
        prop_assert!(decoded.is_err_and(|fault| fault != BatchFault::Header));
    }
}
