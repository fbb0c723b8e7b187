//! Agents and a controller against the real coordinator, over connections that break.

mod edits;
mod network;
mod operations;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use network::{HOST, Network};

use crate::coordinator::{Change, Revision};
use crate::id::{Epoch, Generation, NodeId, PartitionId};
use crate::membership::{
    AgentEvent, Control, ControllerConfig, ControllerConfigError, LEASE_TTL, Name,
};

const PARTITIONS: u32 = 6;
/// Within this a cluster with nothing in its way is settled.
const SETTLED: Duration = Duration::from_secs(20);

fn cluster() -> ControllerConfig {
    ControllerConfig::new(PARTITIONS, 3, 3).expect("such a cluster can be")
}

fn three_nodes(seed: u64) -> Network {
    let mut network = Network::new(seed, 3, cluster());
    network.run_until(Duration::from_secs(2), settled);
    network
}

fn assignments(network: &Network, node: NodeId) -> BTreeMap<PartitionId, (NodeId, Generation)> {
    let directory = network.agent(node).directory();
    (0..PARTITIONS)
        .map(PartitionId)
        .filter_map(|partition| Some((partition, directory.assignment(partition)?)))
        .collect()
}

/// Whether all live nodes see the same: each other, and every partition at a live node, evenly.
fn settled(network: &Network) -> bool {
    let live: Vec<NodeId> =
        network.peers.keys().copied().filter(|node| network.is_up(*node)).collect();
    let assigned = assignments(network, HOST);
    let loads =
        live.iter().map(|node| assigned.values().filter(|(server, _)| server == node).count());
    assigned.len() == PARTITIONS as usize
        && loads.clone().sum::<usize>() == assigned.len()
        && loads.clone().max().unwrap_or(0) - loads.min().unwrap_or(0) <= 1
        && live.iter().all(|&node| {
            let agent = network.agent(node);
            agent.is_synced()
                && agent.directory() == network.agent(HOST).directory()
                && agent.directory().nodes().map(|(node, _)| node).eq(live.iter().copied())
        })
}

fn last_epoch(network: &Network, node: NodeId, partition: PartitionId) -> Option<Epoch> {
    network.peers[&node].events.iter().rev().find_map(|event| match event {
        AgentEvent::Epoch { partition: other, epoch } if *other == partition => Some(*epoch),
        _ => None,
    })
}

#[test]
fn a_cluster_bootstraps_once_its_storages_are_there() {
    let mut network = Network::new(1, 3, cluster());
    network.crash(NodeId(3));
    network.run(Duration::from_secs(5));
    assert_eq!(network.agent(HOST).directory().cluster(), None);
    network.boot(NodeId(3));
    network.run_until(Duration::from_secs(2), settled);
    let directory = network.agent(NodeId(2)).directory();
    let firsts = directory.partitions().map(|(_, meta)| meta.replicas.0[0].node);
    assert!(firsts.eq([1, 2, 3, 1, 2, 3].map(NodeId)), "replicas are spread");
    for (partition, meta) in directory.partitions() {
        let nodes: BTreeSet<NodeId> = meta.replicas.nodes().collect();
        assert_eq!(nodes.len(), 3, "{partition}");
    }
    let first = directory.partition(PartitionId(0)).expect("settled").creation;
    assert_ne!(Some(first), directory.partition(PartitionId(1)).map(|meta| meta.creation));
    let generations = assignments(&network, HOST).into_values().map(|(_, generation)| generation);
    assert!(generations.eq([Generation(1); PARTITIONS as usize]), "nothing moved on the way");
}

#[test]
fn impossible_clusters_are_refused() {
    assert_eq!(ControllerConfig::new(0, 3, 3), Err(ControllerConfigError::Partitions(0)));
    assert_eq!(ControllerConfig::new(10_241, 3, 3), Err(ControllerConfigError::Partitions(10_241)));
    assert_eq!(ControllerConfig::new(4, 0, 3), Err(ControllerConfigError::Replicas(0)));
    assert_eq!(ControllerConfig::new(4, 8, 3), Err(ControllerConfigError::Replicas(8)));
}

