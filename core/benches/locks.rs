//! The lock table with a full window: what one append pays for its locks.

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use waltz_core::id::{ClientId, Generation, Mark, PartitionId, ReqId, TransactionId};
use waltz_core::limits::Limits;
use waltz_core::lock::LockId;
use waltz_core::locks::{LockTable, LockWindow};
use waltz_core::record::{NewRecord, RecordView};
use waltz_core::time::Random;

const WRITES: usize = 2;
const KINDS_OF_RECORDS: usize = 1 << 14;

fn encoded(random: &mut Random, locks: u64) -> BytesMut {
    let writes = [0; WRITES].map(|_| LockId::new("account", random.bits() % locks));
    let record = NewRecord {
        req_id: ReqId {
            client: ClientId(1),
            generation: Generation(1),
            partition: PartitionId(0),
            sequence: 0,
        },
        header: 0,
        computed_at: Mark::before(TransactionId(u64::MAX - 1)),
        writes: &writes,
        reads: &[],
        appends: &[],
        data: &[],
    };
    let mut bytes = BytesMut::new();
    record.encode(&Limits::default(), &mut bytes).expect("within the limits");
    bytes
}

fn check_and_note(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("locks/check_and_note");
    group.throughput(Throughput::Elements(1));
    for (name, locks) in [("16 locks", 16), ("a million locks", 1_000_000)] {
        let mut random = Random::new(1);
        let buffers: Vec<_> = (0..KINDS_OF_RECORDS).map(|_| encoded(&mut random, locks)).collect();
        let records: Vec<_> = buffers
            .iter()
            .map(|bytes| RecordView::parse(bytes, &Limits::default()).expect("just encoded").0)
            .collect();
        let mut table = LockTable::new(LockWindow::default(), Mark::NONE);
        let mut id = TransactionId::FIRST;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let record = &records[id.0 as usize % KINDS_OF_RECORDS];
                black_box(table.check(record)).expect("computed at the end of the log");
                table.note(id, record);
                id = id.next();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, check_and_note);
criterion_main!(benches);
