//! What operators ask for, in whole clusters: other replicas, trimming, consumers, recoveries.

use std::time::Duration;

use bytes::Bytes;
use waltz_core::id::{Mark, MountId, NodeId, PartitionId, TransactionId};
use waltz_core::partition::retention::RetentionConfig;
use waltz_core::wire::{
    ClientRequest, FetchRefusal, MountRefusal, OperatorRefusal, OperatorRequest, PartitionStatus,
    ServerReply, Version,
};

use crate::rig::{Mounted, Rig};

const PARTITION: PartitionId = PartitionId(0);

fn mark(id: u64) -> Mark {
    Mark::at(TransactionId(id))
}

pub(crate) fn set_replicas(nodes: &[u32]) -> OperatorRequest {
    let nodes = nodes.iter().copied().map(NodeId).collect();
    OperatorRequest::SetReplicas { partition: PARTITION, nodes }
}

pub(crate) fn trim(id: u64) -> OperatorRequest {
    OperatorRequest::Trim { partition: PARTITION, start: mark(id) }
}

fn advance(consumer: &str, id: u64) -> OperatorRequest {
    let consumer = consumer.to_owned();
    OperatorRequest::AdvanceConsumer { partition: PARTITION, consumer, mark: mark(id) }
}

/// The nodes of the replica set, ascending, if each of them is joined.
fn settled(status: &PartitionStatus) -> Option<Vec<u32>> {
    let members = status.members.nodes().map(|node| node.0);
    let joined = status.replicas.iter().filter(|r| r.counts && r.state == "joined").count();
    let mut nodes: Vec<_> = members.collect();
    nodes.sort_unstable();
    (joined == nodes.len() && status.replicas.len() == nodes.len()).then_some(nodes)
}

pub(crate) fn run_until_settled(rig: &mut Rig, nodes: &[u32]) {
    for _ in 0..100 {
        rig.run(Duration::from_millis(100));
        if settled(&rig.partition()).as_deref() == Some(nodes) {
            return;
        }
    }
    panic!("{:?}\n{:?}", rig.partition(), rig.reports);
}

#[test]
fn replicas_move_to_other_nodes_and_nobody_notices() {
    let mut rig = Rig::with(5, 3, |_| {});
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 100);
    assert_eq!(rig.operate(3, set_replicas(&[1, 4, 5])), Ok(()), "any node takes it");
    client.grow(&mut rig, 100, 100);
    run_until_settled(&mut rig, &[1, 4, 5]);
    client.grow(&mut rig, 200, 100);
    let status = rig.partition();
    assert_eq!(status.session, Some(client.session), "the session went on");
    assert_eq!((status.version.0, status.committed), (4, mark(299)), "two added, two removed");
    let view = rig.status(4).cluster.partitions.remove(0);
    assert_eq!((view.version, &view.replicas), (status.version, &status.members), "all know it");
    assert_eq!(rig.operate(0, set_replicas(&[5, 4, 1])), Err(OperatorRefusal::Unchanged));
}

#[test]
fn a_replica_moves_to_a_node_once_that_is_upgraded() {
    let mut rig = Rig::with(4, 3, |config| {
        if config.node == NodeId(4) {
            config.newest = Version::FIRST;
        }
    });
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 20);
    assert_eq!(rig.operate(0, set_replicas(&[1, 2, 4])), Ok(()));
    rig.run(Duration::from_secs(10));
    let status = rig.partition();
    assert_eq!(settled(&status), None);
    let held_back = status.replicas.iter().find(|replica| replica.node == NodeId(4)).unwrap();
    assert_eq!((held_back.counts, &*held_back.state), (false, "foreign, protocol 1"));
    client.grow(&mut rig, 20, 20);
    rig.kill(3);
    rig.upgrade(3);
    rig.boot(3, 3);
    run_until_settled(&mut rig, &[1, 2, 4]);
}

#[test]
fn nothing_is_trimmed_while_too_few_can_be_told() {
    let mut rig = Rig::with(3, 3, |config| {
        if config.node != NodeId(1) {
            config.newest = Version::FIRST;
        }
    });
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 20);
    let refused = rig.operate(client.owner, trim(9)).unwrap_err().to_string();
    assert!(refused.contains("without trims"), "{refused}");
    assert_eq!(rig.partition().start, Mark::NONE);
}

#[test]
fn new_replicas_carry_on_when_the_old_ones_die() {
    let mut rig = Rig::with(5, 3, |_| {});
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 50);
    assert_eq!(rig.operate(0, set_replicas(&[1, 4, 5])), Ok(()));
    run_until_settled(&mut rig, &[1, 4, 5]);
    rig.kill(1);
    rig.kill(2);
    rig.run(Duration::from_secs(10));
    let client = Mounted::after(&mut rig, MountId(2), mark(49));
    client.grow(&mut rig, 50, 50);
    assert_eq!(rig.partition().committed, mark(99));
}

