//! Records and pieces for tests.

use bytes::{Bytes, BytesMut};
use waltz_core::id::{ClientId, CreationId, Generation, Mark, PartitionId, ReqId, TransactionId};
use waltz_core::limits::Limits;
use waltz_core::lock::LockId;
use waltz_core::record::{NewRecord, RecordView, append_with_id};

use crate::piece::{LogName, Piece, PieceWriter};

pub(crate) const LOG: LogName = LogName { partition: PartitionId(3), creation: CreationId(0xc5) };

pub(crate) fn record(id: u64) -> Bytes {
    let (client, generation, partition) = (ClientId(1), Generation(1), LOG.partition);
    let new = NewRecord {
        req_id: ReqId { client, generation, partition, sequence: id },
        header: 5,
        computed_at: Mark::NONE,
        writes: &[LockId::new("account", id)],
        reads: &[],
        appends: &[],
        data: b"ten euros",
    };
    let (mut encoded, mut out) = (BytesMut::new(), BytesMut::new());
    new.encode(&Limits::default(), &mut encoded).unwrap();
    let (view, _) = RecordView::parse(&encoded, &Limits::default()).unwrap();
    append_with_id(&view, TransactionId(id), &mut out);
    out.freeze()
}

pub(crate) fn piece(ids: std::ops::Range<u64>) -> (Piece, Bytes) {
    let mut writer = PieceWriter::new(LOG, TransactionId(ids.start));
    ids.for_each(|id| writer.push(&record(id)));
    writer.end().unwrap()
}
