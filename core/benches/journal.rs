//! What the journal costs besides the disk: encoding batches, and the recovery scan.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use waltz_core::id::{
    ClusterKey, Epoch, Incarnation, Mark, NodeId, PartitionId, SessionId, StorageId, TransactionId,
};
use waltz_core::journal::{
    Batch, DEFAULT_SEGMENT_BYTES, Entry, EntryHead, HeaderVersion, Layout, SegmentHeader,
    SegmentScan, SegmentWriter,
};

const ENTRIES: u64 = 64;

fn header() -> SegmentHeader {
    SegmentHeader {
        version: HeaderVersion::default(),
        layout: Layout::new(DEFAULT_SEGMENT_BYTES).expect("a valid size"),
        cluster: ClusterKey(1),
        node: NodeId(1),
        storage: StorageId(1),
        segment: 1,
        incarnation: Incarnation(1),
        nonce: 1,
        first_batch: 1,
        first_segment: 1,
        previous: None,
        replay_from: None,
    }
}

fn entries(body_bytes: usize) -> Vec<Entry> {
    let session = SessionId { epoch: Epoch(1), server: NodeId(1), nonce: 1 };
    let body = Bytes::from(vec![7; body_bytes]);
    let entry = |n| Entry {
        head: EntryHead::Records {
            partition: PartitionId(n as u32 % 4),
            session,
            first: TransactionId(n),
            count: 1,
            low_water: Mark::before(TransactionId(n)),
        },
        body: body.clone(),
    };
    (0..ENTRIES).map(entry).collect()
}

fn batch(entries: &[Entry]) -> Batch {
    let mut batch = Batch::default();
    for entry in entries {
        batch.push(entry.clone(), header().layout).expect("it is short");
    }
    batch
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal/encode 64 entries");
    for (name, body_bytes) in [("100 B", 100), ("1 KiB", 1024)] {
        let entries = entries(body_bytes);
        let empty = SegmentWriter::new(&header());
        group.throughput(Throughput::Elements(ENTRIES));
        group.bench_function(name, |bencher| {
            bencher.iter(|| empty.clone().place(batch(black_box(&entries))).expect("it fits"));
        });
    }
    group.finish();
}

/// A full segment of such batches, and how many entries it has.
fn segment(body_bytes: usize) -> (Bytes, u64) {
    let mut segment = vec![0; DEFAULT_SEGMENT_BYTES as usize];
    let (entries, mut writer, mut count) = (entries(body_bytes), SegmentWriter::new(&header()), 0);
    while let Ok(encoded) = writer.place(batch(&entries)) {
        let bytes = encoded.slices.concat();
        segment[encoded.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        segment[encoded.seal_offset as usize..][..encoded.seal.len()]
            .copy_from_slice(&encoded.seal);
        count += ENTRIES;
    }
    (Bytes::from(segment), count)
}

fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal/scan a segment");
    group.sample_size(20);
    for (name, body_bytes) in [("100 B", 100), ("1 KiB", 1024)] {
        let (bytes, count) = segment(body_bytes);
        group.throughput(Throughput::Elements(count));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut scan = SegmentScan::new(header(), bytes.clone(), None);
                let mut found = 0;
                while let Some(batch) = scan.next_batch().expect("every entry is known") {
                    found += batch.entries.len() as u64;
                }
                assert_eq!(found, count);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encode, scan);
criterion_main!(benches);
