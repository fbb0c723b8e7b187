//! Every stored record rots in turn, on one replica of three: what is read is right, and what was
//! damaged is whole again.

use bytes::Bytes;

use crate::explorer::sessions::{Cluster, Event};
use crate::id::{Mark, NodeId, TransactionId};
use crate::planted::Planted;
use crate::sequencer::SequencerOutput;
use crate::wire::ReplicaAnswer;

const RECORDS: u64 = 12;
const EPOCH: u64 = 1;
/// The session's own replica, which it reads from if it can.
const ROTTEN: NodeId = NodeId(2);

/// A session of three joined replicas, on the node that will rot.
fn cluster() -> (Cluster, Vec<NodeId>) {
    let mut cluster = Cluster::new(3, Planted::NONE);
    let nodes: Vec<_> = cluster.nodes.keys().copied().collect();
    cluster.open(EPOCH, ROTTEN);
    for node in &nodes {
        cluster.link(EPOCH, *node);
    }
    assert!(cluster.settle(&nodes));
    for count in [1, 2, 3, RECORDS - 6] {
        cluster.append(EPOCH, count);
        assert!(cluster.settle(&nodes));
    }
    (cluster, nodes)
}

/// A record as the session reads it, and whom it has it from.
fn read(cluster: &mut Cluster, nodes: &[NodeId], id: u64) -> (Bytes, NodeId) {
    let id = TransactionId(id);
    cluster.events.clear();
    cluster.read(EPOCH, 1, id, Mark::at(id));
    assert!(cluster.settle(nodes));
    let records = cluster.events.iter().find_map(|event| match event {
        Event::Said { output: SequencerOutput::Records { run, .. }, .. } => Some(run),
        _ => None,
    });
    let gave = cluster.events.iter().find_map(|event| match event {
        Event::Answer { node, answer: ReplicaAnswer::Records { .. }, .. } => Some(*node),
        _ => None,
    });
    let run = records.expect("the record is read");
    assert_eq!((run.first, run.count), (id, 1));
    (run.bytes.clone(), gave.expect("a replica gave it"))
}

#[test]
fn every_read_is_right_and_every_record_repaired_whichever_bit_flips() {
    let (mut cluster, nodes) = cluster();
    for id in 0..RECORDS {
        let (stored, _) = read(&mut cluster, &nodes, id);
        for byte in 0..stored.len() {
            let bit = byte * 8 + byte % 8;
            cluster.nodes.get_mut(&ROTTEN).expect("it is one of three").flip(id, bit);
            let (found, _) = read(&mut cluster, &nodes, id);
            assert_eq!(found, stored, "record {id}, bit {bit}");
            let replica = cluster.nodes[&ROTTEN].replica().expect("it has joined");
            assert!(replica.is_whole(), "record {id}, bit {bit} is not repaired");
            let again = read(&mut cluster, &nodes, id);
            assert_eq!(again, (stored.clone(), ROTTEN), "record {id}, bit {bit}");
        }
    }
}
