//! What operators want of a cluster, by several agents and a controller.

use std::time::Duration;

use super::network::{HOST, Network};
use super::{PARTITIONS, assignments, settled, three_nodes};
use crate::id::{CreationId, Epoch, Generation, Member, NodeId, PartitionId};
use crate::id::{ReplicaSet, SetVersion, StorageId};
use crate::membership::{
    AgentEvent, Cluster, Control, Edit, Locality, Name, PartitionMeta, edits_of,
};
use crate::wire::{KnownPartition, OperatorRefusal, OperatorRequest};

const SOON: Duration = Duration::from_secs(5);

/// Asks a node as an operator does, and has all of it recorded.
fn operate(
    network: &mut Network,
    node: u32,
    request: OperatorRequest,
) -> Result<(), OperatorRefusal> {
    let node = NodeId(node);
    for edit in edits_of(network.agent(node).directory(), request)?.into_iter().flatten() {
        let id = network.edit(node, edit, None);
        let ended = |network: &Network| {
            network.peers[&node].events.iter().find_map(|event| match event {
                AgentEvent::Edited { edit, result } if *edit == id => Some(result.clone()),
                _ => None,
            })
        };
        network.run_until(SOON, |network| ended(network).is_some());
        ended(network).expect("it has ended")?;
    }
    network.run(Duration::from_millis(200));
    Ok(())
}

fn servers(network: &Network) -> Vec<u32> {
    assignments(network, HOST).values().map(|(server, _)| server.0).collect()
}

fn drain(node: u32, drained: bool) -> OperatorRequest {
    OperatorRequest::DrainServer { node: NodeId(node), drained }
}

#[test]
fn a_drained_server_serves_nothing_while_another_can() {
    let mut network = three_nodes(21);
    operate(&mut network, 3, drain(2, true)).expect("n2 is known");
    assert!(!servers(&network).contains(&2), "at once");
    for node in [1, 3] {
        operate(&mut network, 1, drain(node, true)).expect("it is known");
    }
    network.run_until(SOON, settled);
    for node in [1, 3] {
        operate(&mut network, 1, drain(node, false)).expect("it is known");
    }
    assert!(!servers(&network).contains(&2), "others can again");
    network.crash(NodeId(2));
    network.run(SOON);
    network.boot(NodeId(2));
    network.run(SOON);
    assert!(!servers(&network).contains(&2), "it outlives a restart");
    operate(&mut network, 2, drain(2, false)).expect("it is known");
    network.run_until(SOON, settled);
}

#[test]
fn partitions_are_served_where_operators_want_them() {
    let mut network = three_nodes(22);
    let partitions = vec![PartitionId(0), PartitionId(1), PartitionId(4)];
    let prefer = |preferred| {
        let partitions = partitions.clone();
        OperatorRequest::Prefer { node: NodeId(3), partitions, preferred }
    };
    operate(&mut network, 2, prefer(true)).expect("all are known");
    network.run(SOON);
    let assigned = assignments(&network, HOST);
    assert!(partitions.iter().all(|partition| assigned[partition].0 == NodeId(3)));
    operate(&mut network, 2, prefer(false)).expect("all are known");
    let directory = network.agent(HOST).directory();
    assert_eq!(directory.operations(NodeId(3)), None, "nothing is left to say");
    let unknown = vec![PartitionId(PARTITIONS)];
    let request = OperatorRequest::Prefer { node: NodeId(3), partitions: unknown, preferred: true };
    let refusal = OperatorRefusal::UnknownPartition { partition: PartitionId(PARTITIONS) };
    assert_eq!(operate(&mut network, 1, request), Err(refusal));
}

#[test]
fn a_partition_is_served_in_its_region_while_a_node_there_lives() {
    let mut network = three_nodes(23);
    network.crash(NodeId(2));
    let region = Some("eu".to_owned());
    let locality = Locality { region: region.clone(), ..Locality::default() };
    network.peers.get_mut(&NodeId(2)).expect("known").config.locality = locality;
    network.boot(NodeId(2));
    network.run(SOON);
    for partition in (0..PARTITIONS).map(PartitionId) {
        let request = OperatorRequest::PreferRegion { partition, region: region.clone() };
        operate(&mut network, 1, request).expect("it is known");
    }
    network.run(SOON);
    assert_eq!(servers(&network), [2; PARTITIONS as usize]);
    network.crash(NodeId(2));
    network.run_until(Duration::from_secs(10), settled);
    let partition = PartitionId(0);
    let nameless = OperatorRequest::PreferRegion { partition, region: Some(String::new()) };
    let refusal = OperatorRefusal::RegionName { most: 64 };
    assert_eq!(operate(&mut network, 1, nameless), Err(refusal));
    let any = OperatorRequest::PreferRegion { partition, region: None };
    operate(&mut network, 1, any).expect("it is known");
    assert_eq!(network.agent(HOST).directory().regions().count(), PARTITIONS as usize - 1);
}

