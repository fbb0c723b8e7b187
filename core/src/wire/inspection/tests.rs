//! How much the largest clusters take.

use bytes::Bytes;

use super::*;
use crate::id::{Epoch, MAX_MEMBERS, TransactionId};
use crate::membership::{MAX_LOCALITY_NAME, MAX_PARTITIONS, MAX_REPLICAS};
use crate::wire::{
    ClusterView, Message, NodeStatus, NodeView, PartitionStatus, PartitionView, ReplicaStatus,
    ServerReply, Version,
};

const NODES: u32 = 128;
const MANY: u64 = 1 << 40;

fn replica(partition: PartitionId) -> ReplicaInspection {
    let session = SessionId { epoch: Epoch(MANY), server: NodeId(u32::MAX), nonce: u64::MAX };
    let member = Member { node: NodeId(u32::MAX), storage: StorageId(u64::MAX) };
    let mark = TransactionId(MANY).mark();
    ReplicaInspection {
        partition,
        creation: CreationId(u64::MAX),
        promise: Some(session),
        normal: Some(session),
        start: mark,
        last: mark,
        low_water: mark,
        version: SetVersion(MANY),
        members: ReplicaSet(vec![member; MAX_MEMBERS]),
        damaged: MANY,
    }
}

fn registration(node: NodeId) -> NodeRegistration {
    let name = "n".repeat(MAX_LOCALITY_NAME);
    let (region, zone, capacity) = (Some(name.clone()), Some(name.clone()), Some(u64::MAX));
    NodeRegistration {
        node,
        address: Some(Address(name)),
        live: true,
        server: true,
        storage: Some(StorageId(u64::MAX)),
        used: true,
        locality: Locality { region, zone, capacity },
        operations: Operations::default(),
        preferred: (0..MAX_PARTITIONS / 8).map(PartitionId).collect(),
    }
}

fn members() -> ReplicaSet {
    let member = Member { node: NodeId(u32::MAX), storage: StorageId(u64::MAX) };
    ReplicaSet(vec![member; MAX_REPLICAS as usize])
}

fn view() -> ClusterView {
    let partitions = (0..MAX_PARTITIONS).map(|partition| PartitionView {
        partition: PartitionId(partition),
        generation: Generation(MANY),
        owner: Some(NodeId(u32::MAX)),
        version: SetVersion(MANY),
        replicas: members(),
    });
    let nodes = (0..NODES).map(|node| NodeView {
        node: NodeId(node),
        address: Address("n".repeat(MAX_LOCALITY_NAME)),
        live: true,
        storage: Some(StorageId(u64::MAX)),
    });
    ClusterView { partitions: partitions.collect(), nodes: nodes.collect() }
}

fn status(partition: PartitionId) -> PartitionStatus {
    let mark = TransactionId(MANY).mark();
    let replica = ReplicaStatus {
        node: NodeId(u32::MAX),
        storage: Some(StorageId(u64::MAX)),
        counts: true,
        state: "unreachable".to_owned(),
        last: mark,
        low_water: mark,
        damaged: MANY,
        wiped: true,
    };
    PartitionStatus {
        partition,
        session: Some(SessionId { epoch: Epoch(MANY), server: NodeId(7), nonce: u64::MAX }),
        open: true,
        committed: mark,
        start: mark,
        version: SetVersion(MANY),
        members: members(),
        target: Some(members()),
        replicas: vec![replica; MAX_REPLICAS as usize],
        consumers: vec![("a consumer".to_owned(), mark)],
    }
}

/// It comes through as a message of the newest version, and through none that is older.
fn check_long(reply: ServerReply) {
    let message = Message::Server(reply);
    let frame = message.framed(Bytes::new(), Version::LONG).expect("it fits a frame");
    let head = Message::decode(&frame.head).expect("a head");
    assert_eq!(head.since(), Version::LONG);
    assert_eq!(head.open(frame.payload), Ok((message.clone(), Bytes::new())));
    assert!(message.framed(Bytes::new(), Version::SPACE).is_err(), "it fits no head");
}

#[test]
fn the_largest_cluster_fits_one_long_message() {
    let partitions = || (0..MAX_PARTITIONS).map(PartitionId);
    let inspection = NodeInspection {
        node: NodeId(u32::MAX),
        storage: Some(StorageId(u64::MAX)),
        suspect: false,
        coordinator: true,
        cluster: Some(Cluster { partitions: MAX_PARTITIONS, replicas: 7 }),
        controller: Some(NodeId(u32::MAX)),
        nodes: (0..NODES).map(NodeId).map(registration).collect(),
        regions: partitions().map(|one| (one, "r".repeat(MAX_LOCALITY_NAME))).collect(),
        generations: partitions().map(|one| (one, Generation(MANY))).collect(),
        replicas: partitions().map(replica).collect(),
    };
    check_long(ServerReply::Inspected { call: u64::MAX, inspection });
    check_long(ServerReply::Cluster(view()));
    let status = NodeStatus {
        node: NodeId(u32::MAX),
        cluster: view(),
        partitions: partitions().map(status).collect(),
        coordinator: true,
    };
    check_long(ServerReply::Status { call: u64::MAX, status });
}
