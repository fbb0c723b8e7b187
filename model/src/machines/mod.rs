//! The machines under check, and their disks. Nothing else here knows how `waltz-core` is driven.
//!
//! A record is known by its id and the session that numbered it: a session numbers each id once.
//! Its bytes follow from the two, so that no state has to carry what a disk holds, and whatever a
//! replica writes is compared with what its session must have meant.

mod node;
mod session;

use bytes::{Bytes, BytesMut};
use waltz_core::id::{
    ClientId, CreationId, Epoch, Generation, Mark, Member, NodeId, PartitionId, ReplicaSet, ReqId,
    SessionId, StorageId, TransactionId,
};
use waltz_core::io::{Caller, ConnectionId};
use waltz_core::limits::Limits;
use waltz_core::record::{NewRecord, RecordView, append_with_id};
use waltz_core::transcript::{answer_text, request_text, short};
use waltz_core::wire::{ReplicaAnswer, ToReplica};

pub(crate) use node::{Node, NodeOperation, NodeStep};
pub(crate) use session::{Said, Session, SessionOperation};

/// How many nodes there are, each with a replica.
pub(crate) const NODES: usize = 3;

const PARTITION: PartitionId = PartitionId(1);
const CREATION: CreationId = CreationId(1);

fn member(node: NodeId) -> Member {
    Member { node, storage: StorageId(u64::from(node.0)) }
}

fn replica_set() -> ReplicaSet {
    ReplicaSet((1..=NODES as u32).map(|node| member(NodeId(node))).collect())
}

/// How many replicas make a quorum, whatever a planted bug makes sessions believe.
pub(crate) fn quorum() -> usize {
    replica_set().quorum()
}

/// Names a connection to a node.
pub(crate) fn caller(number: u64) -> Caller {
    Caller::Peer(ConnectionId::accepted(number))
}

/// The run that a session numbered, as every disk must hold it.
fn records(session: SessionId, first: TransactionId, count: u32) -> Bytes {
    let mut bytes = BytesMut::new();
    for id in first.0..first.0 + u64::from(count) {
        let record = record(session, TransactionId(id));
        let (view, _) = RecordView::parse(&record, &Limits::default()).expect("just encoded");
        append_with_id(&view, TransactionId(id), &mut bytes);
    }
    bytes.freeze()
}

fn record(session: SessionId, id: TransactionId) -> BytesMut {
    let req_id = ReqId {
        client: ClientId(session.epoch.0),
        generation: Generation(session.epoch.0),
        partition: PARTITION,
        sequence: id.0,
    };
    let (writes, reads, appends, data): (&[_], &[_], &[_], &[u8]) = (&[], &[], &[], &[]);
    let new =
        NewRecord { req_id, header: 0, computed_at: Mark::NONE, writes, reads, appends, data };
    let mut encoded = BytesMut::new();
    new.encode(&Limits::default(), &mut encoded).expect("within the limits");
    encoded
}

/// Session of an epoch; servers take turns.
fn session_id(epoch: u64) -> SessionId {
    let server = NodeId((epoch as u32 - 1) % NODES as u32 + 1);
    SessionId { epoch: Epoch(epoch), server, nonce: epoch }
}

/// A request on its way to a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    message: ToReplica,
    payload: Bytes,
}

impl Request {
    pub(crate) fn text(&self) -> String {
        request_text(&self.message.request)
    }

    /// The name of the session that asks.
    pub(crate) fn session(&self) -> String {
        short(&self.message.session)
    }
}

/// An answer on its way to a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Answer {
    answer: ReplicaAnswer,
    payload: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        answer_text(&self.answer)
    }

    pub(crate) fn is_copied(&self) -> bool {
        matches!(self.answer, ReplicaAnswer::Copied { .. })
    }
}