#[test]
fn partitions_are_added_and_never_told_before_all_are_there() {
    let mut network = three_nodes(24);
    let add = |partitions| OperatorRequest::AddPartitions { partitions };
    let no_more = |count| OperatorRefusal::NotMorePartitions { count, now: PARTITIONS };
    assert_eq!(operate(&mut network, 2, add(PARTITIONS)), Err(no_more(PARTITIONS)));
    let too_many = OperatorRefusal::PartitionCount { count: 10_241, most: 10_240 };
    assert_eq!(operate(&mut network, 2, add(10_241)), Err(too_many));
    let before = network.agent(HOST).directory().clone();
    let edits = edits_of(&before, add(40)).expect("there may be 40");
    network.edit(NodeId(2), edits[0][0].clone(), None);
    let mut told = Vec::new();
    while told.last() != Some(&40) {
        network.tick();
        let count = network.agent(NodeId(3)).directory().view().partitions.len();
        if told.last() != Some(&count) {
            told.push(count);
        }
    }
    assert_eq!(told, [PARTITIONS as usize, 40]);
    network.run(SOON);
    let directory = network.agent(HOST).directory();
    for (partition, meta) in before.partitions() {
        assert_eq!(directory.partition(partition), Some(meta), "what was there stays");
    }
    let servers: Vec<_> = directory
        .partitions()
        .filter_map(|(partition, _)| directory.assignment(partition))
        .collect();
    for node in [1, 2, 3].map(NodeId) {
        let load = servers.iter().filter(|(server, _)| *server == node).count();
        assert!((13..=14).contains(&load), "{node} serves {load} of 40");
    }
}

#[test]
fn a_dead_node_without_replicas_is_forgotten_and_new_when_it_returns() {
    let mut network = Network::new(25, 4, super::cluster());
    network.run_until(SOON, settled);
    let forget = |node: u32| OperatorRequest::ForgetNode { node: NodeId(node) };
    let unknown = OperatorRefusal::UnknownNode { node: NodeId(9) };
    assert_eq!(operate(&mut network, 1, forget(9)), Err(unknown));
    let live = OperatorRefusal::StillLive { node: NodeId(4) };
    assert_eq!(operate(&mut network, 1, forget(4)), Err(live));
    operate(&mut network, 1, drain(4, true)).expect("it is known");
    network.crash(NodeId(4));
    network.run(SOON);
    let naming = |network: &Network| {
        let mut partitions = network.agent(HOST).directory().partitions();
        partitions
            .find(|(_, meta)| meta.replicas.nodes().any(|node| node == NodeId(4)))
            .map(|(partition, meta)| (partition, meta.clone()))
    };
    while let Some((partition, meta)) = naming(&network) {
        let named = OperatorRefusal::StillNamed { node: NodeId(4), partition };
        assert_eq!(operate(&mut network, 1, forget(4)), Err(named));
        let left = meta.replicas.0.iter().copied().filter(|member| member.node != NodeId(4));
        let edit = crate::membership::Edit::Committed {
            partition,
            creation: meta.creation,
            version: meta.version.next(),
            replicas: ReplicaSet(left.collect()),
        };
        network.edit(NodeId(2), edit, None);
        network.run(Duration::from_millis(500));
    }
    network.may_delete(|name| matches!(name, Name::Storage(_) | Name::Locality(_)));
    operate(&mut network, 1, forget(4)).expect("nothing names it");
    for node in [1, 2, 3].map(NodeId) {
        let directory = network.agent(node).directory();
        assert!(!directory.known_nodes().contains(&NodeId(4)), "{node}");
    }
    network.boot(NodeId(4));
    network.run_until(SOON, settled);
    assert!(network.agent(HOST).directory().storage(NodeId(4)).is_some());
}

#[test]
fn a_cluster_that_nobody_was_told_to_make_is_made_by_an_operator() {
    let mut network = Network::controlled(26, 3, |node| match node {
        HOST => Control::Never,
        _ => Control::Elected { bootstrap: None },
    });
    network.run(SOON);
    let create = |partitions, replicas| OperatorRequest::CreateCluster { partitions, replicas };
    let add = OperatorRequest::AddPartitions { partitions: 9 };
    assert_eq!(operate(&mut network, 1, add), Err(OperatorRefusal::NoCluster));
    let too_few = OperatorRefusal::TooFewStorages { registered: 3, needed: 5 };
    assert_eq!(operate(&mut network, 1, create(PARTITIONS, 5)), Err(too_few));
    operate(&mut network, 3, create(PARTITIONS, 3)).expect("there is none yet");
    network.run_until(SOON, settled);
    let exists = OperatorRefusal::ClusterExists { partitions: PARTITIONS };
    assert_eq!(operate(&mut network, 1, create(PARTITIONS, 3)), Err(exists));
}

