//! What bytes cost on their way in and out: frames, messages and records.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use waltz_core::id::{
    ClientId, CreationId, Epoch, Generation, Mark, NodeId, PartitionId, ReqId, SessionId,
    TransactionId,
};
use waltz_core::limits::Limits;
use waltz_core::lock::LockId;
use waltz_core::record::{NewRecord, RecordView, Run, append_with_id};
use waltz_core::wire::{Frame, Message, ReplicaRequest, ToReplica, split_frame};

const SIZES: [(&str, usize); 2] = [("100 B", 100), ("1 KiB", 1024)];
const RECORDS: u64 = 64;
const SESSION: SessionId = SessionId { epoch: Epoch(3), server: NodeId(1), nonce: 0x5e52_f207 };

fn record(data: &[u8], out: &mut BytesMut) {
    let record = NewRecord {
        req_id: ReqId {
            client: ClientId(7),
            generation: Generation(1),
            partition: PartitionId(0),
            sequence: 12,
        },
        header: 0,
        computed_at: Mark::NONE,
        writes: &[LockId::new("account", 1), LockId::new("account", 2)],
        reads: &[],
        appends: &[],
        data,
    };
    record.encode(&Limits::default(), out).expect("within the limits");
}

fn run(data_bytes: usize) -> Run {
    let (mut encoded, mut run) = (BytesMut::new(), BytesMut::new());
    record(&vec![7; data_bytes], &mut encoded);
    let (view, _) = RecordView::parse(&encoded, &Limits::default()).expect("just encoded");
    for id in 0..RECORDS {
        append_with_id(&view, TransactionId(id), &mut run);
    }
    let (first, count) = (TransactionId::FIRST, RECORDS as u32);
    Run::verify(SESSION, first, count, run.freeze(), &Limits::default()).expect("just made")
}

/// An append to a replica, as most frames between nodes are.
fn frame(payload: Bytes) -> Frame {
    let request = ReplicaRequest::Append {
        first: TransactionId(1_000_000),
        count: RECORDS as u32,
        committed: Mark::before(TransactionId(999_900)),
    };
    let (partition, creation) = (PartitionId(0), CreationId(0x0123_4567_89ab_cdef));
    let request = ToReplica { partition, creation, session: SESSION, request };
    Message::ToReplica(request).with(payload)
}

fn encode_records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec/encode a record");
    group.throughput(Throughput::Elements(1));
    for (name, data_bytes) in SIZES {
        let (data, mut out) = (vec![7; data_bytes], BytesMut::new());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                record(black_box(&data), &mut out);
            });
        });
    }
    group.finish();
}

fn verify_runs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec/verify a run of 64");
    group.throughput(Throughput::Elements(RECORDS));
    for (name, data_bytes) in SIZES {
        let Run { session, first, count, bytes } = run(data_bytes);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                Run::verify(session, first, count, bytes.clone(), &Limits::default())
                    .expect("it is sound")
            });
        });
    }
    group.finish();
}

fn encode_messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec/encode a message");
    group.throughput(Throughput::Elements(1));
    let payload = run(100).bytes;
    group.bench_function("an append to a replica", |bencher| {
        bencher.iter(|| frame(black_box(&payload).clone()).header());
    });
    group.finish();
}

fn split_frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec/split 64 frames and decode");
    group.throughput(Throughput::Elements(RECORDS));
    for (name, data_bytes) in SIZES {
        let (mut payload, mut wire) = (BytesMut::new(), BytesMut::new());
        record(&vec![7; data_bytes], &mut payload);
        let frame = frame(payload.freeze());
        (0..RECORDS).for_each(|_| frame.encode(&mut wire));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut buffer = wire.clone();
                let mut frames = 0;
                while let Some(frame) = split_frame(&mut buffer, &Limits::default()).expect("sound")
                {
                    black_box(Message::decode(&frame.head).expect("sound"));
                    frames += 1;
                }
                assert_eq!(frames, RECORDS);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encode_records, verify_runs, encode_messages, split_frames);
criterion_main!(benches);