#[test]
fn a_dead_nodes_partitions_get_other_servers_and_the_rest_stays() {
    let mut network = three_nodes(2);
    let before = assignments(&network, HOST);
    network.crash(NodeId(2));
    network.run_until(LEASE_TTL + Duration::from_millis(500), settled);
    let after = assignments(&network, HOST);
    for (partition, (server, generation)) in before {
        if server == NodeId(2) {
            assert_eq!(after[&partition].1, Generation(generation.0 + 1), "{partition}");
        } else {
            assert_eq!(after[&partition], (server, generation), "{partition}");
        }
    }
    network.boot(NodeId(2));
    network.run_until(Duration::from_secs(3), settled);
    let moved = |event: &&AgentEvent| matches!(event, AgentEvent::Assigned { server, .. } if *server == NodeId(2));
    let told = network.peers[&NodeId(3)].events.iter().filter(moved).count();
    assert_eq!(told, 4, "two at the bootstrap, two at the return");
}

/// Whoever controls is elected among the nodes; the coordinator's own node does not stand.
#[test]
fn another_node_controls_when_the_elected_one_is_gone() {
    let mut network = Network::controlled(15, 4, |node| match node {
        HOST => Control::Never,
        NodeId(2) => Control::Elected { bootstrap: Some(cluster()) },
        _ => Control::Elected { bootstrap: None },
    });
    network.run_until(Duration::from_secs(10), settled);
    for _ in 0..2 {
        let elected = network.controllers();
        let [elected] = elected[..] else { panic!("{elected:?} control") };
        network.crash(elected);
        network.run_until(LEASE_TTL + Duration::from_secs(2), settled);
        assert!(!network.controllers().contains(&elected));
        network.boot(elected);
        network.run_until(Duration::from_secs(3), settled);
    }
    let elected = network.controllers()[0];
    network.stop(elected);
    network.run_until(Duration::from_millis(500), settled);
}

#[test]
fn a_clean_stop_needs_no_lease_to_run_out() {
    let mut network = three_nodes(3);
    network.stop(NodeId(3));
    network.run_until(Duration::from_millis(500), settled);
}

#[test]
fn a_node_that_comes_and_goes_moves_nothing() {
    let mut network = three_nodes(14);
    network.crash(NodeId(3));
    network.run(SETTLED);
    let before = assignments(&network, HOST);
    network.boot(NodeId(3));
    network.run(Duration::from_millis(500));
    assert!(network.agent(HOST).directory().is_live(NodeId(3)));
    network.stop(NodeId(3));
    network.run(SETTLED);
    assert_eq!(assignments(&network, HOST), before);
}

#[test]
fn a_quick_restart_moves_nothing() {
    let mut network = three_nodes(4);
    let before = assignments(&network, HOST);
    for node in [NodeId(2), HOST] {
        network.crash(node);
        network.run(Duration::from_secs(1));
        network.boot(node);
        network.run(Duration::from_secs(10));
        assert!(settled(&network));
        assert_eq!(assignments(&network, HOST), before, "{node}");
    }
}

#[test]
fn a_lost_connection_costs_nothing_while_the_lease_lives() {
    let mut network = three_nodes(5);
    let before = assignments(&network, HOST);
    let changes = network.journal.len();
    network.part(NodeId(2), LEASE_TTL / 2);
    network.run(Duration::from_secs(10));
    assert_eq!(assignments(&network, NodeId(2)), before);
    assert_eq!(network.journal.len(), changes, "nothing changed at all");
}

