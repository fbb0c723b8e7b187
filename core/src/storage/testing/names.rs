//! The one partition of these tests: its replicas, its sessions, its records, and what they are
//! asked.

use bytes::{Bytes, BytesMut};

use crate::id::{
    ClientId, CreationId, Epoch, Generation, Mark, Member, NodeId, PartitionId, Position,
    ReplicaSet, ReqId, SessionId, SetVersion, StorageId, TransactionId,
};
use crate::io::{Caller, ConnectionId};
use crate::limits::Limits;
use crate::log::{LogSummary, SetChange};
use crate::record::{NewRecord, RecordView, append_with_id};
use crate::wire::ReplicaRequest;

pub(crate) const PARTITION: PartitionId = PartitionId(7);
pub(crate) const CREATION: CreationId = CreationId(42);

/// A node with its first disk.
pub(crate) fn member(n: u32) -> Member {
    Member { node: NodeId(n), storage: StorageId(u64::from(n) + 10) }
}

/// The request that opens a session in the partition's first replica set.
pub(crate) fn open() -> ReplicaRequest {
    let version = SetVersion::FIRST;
    ReplicaRequest::Open { version, replicas: replicas(), learner: None }
}

/// The log that a replica is created with.
pub(crate) fn empty_log() -> LogSummary {
    LogSummary::new(SetChange::initial(SetVersion::FIRST, replicas()))
}

/// A request to append so many records.
pub(crate) fn append(first: u64, count: u64, committed: Mark) -> ReplicaRequest {
    ReplicaRequest::Append { first: TransactionId(first), count: count as u32, committed }
}

/// In the first replica set.
pub(crate) fn position(last: Mark) -> Position {
    Position { last, version: SetVersion::FIRST }
}

pub(crate) fn session(epoch: u64) -> SessionId {
    SessionId { epoch: Epoch(epoch), server: NodeId(1), nonce: 5 }
}

pub(crate) fn replicas() -> ReplicaSet {
    ReplicaSet((1..=3).map(member).collect())
}

pub(crate) fn caller(n: u64) -> Caller {
    Caller::Peer(ConnectionId::accepted(n))
}

/// `count` records from `first` on; what they hold names the session.
pub(crate) fn run(epoch: u64, first: u64, count: u64) -> Bytes {
    let mut bytes = BytesMut::new();
    for id in first..first + count {
        let req_id = ReqId {
            client: ClientId(epoch),
            generation: Generation(1),
            partition: PARTITION,
            sequence: id,
        };
        let new = NewRecord {
            req_id,
            header: 0,
            computed_at: Mark::NONE,
            writes: &[],
            reads: &[],
            appends: &[],
            data: &vec![b'x'; (id % 7) as usize * 8],
        };
        let (limits, mut encoded) = (Limits::default(), BytesMut::new());
        new.encode(&limits, &mut encoded).unwrap();
        let (record, _) = RecordView::parse(&encoded, &limits).unwrap();
        append_with_id(&record, TransactionId(id), &mut bytes);
    }
    bytes.freeze()
}
