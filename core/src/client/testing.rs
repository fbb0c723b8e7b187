//! What tests and smaller simulations of the client share: a cluster of two nodes and one partition,
//! and records in it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Patience;
use crate::id::{
    ClientId, Epoch, Generation, Mark, NodeId, PartitionId, ReplicaSet, ReqId, SessionId,
    SetVersion, TransactionId,
};
use crate::io::Address;
use crate::limits::Limits;
use crate::record::{NewRecord, RecordView, append_with_id};
use crate::wire::{ClusterView, NodeView, PartitionView};

pub(crate) const ME: ClientId = ClientId(7);
pub(crate) const OTHER: ClientId = ClientId(8);
pub(crate) const P: PartitionId = PartitionId(0);

pub(crate) fn session(epoch: u64) -> SessionId {
    SessionId { epoch: Epoch(epoch), server: NodeId(1), nonce: epoch }
}

pub(crate) fn mark(count: u64) -> Mark {
    Mark::before(TransactionId(count))
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Partition 0 at this generation, served by this node; nodes 1 and 2 listen at `n1` and `n2`.
pub(crate) fn view(generation: u64, owner: u32) -> ClusterView {
    let node = |n: u32| NodeView {
        node: NodeId(n),
        address: Address(format!("n{n}")),
        live: true,
        storage: None,
    };
    ClusterView {
        partitions: vec![PartitionView {
            partition: P,
            generation: Generation(generation),
            owner: Some(NodeId(owner)),
            version: SetVersion::FIRST,
            replicas: ReplicaSet(Vec::new()),
        }],
        nodes: vec![node(1), node(2)],
    }
}

/// Records of consecutive ids, by whom and with which sequence.
pub(crate) fn records(first: u64, by: &[(ClientId, u64)]) -> Bytes {
    let mut run = BytesMut::new();
    for (id, (client, sequence)) in (first..).zip(by) {
        let record = NewRecord {
            req_id: ReqId {
                client: *client,
                generation: Generation(1),
                partition: P,
                sequence: *sequence,
            },
            header: 0,
            computed_at: Mark::NONE,
            writes: &[],
            reads: &[],
            appends: &[],
            data: b"x",
        };
        let mut new = BytesMut::new();
        record.encode(&Limits::default(), &mut new).expect("within the limits");
        let (record, _) = RecordView::parse(&new, &Limits::default()).expect("just encoded");
        append_with_id(&record, TransactionId(id), &mut run);
    }
    run.freeze()
}

pub(crate) fn patience(timeout: Option<u64>, retries: Option<u32>) -> Patience {
    Patience { timeout: timeout.map(seconds), retries }
}