#[test]
fn a_wiped_disk_is_noticed_and_replaced_when_asked() {
    let mut rig = Rig::with(3, 3, |_| {});
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 20);
    let lost = (client.owner + 1) % 3;
    assert_ne!(lost, 0, "the coordinator's node keeps its disk");
    rig.kill(lost);
    rig.run(Duration::from_secs(5));
    rig.boot(lost, 77);
    rig.run(Duration::from_secs(5));
    let loud = |text: &String| text.contains("has come back with another disk");
    assert_eq!(rig.reports.iter().filter(|text| loud(text)).count(), 1, "{:?}", rig.reports);
    let status = rig.partition();
    let wiped: Vec<_> = status.replicas.iter().filter(|r| r.wiped).map(|r| r.node).collect();
    assert_eq!(wiped, [NodeId(lost as u32 + 1)]);
    assert_eq!(rig.operate(0, set_replicas(&[1, 2, 3])), Ok(()));
    run_until_settled(&mut rig, &[1, 2, 3]);
    assert!(rig.partition().replicas.iter().all(|replica| !replica.wiped));
}

#[test]
fn what_was_trimmed_is_told_so_by_name() {
    let mut rig = Rig::new(3);
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 100);
    let beyond = OperatorRefusal::BeyondLog { committed: mark(99) };
    assert_eq!(rig.operate(client.owner, trim(100)), Err(beyond));
    assert_eq!(rig.operate((client.owner + 1) % 3, trim(59)), Err(OperatorRefusal::NotOwner));
    assert_eq!(rig.operate(client.owner, trim(59)), Ok(()));
    assert_eq!(rig.operate(client.owner, trim(9)), Ok(()), "it is so already");
    let trimmed = MountRefusal::Trimmed { start: mark(59) };
    assert_eq!(Mounted::refused(&mut rig, MountId(2), mark(58)), trimmed);
    rig.heard.clear();
    let fetch = |call, id| {
        let id = TransactionId(id);
        ClientRequest::Fetch { partition: client.partition, call, id }
    };
    rig.ask(client.owner, client.conn, fetch(900, 59), Bytes::new());
    rig.ask(client.owner, client.conn, fetch(901, 60), Bytes::new());
    let heard: Vec<_> = rig.heard.iter().map(|(reply, _)| reply.clone()).collect();
    let reason = FetchRefusal::Trimmed { start: mark(59) };
    let refused = ServerReply::FetchRefused { call: 900, reason };
    assert_eq!(heard, [refused, ServerReply::Fetched { call: 901 }]);
    // The replicas remember it: so does another server.
    rig.run(Duration::from_secs(1));
    assert!(
        rig.nodes()
            .all(|node| node.storage().replicas().next().unwrap().1.summary().start == mark(59))
    );
    let client = Mounted::after(&mut rig, MountId(3), mark(59));
    client.grow(&mut rig, 100, 10);
}

#[test]
fn a_mount_that_is_behind_ends_when_what_it_needs_is_trimmed() {
    let mut rig = Rig::new(3);
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 100);
    let conn = rig.dial(client.owner);
    let generation = waltz_core::id::Generation(1);
    let (mode, after) = (waltz_core::wire::FeedMode::Records, Mark::NONE);
    let (mount, partition) = (MountId(9), client.partition);
    let slow = ClientRequest::Mount { partition, generation, mount, after, mode, credit: 0 };
    rig.ask(client.owner, conn, slow, Bytes::new());
    rig.heard.clear();
    assert_eq!(rig.operate(client.owner, trim(10)), Ok(()));
    let reason = MountRefusal::Trimmed { start: mark(10) };
    let told = ServerReply::Unmounted { partition, mount, reason };
    assert!(rig.heard.iter().any(|(reply, _)| *reply == told), "{:?}", rig.heard);
}

