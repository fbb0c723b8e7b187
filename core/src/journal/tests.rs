//! The format, pinned byte by byte, and read back from bytes that nobody meant to write.

use bytes::Bytes;
use proptest::prelude::*;

use crate::id::{
    ClusterKey, Epoch, Incarnation, Mark, NodeId, PartitionId, SessionId, SetVersion, StorageId,
};
use crate::id::{CreationId, ReplicaSet, TransactionId};
use crate::log::SetChange;
use crate::planted::Planted;

use super::batch::BatchHeader;
use super::decode::Contents;
use super::*;

const SEGMENT_BYTES: u32 = 64 << 10;

fn header() -> SegmentHeader {
    SegmentHeader {
        version: HeaderVersion::default(),
        layout: Layout::new(SEGMENT_BYTES).expect("a valid size"),
        cluster: ClusterKey(0x1122_3344_5566_7788),
        node: NodeId(3),
        storage: StorageId(0x0102_0304_0506_0708),
        segment: 2,
        incarnation: Incarnation(5),
        nonce: 0xa0a1_a2a3_a4a5_a6a7,
        first_batch: 9,
        first_segment: 1,
        previous: Some(Previous {
            segment: 1,
            end: SegmentEnd { offset: 0x8000, chain: 0xdead_beef, next_batch: 9 },
        }),
        replay_from: None,
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
    let set = SetChange::initial(SetVersion::FIRST, ReplicaSet(Vec::new()));
    let head = EntryHead::Create { partition: PartitionId(1), creation: CreationId(7), set };
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
    write(&mut segment, &header(), batches);
    segment
}

/// Writes a segment over what is there.
fn write(segment: &mut [u8], header: &SegmentHeader, batches: Vec<Batch>) {
    let mut put = |offset: usize, bytes: &[u8]| {
        segment[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(0, &header.encode());
    put(header.layout.copy_offset() as usize, &header.encode());
    let mut writer = SegmentWriter::new(header);
    for batch in batches {
        let encoded = writer.place(batch).expect("it fits");
        put(encoded.offset as usize, &encoded.slices.concat());
        put(encoded.seal_offset as usize, &encoded.seal);
    }
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

/// What a segment of that version holds after these two batches.
fn pinned(version: HeaderVersion) -> (SegmentHeader, Vec<u8>) {
    let replay_from = (version == HeaderVersion::Three).then_some(0x0201);
    let header = SegmentHeader { version, replay_from, ..header() };
    let batches = vec![batch([create(), records(0, b"first")]), batch([records(1, b"second")])];
    let mut segment = vec![0; SEGMENT_BYTES as usize];
    write(&mut segment, &header, batches);
    (header, segment)
}

/// Changing any of this changes the format: journals written before can't be read any more, so
/// the version in the segment's header has to change too.
#[test]
fn the_format_is_what_it_was() {
    assert_eq!(dump(&pinned(HeaderVersion::Two).1), include_str!("golden/version-2.txt"));
    assert_eq!(dump(&pinned(HeaderVersion::Three).1), include_str!("golden/version-3.txt"));
}

#[test]
fn a_segment_is_read_by_the_version_of_its_header() {
    for version in [HeaderVersion::Two, HeaderVersion::Three] {
        let (header, segment) = pinned(version);
        let read = SegmentHeader::decode(&segment).expect("it is sound");
        assert_eq!(read, header);
        let mut scan = SegmentScan::new(read, segment.into(), None);
        let mut entries = 0;
        while let Some(batch) = scan.next_batch().expect("every entry is known") {
            entries += batch.entries.len();
        }
        assert_eq!((entries, scan.torn(), scan.suspect()), (3, None, None));
    }
}

/// An entry as it was found.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    head: EntryHead,
    place: Option<Place>,
    body: Vec<u8>,
    is_damaged: bool,
}

impl From<FoundEntry<'_>> for Found {
    fn from(entry: FoundEntry<'_>) -> Self {
        let FoundEntry { head, place, body, is_damaged } = entry;
        Self { head, place, body: body.to_vec(), is_damaged }
    }
}

/// All batches of a segment, and the scan at its end.
fn scan(segment: &[u8], end: Option<SegmentEnd>) -> (Vec<Vec<Found>>, Vec<Damage>, SegmentScan) {
    let mut scan = SegmentScan::new(header(), Bytes::copy_from_slice(segment), end);
    let (mut batches, mut damaged) = (Vec::new(), Vec::new());
    while let Some(batch) = scan.next_batch().expect("all kinds of entries are known") {
        batches.push(batch.entries.into_iter().map(Found::from).collect());
        damaged.extend(batch.damage);
    }
    (batches, damaged, scan)
}

#[test]
fn batches_read_as_written() {
    let bytes =
        segment(vec![batch([create(), records(0, b"first")]), batch([records(1, b"last")])]);
    let (batches, damaged, scan) = scan(&bytes, None);
    let [first, second] = &batches[..] else { panic!("two batches") };
    assert_eq!((&first[0].head, first[0].place), (&create().head, None));
    let place = first[1].place.expect("records have a body");
    let body = place.offset as usize..(place.offset + place.length) as usize;
    assert_eq!(
        (place.segment, &bytes[body], &first[1].body[..]),
        (2, &b"first"[..], &b"first"[..])
    );
    assert_eq!((second.len(), &second[0].body[..]), (1, &b"last"[..]));
    assert_eq!((damaged.len(), scan.torn(), scan.suspect()), (0, None, None));
    assert_eq!(scan.end().next_batch, 11);
    let rewrite = scan.rewrite().expect("there is a last batch");
    for (offset, written) in
        [(rewrite.offset, &rewrite.batch), (rewrite.seal_offset, &rewrite.seal)]
    {
        assert_eq!(bytes[offset as usize..][..written.len()], written[..], "the same bytes again");
    }
}

#[test]
fn a_damaged_batch_is_told_by_its_seal_and_written_again_as_it_is() {
    let entries = || batch([create(), records(0, b"first"), records(1, b"second")]);
    let sound = segment(vec![entries(), entries()]);
    let (written, _, whole) = scan(&sound, None);
    let mut bytes = sound.clone();
    let place = written[1][2].place.expect("records have a body");
    bytes[place.offset as usize] ^= 1;
    let (found, damaged, scan) = scan(&bytes, None);
    assert_eq!((scan.end(), scan.suspect(), scan.torn()), (whole.end(), None, None));
    assert_eq!((&found[0], &found[1][..2]), (&written[0], &written[1][..2]));
    let expected = Found { body: Vec::new(), is_damaged: true, ..written[1][2].clone() };
    assert_eq!(found[1][2], expected);
    let [damage] = &damaged[..] else { panic!("one batch is damaged") };
    assert_eq!(damage.evidence, Evidence::Seal);
    assert_eq!(damage.lost, Lost::Bodies { damaged: 1, entries: 3 });
    let rewrite = scan.rewrite().expect("there is a last batch");
    for (offset, written) in
        [(rewrite.offset, &rewrite.batch), (rewrite.seal_offset, &rewrite.seal)]
    {
        assert_eq!(bytes[offset as usize..][..written.len()], written[..], "the same bytes again");
    }
}

#[test]
fn a_segment_that_ends_elsewhere_than_the_next_one_says_is_suspect() {
    let bytes = segment(vec![batch([create()]), batch([records(1, b"second")])]);
    let (_, _, whole) = scan(&bytes, None);
    let ends = [
        SegmentEnd { offset: whole.end().offset + 4096, ..whole.end() },
        SegmentEnd { offset: whole.end().offset - 4096, ..whole.end() },
        SegmentEnd { offset: 0, ..whole.end() },
        SegmentEnd { offset: u32::MAX, ..whole.end() },
        SegmentEnd { chain: !whole.end().chain, ..whole.end() },
        SegmentEnd { next_batch: 99, ..whole.end() },
        SegmentEnd { next_batch: 10, ..whole.end() },
    ];
    for end in ends {
        let (_, damaged, scan) = scan(&bytes, Some(end));
        let damage = scan.suspect().unwrap_or_else(|| panic!("{end:?} was accepted"));
        assert_eq!((damage.evidence, damage.lost), (Evidence::LaterSegment, Lost::Unknown));
        assert_eq!(damaged, []);
    }
}

/// A segment written over one of a former life, which had more batches.
fn recycled() -> Bytes {
    let batches = |count| (0..count).map(|n| batch([records(n, b"some")])).collect();
    let former = SegmentHeader { segment: 1, incarnation: Incarnation(4), ..header() };
    let mut segment = vec![0; SEGMENT_BYTES as usize];
    write(&mut segment, &former, batches(3));
    write(&mut segment, &header(), batches(1));
    Bytes::from(segment)
}

#[test]
fn batches_of_a_former_life_do_not_count() {
    let (batches, _, _) = scan(&recycled(), None);
    assert_eq!(batches.len(), 1);
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
    /// Whatever is done to a segment, the entries before it are found as they were, and none that
    /// was not written.
    #[test]
    fn overwritten_bytes_hide_bodies_or_make_suspect(
        at in 4096..SEGMENT_BYTES as usize,
        bytes in proptest::collection::vec(any::<u8>(), 1..6000),
    ) {
        let batches = (0..8).map(|n| batch([create(), records(n, &[3; 700])])).collect();
        let sound = segment(batches);
        let (written, damaged, _) = scan(&sound, None);
        prop_assert_eq!((written.len(), damaged.len()), (8, 0));
        let mut changed = sound.clone();
        let end = changed.len().min(at + bytes.len());
        changed[at..end].copy_from_slice(&bytes[..end - at]);
        let (found, damaged, scan) = scan(&changed, None);
        // A last batch without a trace of what it was counts as torn.
        let is_cut = scan.torn().is_some_and(|torn| torn.number == 16);
        prop_assert!(found.len() == 8 || scan.suspect().is_some() || is_cut);
        for (found, written) in found.iter().flatten().zip(written.iter().flatten()) {
            prop_assert_eq!(&found.head, &written.head);
            prop_assert_eq!(found.place, written.place);
            let touches = |place: Place| {
                (place.offset as usize) < end && (place.offset + place.length) as usize > at
            };
            prop_assert!(!found.is_damaged || found.place.is_some_and(touches));
            prop_assert!(found.is_damaged || found.body == written.body);
        }
        prop_assert!(damaged.len() <= 3);
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
        let limit = segment_header.layout.data().end;
        let contents = Contents::new(&segment_header, identity, &segment, Planted::NONE);
        let decoded = contents.batch(start, limit);
        prop_assert!(decoded.is_err_and(|fault| fault != BatchFault::Header));
    }
}