/// All that disks know of the cluster of these tests.
fn known(generation: u64) -> Vec<KnownPartition> {
    let member =
        |node: u32| Member { node: NodeId(node), storage: StorageId(100 + u64::from(node)) };
    let replicas = ReplicaSet([1, 2, 3].map(member).to_vec());
    (0..PARTITIONS)
        .map(|partition| KnownPartition {
            partition: PartitionId(partition),
            generation: Generation(generation),
            meta: PartitionMeta {
                creation: CreationId(70 + u64::from(partition)),
                version: SetVersion(4),
                replicas: replicas.clone(),
            },
        })
        .collect()
}

#[test]
fn a_coordinator_that_lost_everything_gets_the_cluster_back() {
    let mut network = three_nodes(27);
    let restore = |partitions| OperatorRequest::RestoreCluster { replicas: 3, partitions };
    let exists = OperatorRefusal::ClusterExists { partitions: PARTITIONS };
    assert_eq!(operate(&mut network, 2, restore(known(9))), Err(exists));
    for node in [1, 2, 3] {
        network.use_disk(NodeId(node));
    }
    network.run(SOON);
    network.wipe();
    network.run(SOON);
    assert_eq!(network.agent(NodeId(2)).directory().cluster(), None);
    let in_use = OperatorRefusal::DiskInUse { node: HOST };
    let create = OperatorRequest::CreateCluster { partitions: PARTITIONS, replicas: 3 };
    assert_eq!(operate(&mut network, 2, create), Err(in_use));
    let seen = network.agent(NodeId(2)).directory().generations().count();
    assert_eq!(seen, PARTITIONS as usize, "nodes remember what was");
    let mut partial = known(9);
    partial.remove(2);
    let incomplete = OperatorRefusal::Incomplete { partition: PartitionId(2) };
    assert_eq!(operate(&mut network, 2, restore(partial)), Err(incomplete));
    network.may_restore();
    operate(&mut network, 2, restore(known(9))).expect("there is no cluster");
    network.run_until(SOON, settled);
    let directory = network.agent(NodeId(3)).directory();
    assert_eq!(directory.cluster(), Some(Cluster { partitions: PARTITIONS, replicas: 3 }));
    for known in known(9) {
        assert_eq!(directory.partition(known.partition), Some(&known.meta));
        let (_, generation) = directory.assignment(known.partition).expect("settled");
        assert!(generation > Generation(1 << 32));
    }
    network.take_epoch(NodeId(3), PartitionId(1), None);
    network.run(SOON);
    let epoch = super::last_epoch(&network, NodeId(3), PartitionId(1));
    assert!(epoch > Some(Epoch(1 << 32)), "{epoch:?}");
}

#[test]
fn a_deleted_cluster_is_forgotten_and_no_other_is_made_of_its_disks() {
    let mut network = three_nodes(28);
    for node in [1, 2, 3] {
        network.use_disk(NodeId(node));
    }
    network.run(SOON);
    let steps = edits_of(network.agent(HOST).directory(), OperatorRequest::DeleteCluster);
    let steps = steps.expect("there is one");
    assert_eq!(steps[0], [Edit::Delete(Name::Cluster)], "nothing is made again meanwhile");
    network.may_delete(|name| {
        matches!(name, Name::Cluster | Name::Partition(_) | Name::Assignment(_))
    });
    operate(&mut network, 2, OperatorRequest::DeleteCluster).expect("there is one");
    network.run(Duration::from_secs(30));
    let directory = network.agent(NodeId(3)).directory();
    assert_eq!((directory.cluster(), directory.partitions().count()), (None, 0));
    assert_eq!(directory.assignment(PartitionId(0)), None);
    let again = operate(&mut network, 2, OperatorRequest::DeleteCluster);
    assert_eq!(again, Err(OperatorRefusal::NoCluster));
}

#[test]
fn busy_partitions_are_served_by_different_nodes_once_an_operator_has_measured() {
    let mut network = three_nodes(29);
    let of = |network: &Network| assignments(network, HOST).into_iter();
    let served = |network: &Network, server| -> Vec<PartitionId> {
        of(network).filter(|(_, (other, _))| *other == server).map(|(one, _)| one).collect()
    };
    let busy = served(&network, NodeId(2));
    assert!(busy.len() > 1, "{busy:?}");
    let loads: Vec<_> = busy.iter().map(|partition| (*partition, 1000)).collect();
    operate(&mut network, 1, OperatorRequest::SetLoads { loads }).expect("all are known");
    network.run_until(SOON, |network| {
        let left = served(network, NodeId(2));
        busy.iter().filter(|one| left.contains(one)).count() == 1
    });
    let assigned = assignments(&network, HOST);
    network.run(SOON);
    assert_eq!(assignments(&network, HOST), assigned, "and nothing moves after that");
    let loads = vec![(PartitionId(PARTITIONS), 1)];
    let refusal = OperatorRefusal::UnknownPartition { partition: PartitionId(PARTITIONS) };
    assert_eq!(operate(&mut network, 1, OperatorRequest::SetLoads { loads }), Err(refusal));
    let forget = OperatorRequest::SetLoads { loads: Vec::new() };
    operate(&mut network, 1, forget).expect("nothing is always possible");
    assert_eq!(network.agent(HOST).directory().loads().len(), 0);
}