#[test]
fn consumers_are_not_overtaken_and_outlive_their_server() {
    let retention = RetentionConfig { consumed: true, ..RetentionConfig::default() };
    let mut rig = Rig::with(3, 3, |config| {
        config.partition.retention = retention;
        config.partition.locks.records = 10;
        // Not the coordinator's node, which has to stay.
        if config.node == NodeId(2) {
            config.preferred = [PARTITION].into();
        }
    });
    let client = Mounted::new(&mut rig);
    for ten in 0..10 {
        client.grow(&mut rig, 10 * ten, 10);
    }
    assert_eq!(rig.partition().start, Mark::NONE, "nobody has said what it has applied");
    assert_eq!(rig.operate(1, advance("search", 70)), Ok(()));
    assert_eq!(rig.operate(2, advance("audit", 30)), Ok(()));
    client.grow(&mut rig, 100, 1);
    // The first to register was alone for a moment.
    assert_eq!(rig.partition().start, mark(70));
    assert_eq!(rig.operate(2, advance("audit", 99)), Ok(()));
    assert_eq!(rig.operate(1, advance("search", 99)), Ok(()));
    assert_eq!(rig.partition().start, mark(90), "what is needed to judge locks is kept");
    rig.kill(client.owner);
    rig.run(Duration::from_secs(10));
    let consumers = vec![("audit".to_owned(), mark(99)), ("search".to_owned(), mark(99))];
    assert_eq!(rig.partition().consumers, consumers);
    let client = Mounted::after(&mut rig, MountId(2), mark(100));
    for ten in 0..5 {
        client.grow(&mut rig, 101 + 10 * ten, 10);
    }
    assert_eq!(rig.partition().start, mark(99), "held back again");
    let gone = |consumer: &str| {
        let (partition, consumer) = (PARTITION, consumer.to_owned());
        OperatorRequest::RemoveConsumer { partition, consumer }
    };
    assert_eq!(rig.operate(client.owner, advance("audit", 120)), Ok(()));
    assert_eq!(rig.operate(client.owner, gone("search")), Ok(()));
    assert_eq!(rig.partition().start, mark(120));
}

#[test]
fn a_lost_majority_is_recovered_from_by_force_alone() {
    let mut rig = Rig::with(3, 3, |_| {});
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 40);
    rig.kill(1);
    rig.kill(2);
    rig.run(Duration::from_secs(20));
    let status = rig.partition();
    assert!(!status.open, "one of three can't go on");
    let recover = |version| OperatorRequest::Recover {
        partition: PARTITION,
        survivors: vec![NodeId(1)],
        version,
    };
    assert_eq!(rig.operate(0, recover(status.version)), Ok(()));
    run_until_settled(&mut rig, &[1]);
    let client = Mounted::after(&mut rig, MountId(2), mark(39));
    client.grow(&mut rig, 40, 10);
    let newest = rig.partition().version;
    assert!(newest > status.version);
    let outdated = Err(OperatorRefusal::Outdated { newest });
    assert_eq!(rig.operate(0, recover(status.version)), outdated);
}

#[test]
fn a_server_whose_quorum_does_not_answer_steps_down() {
    let mut rig = Rig::new(3);
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 10);
    for index in (0..3).filter(|index| *index != client.owner) {
        rig.hang_disk(index);
    }
    // Connected, alive, and their disks never answer.
    client.append(&mut rig, 10, &[(mark(9), 1)]);
    rig.run(Duration::from_secs(9));
    assert_eq!(rig.heard.len(), 0, "{:?}", rig.heard);
    rig.run(Duration::from_secs(2));
    let ended = |(reply, _): &(ServerReply, Bytes)| {
        matches!(reply, ServerReply::Unmounted { reason: MountRefusal::SessionEnded, .. })
    };
    assert!(rig.heard.iter().any(ended), "the client is told: {:?}", rig.heard);
}

#[test]
fn a_session_whose_replicas_do_not_answer_is_begun_anew() {
    let mut rig = Rig::with(3, 3, |_| {});
    for index in [1, 2] {
        rig.hang_disk(index);
    }
    rig.run(Duration::from_secs(8));
    let first = rig.partition();
    assert!(!first.open && first.session.is_some(), "{first:?}");
    rig.run(Duration::from_secs(8));
    let second = rig.partition();
    assert!(!second.open && second.session > first.session, "{second:?}");
    for index in [1, 2] {
        rig.free_disk(index);
    }
    rig.run(Duration::from_secs(12));
    assert!(rig.partition().open);
}

#[test]
fn wrong_wishes_are_refused_by_name() {
    let mut rig = Rig::with(5, 3, |config| config.roles.storage = config.node != NodeId(4));
    rig.run(Duration::from_secs(3));
    let cases = [
        (set_replicas(&[]), OperatorRefusal::NoReplicas),
        (set_replicas(&[1, 1]), OperatorRefusal::Repeated { node: NodeId(1) }),
        (set_replicas(&[1, 4]), OperatorRefusal::NoDisk { node: NodeId(4) }),
        (set_replicas(&[1, 9]), OperatorRefusal::UnknownNode { node: NodeId(9) }),
        (set_replicas(&[3, 2, 1]), OperatorRefusal::Unchanged),
        (advance("", 1), OperatorRefusal::ConsumerName { most: 64 }),
    ];
    for (request, refusal) in cases {
        assert_eq!(rig.operate(1, request), Err(refusal));
    }
    let partition = PartitionId(1);
    let unknown = OperatorRequest::SetReplicas { partition, nodes: vec![NodeId(1)] };
    assert_eq!(rig.operate(2, unknown), Err(OperatorRefusal::UnknownPartition { partition }));
}