#[test]
fn the_directory_is_used_while_the_coordinator_is_away() {
    let mut network = three_nodes(6);
    let before = assignments(&network, HOST);
    network.crash(HOST);
    network.run(Duration::from_secs(60));
    let agent = network.agent(NodeId(2));
    assert!(!agent.is_synced());
    assert_eq!(assignments(&network, NodeId(2)), before);
    assert!(agent.directory().is_live(HOST) && agent.directory().address(HOST).is_some());
    network.boot(HOST);
    network.run(Duration::from_secs(10));
    assert_eq!(assignments(&network, NodeId(2)), before, "its return moves nothing");
}

#[test]
fn a_node_that_lost_its_lease_registers_again() {
    let mut network = three_nodes(7);
    network.part(NodeId(2), Duration::from_secs(30));
    network.run(Duration::from_secs(20));
    let view = network.agent(HOST).directory().view();
    assert!(!view.nodes[1].live && view.nodes[1].address.0 == "n2:7400");
    network.run_until(SETTLED, settled);
    assert!(network.reports.iter().any(|text| text.starts_with("the lease of n2 ended while")));
}

#[test]
fn two_processes_of_one_id_are_reported() {
    let mut network = three_nodes(8);
    network.peers.get_mut(&NodeId(3)).expect("known").config = network::config(NodeId(2));
    network.crash(NodeId(3));
    network.boot(NodeId(3));
    network.run(Duration::from_secs(1));
    let complaint = "another process has registered as n2";
    assert!(network.reports.iter().any(|text| text.starts_with(complaint)));
}

#[test]
fn epochs_rise_above_what_is_asked() {
    let mut network = three_nodes(9);
    let partition = PartitionId(1);
    let soon = Duration::from_secs(1);
    let mut last = None;
    for (node, above) in [(2, None), (3, None), (2, Some(Epoch(40))), (1, Some(Epoch(7)))] {
        network.take_epoch(NodeId(node), partition, above);
        network.run(soon);
        let epoch = last_epoch(&network, NodeId(node), partition);
        assert!(epoch > last && epoch > above, "{epoch:?} after {last:?} and {above:?}");
        last = epoch;
    }
    // Asking twice at once gives one, above the higher bar.
    let events = network.peers[&NodeId(3)].events.len();
    network.take_epoch(NodeId(3), partition, None);
    network.take_epoch(NodeId(3), partition, Some(Epoch(90)));
    network.run(soon);
    let told = network.peers[&NodeId(3)].events[events..].to_vec();
    assert_eq!(told, [AgentEvent::Epoch { partition, epoch: Epoch(91) }]);
    // After the last number there is none.
    network.take_epoch(NodeId(3), partition, Some(Epoch(u64::MAX)));
    network.run(soon);
    assert_eq!(last_epoch(&network, NodeId(3), partition), Some(Epoch(91)));
}

#[test]
fn an_epoch_asked_for_while_the_coordinator_is_away_comes_when_it_is_back() {
    let mut network = three_nodes(10);
    network.crash(HOST);
    network.take_epoch(NodeId(2), PartitionId(0), None);
    network.run(Duration::from_secs(5));
    assert_eq!(last_epoch(&network, NodeId(2), PartitionId(0)), None);
    network.boot(HOST);
    network.run(Duration::from_secs(1));
    assert_eq!(last_epoch(&network, NodeId(2), PartitionId(0)), Some(Epoch(1)));
}

#[test]
fn a_wiped_coordinator_is_filled_again_and_no_agent_takes_an_epoch_twice() {
    let mut network = three_nodes(11);
    for _ in 0..3 {
        network.take_epoch(NodeId(2), PartitionId(0), None);
        network.run(Duration::from_secs(1));
    }
    network.wipe();
    network.take_epoch(NodeId(2), PartitionId(0), None);
    network.run_until(SETTLED, settled);
    assert_eq!(last_epoch(&network, NodeId(2), PartitionId(0)), Some(Epoch(4)));
}

