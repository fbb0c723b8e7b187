//! Edits by several agents, while connections and the coordinator come and go.

use std::time::Duration;

use super::network::{HOST, Network};
use super::three_nodes;
use crate::id::{Member, NodeId, PartitionId, ReplicaSet, SetVersion, StorageId, TransactionId};
use crate::membership::{AgentEvent, Directory, Edit, EditId, Target};
use crate::wire::OperatorRefusal;

const PARTITION: PartitionId = PartitionId(0);
const SOON: Duration = Duration::from_secs(2);

fn advance(consumer: &str, id: u64) -> Edit {
    let (consumer, mark) = (consumer.to_owned(), TransactionId(id).mark());
    Edit::AdvanceConsumer { partition: PARTITION, consumer, mark }
}

fn set(nodes: &[u32]) -> ReplicaSet {
    let member = |node: &u32| Member { node: NodeId(*node), storage: StorageId(9) };
    ReplicaSet(nodes.iter().map(member).collect())
}

fn target(nodes: &[u32]) -> Edit {
    let target = Target { members: set(nodes), force_above: None };
    Edit::Target { partition: PARTITION, target }
}

fn committed(directory: &Directory, version: u64, nodes: &[u32]) -> Edit {
    let creation = directory.partition(PARTITION).expect("it was created").creation;
    let (version, replicas) = (SetVersion(version), set(nodes));
    Edit::Committed { partition: PARTITION, creation, version, replicas }
}

/// How an edit has ended, once it has. It ends once.
fn end(network: &Network, node: u32, edit: EditId) -> Option<Result<(), OperatorRefusal>> {
    let ends = network.peers[&NodeId(node)].events.iter().filter_map(|event| match event {
        AgentEvent::Edited { edit: other, result } if *other == edit => Some(result.clone()),
        _ => None,
    });
    let ends: Vec<_> = ends.collect();
    assert!(ends.len() <= 1, "{edit:?} ended {ends:?}");
    ends.into_iter().next()
}

/// All nodes' edits are made; what they come to, as the host knows it.
fn settle(network: &mut Network, edits: &[(u32, EditId)]) {
    let all = edits.to_vec();
    network.run_until(SOON, |network| all.iter().all(|(n, e)| end(network, *n, *e).is_some()));
    for (node, edit) in edits {
        assert_eq!(end(network, *node, *edit), Some(Ok(())));
    }
    network.run(Duration::from_millis(200));
}

#[test]
fn edits_of_several_nodes_to_one_key_are_all_made() {
    let mut network = three_nodes(11);
    let mut edits = Vec::new();
    for (node, consumer, id) in [(1, "a", 5), (2, "b", 6), (3, "a", 9), (2, "c", 7), (3, "b", 1)] {
        edits.push((node, network.edit(NodeId(node), advance(consumer, id), None)));
    }
    settle(&mut network, &edits);
    for node in [1, 2, 3] {
        let consumers = network.agent(NodeId(node)).directory().consumers(PARTITION);
        let marks = consumers.expect("they are registered").iter();
        let marks: Vec<_> = marks.map(|(name, mark)| (name, mark.count())).collect();
        assert_eq!(marks, [("a", 10), ("b", 7), ("c", 8)], "n{node}");
    }
    let told = |event: &&AgentEvent| matches!(event, AgentEvent::OrdersChanged { .. });
    assert!(network.peers[&HOST].events.iter().any(|event| told(&event)));
}

#[test]
fn the_last_of_two_operators_prevails_and_nobody_takes_it_back() {
    let mut network = three_nodes(12);
    let first = network.edit(NodeId(2), target(&[1, 2]), None);
    settle(&mut network, &[(2, first)]);
    let second = network.edit(NodeId(3), target(&[1, 3]), None);
    settle(&mut network, &[(3, second)]);
    network.part(NodeId(2), Duration::from_millis(100));
    network.run(SOON);
    let wanted = network.agent(HOST).directory().target(PARTITION).expect("one was named");
    assert_eq!(wanted.members, set(&[1, 3]));
}

#[test]
fn a_newer_replica_set_is_recorded_however_long_it_takes_and_never_an_older_one() {
    let mut network = three_nodes(13);
    let directory = network.agent(NodeId(2)).directory().clone();
    let newer = committed(&directory, 2, &[4, 5]);
    let older = committed(&directory, 1, &[6, 7]);
    network.crash(HOST);
    let newer = network.edit(NodeId(2), newer, None);
    let older = network.edit(NodeId(3), older, None);
    network.run(Duration::from_secs(30));
    assert_eq!((end(&network, 2, newer), end(&network, 3, older)), (None, None));
    network.boot(HOST);
    settle(&mut network, &[(2, newer), (3, older)]);
    let meta = network.agent(HOST).directory().partition(PARTITION).expect("it is there");
    assert_eq!((meta.version, &meta.replicas), (SetVersion(2), &set(&[4, 5])));
}

#[test]
fn an_operator_is_told_when_the_coordinator_does_not_answer() {
    let mut network = three_nodes(14);
    network.crash(HOST);
    let deadline = network.now + Duration::from_secs(5);
    let edit = network.edit(NodeId(2), target(&[1]), Some(deadline));
    network.run(Duration::from_millis(4900));
    assert_eq!(end(&network, 2, edit), None);
    network.run(Duration::from_millis(200));
    assert_eq!(end(&network, 2, edit), Some(Err(OperatorRefusal::NoCoordinator)));
    network.boot(HOST);
    network.run(SOON);
    assert_eq!(network.agent(HOST).directory().target(PARTITION), None, "it was given up");
}

#[test]
fn what_the_controller_knows_of_replica_sets_it_leaves_alone() {
    let mut network = three_nodes(15);
    let directory = network.agent(HOST).directory().clone();
    let changed = network.edit(NodeId(3), committed(&directory, 1, &[2, 3]), None);
    let wanted = network.edit(NodeId(3), target(&[2, 3]), None);
    settle(&mut network, &[(3, changed), (3, wanted)]);
    network.crash(NodeId(2));
    network.run(Duration::from_secs(10));
    network.boot(NodeId(2));
    network.crash(HOST);
    network.boot(HOST);
    network.run(Duration::from_secs(10));
    let directory = network.agent(HOST).directory();
    assert_eq!(directory.partition(PARTITION).map(|meta| &meta.replicas), Some(&set(&[2, 3])));
    assert_eq!(directory.target(PARTITION).map(|target| &target.members), Some(&set(&[2, 3])));
}
