//! What tests and smaller simulations of this part share: runs of records.

use std::ops::Range;

use bytes::BytesMut;

use crate::id::{
    ClientId, Epoch, Generation, Mark, NodeId, PartitionId, ReqId, SessionId, TransactionId,
};
use crate::limits::Limits;
use crate::lock::LockId;
use crate::record::{NewRecord, RecordView, Run, append_with_id};

pub(crate) const SESSION: SessionId =
    SessionId { epoch: Epoch(3), server: NodeId(1), nonce: 0x1234 };

/// The records of these ids, with one lock and so many bytes of data each.
pub(crate) fn run_of(ids: Range<u64>, data_bytes: impl Fn(TransactionId) -> usize) -> Run {
    let mut bytes = BytesMut::new();
    for id in ids.clone().map(TransactionId) {
        let record = NewRecord {
            req_id: ReqId {
                client: ClientId(1),
                generation: Generation(1),
                partition: PartitionId(0),
                sequence: id.0,
            },
            header: id.0 as u32,
            computed_at: Mark::before(id),
            writes: &[],
            reads: &[],
            appends: &[],
            data: &vec![id.0 as u8; data_bytes(id)],
        };
        let locks = [LockId(id.0)];
        let record = if id.0 % 2 == 0 { record } else { NewRecord { writes: &locks, ..record } };
        let mut new = BytesMut::new();
        record.encode(&Limits::default(), &mut new).expect("within the limits");
        let (record, _) = RecordView::parse(&new, &Limits::default()).expect("just encoded");
        append_with_id(&record, id, &mut bytes);
    }
    let count = (ids.end - ids.start) as u32;
    Run { session: SESSION, first: TransactionId(ids.start), count, bytes: bytes.freeze() }
}