#[test]
fn a_coordinator_that_lost_its_memory_creates_nothing_beside_what_there_is() {
    let mut network = three_nodes(12);
    network.use_disk(NodeId(3));
    network.run(Duration::from_secs(1));
    network.crash(NodeId(2));
    network.boot(NodeId(2));
    network.run_until(SETTLED, settled);
    network.wipe();
    network.run(Duration::from_secs(30));
    let directory = network.agent(HOST).directory();
    assert_eq!((directory.cluster(), directory.partitions().count()), (None, 0));
    let told = network.reports.iter().filter(|text| text.contains("the disk of n3 belongs to"));
    assert_eq!(told.count(), 1, "{:?}", network.reports);
}

#[test]
fn a_value_of_a_later_version_is_reported_and_left_alone() {
    let mut network = three_nodes(12);
    network.crash(HOST);
    let key = Name::Assignment(PartitionId(0)).key();
    let revision = Revision(network.journal.len() as u64 + 1);
    let value = Some((Bytes::from_static(&[2, 9, 9]), None));
    network.journal.push(Change { revision, key: key.clone(), value });
    network.boot(HOST);
    network.run(SETTLED);
    assert_eq!(network.agent(HOST).directory().assignment(PartitionId(0)), None);
    assert!(network.journal.iter().all(|change| change.key != key || change.revision <= revision));
    let complaint = "can't read assignments/0 in the coordinator";
    assert!(network.reports.iter().any(|text| text.starts_with(complaint)));
}

#[test]
fn preferences_are_heeded_again_when_their_server_returns() {
    let mut network = three_nodes(13);
    let preferred = [0, 1, 2].map(PartitionId);
    network.crash(NodeId(2));
    network.run(SETTLED);
    network.peers.get_mut(&NodeId(2)).expect("known").config.preferred = preferred.into();
    network.boot(NodeId(2));
    network.run(SETTLED);
    let assigned = assignments(&network, HOST);
    assert!(preferred.iter().all(|partition| assigned[partition].0 == NodeId(2)));
}

/// Breaks something at random now and then, and asks for epochs.
fn disturb(network: &mut Network) {
    let chance = network.random.bits() % 1000;
    let node = NodeId(1 + (network.random.bits() % 3) as u32);
    let away = network.random.between(Duration::ZERO, Duration::from_secs(6));
    match chance {
        0..2 if network.is_up(node) => network.crash(node),
        2..8 if !network.is_up(node) => network.boot(node),
        8..14 if network.is_up(node) => network.part(node, away),
        14..34 if network.is_up(node) => {
            let partition = PartitionId((network.random.bits() % 2) as u32);
            let above = last_epoch(network, node, partition);
            network.take_epoch(node, partition, above);
        }
        _ => {}
    }
}

/// The network's own checks hold at every tick: a lease ends only when it ran out or was given
/// back, generations grow by one and with another server, no epoch is handed out twice.
#[test]
fn whatever_breaks_the_cluster_settles_once_nothing_does() {
    let elected = |_| Control::Elected { bootstrap: Some(cluster()) };
    for seed in 0..120 {
        let mut network = match seed % 2 {
            0 => Network::new(seed, 3, cluster()),
            _ => Network::controlled(seed, 3, elected),
        };
        let end = network.now + Duration::from_secs(60);
        while network.now < end {
            disturb(&mut network);
            network.tick();
        }
        for node in [1, 2, 3].map(NodeId) {
            if !network.is_up(node) {
                network.boot(node);
            }
            network.take_epoch(node, PartitionId(0), None);
        }
        let asked: BTreeMap<NodeId, usize> =
            network.peers.iter().map(|(node, peer)| (*node, peer.events.len())).collect();
        network.run(SETTLED);
        assert!(settled(&network), "seed {seed}");
        for (node, events) in asked {
            let epochs = network.peers[&node].events[events..].iter().filter(|event| {
                matches!(event, AgentEvent::Epoch { partition: PartitionId(0), .. })
            });
            assert_eq!(epochs.count(), 1, "seed {seed}, {node}");
        }
    }
}
