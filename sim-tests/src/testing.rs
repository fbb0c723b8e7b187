//! What unit tests share: records as a log has them.

use bytes::{Bytes, BytesMut};
use waltz_core::id::{
    ClientId, Epoch, Generation, Mark, NodeId, PartitionId, ReqId, SessionId, TransactionId,
};
use waltz_core::limits::Limits;
use waltz_core::record::{NewRecord, RecordView, append_with_id};

pub(crate) const P0: PartitionId = PartitionId(0);

/// The session that wrote everything.
pub(crate) const SESSION: SessionId = SessionId { epoch: Epoch(1), server: NodeId(1), nonce: 1 };

/// One stored record without locks: its client's sequence number, its id and its data.
pub(crate) fn record(sequence: u64, id: u64, data: &[u8]) -> Bytes {
    let req_id = ReqId { client: ClientId(1), generation: Generation(1), partition: P0, sequence };
    let record = NewRecord {
        req_id,
        header: 0,
        computed_at: Mark::NONE,
        writes: &[],
        reads: &[],
        appends: &[],
        data,
    };
    let (mut draft, mut bytes) = (BytesMut::new(), BytesMut::new());
    record.encode(&Limits::default(), &mut draft).expect("it is small");
    let view = RecordView::parse(&draft, &Limits::default()).expect("it is sound").0;
    append_with_id(&view, TransactionId(id), &mut bytes);
    bytes.freeze()
}
