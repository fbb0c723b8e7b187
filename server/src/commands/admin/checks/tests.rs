//! A cluster of three nodes in which everything holds, and one thing after the other that does not.

use std::collections::BTreeSet;

use waltz_client::{
    Address, ClientError, ClusterView, Mark, NodeId, NodeInspection, NodeRegistration, NodeStatus,
    NodeView, PartitionId, PartitionStatus, PartitionView, ReplicaInspection, ReplicaStatus,
    TransactionId,
};
use waltz_core::id::{CreationId, Generation, Member, ReplicaSet, SetVersion, StorageId};
use waltz_core::membership::{Cluster, Locality, Operations};

use super::*;

/// What a check is called, and what makes it find something.
type Case<'a> = (&'static str, &'a dyn Fn(&mut Survey));

const OWNER: NodeId = NodeId(1);

fn member(node: u32) -> Member {
    Member { node: NodeId(node), storage: StorageId(node.into()) }
}

fn set() -> ReplicaSet {
    ReplicaSet((1..=3).map(member).collect())
}

fn replica(node: u32) -> ReplicaStatus {
    ReplicaStatus {
        node: NodeId(node),
        storage: Some(StorageId(node.into())),
        counts: true,
        state: "joined".to_owned(),
        last: Mark::at(TransactionId(99)),
        low_water: Mark::at(TransactionId(99)),
        damaged: 0,
        wiped: false,
    }
}

/// Partition 0 on nodes 1 to 3, served by node 1; node 4 has nothing.
fn healthy() -> Survey {
    let node = |number: u32| NodeView {
        node: NodeId(number),
        address: Address(format!("host-{number}:1")),
        live: true,
        storage: Some(StorageId(number.into())),
    };
    let partition = PartitionView {
        partition: PartitionId(0),
        generation: Generation(1),
        owner: Some(OWNER),
        version: SetVersion(2),
        replicas: set(),
    };
    let view = ClusterView { partitions: vec![partition], nodes: (1..=4).map(node).collect() };
    let served = PartitionStatus {
        partition: PartitionId(0),
        session: None,
        open: true,
        committed: Mark::at(TransactionId(99)),
        start: Mark::NONE,
        version: SetVersion(2),
        members: set(),
        target: Some(set()),
        replicas: (1..=3).map(replica).collect(),
        consumers: Vec::new(),
    };
    let status = |number: u32| NodeStatus {
        node: NodeId(number),
        cluster: view.clone(),
        partitions: if NodeId(number) == OWNER { vec![served.clone()] } else { Vec::new() },
        coordinator: true,
    };
    let answers = (1..=4).map(|number| (NodeId(number), Ok(status(number)))).collect();
    Survey { view, answers }
}

fn status(survey: &mut Survey, node: u32) -> &mut NodeStatus {
    let answer = survey.answers.get_mut(&NodeId(node)).expect("it was asked");
    answer.as_mut().expect("it answered")
}

fn served(survey: &mut Survey) -> &mut PartitionStatus {
    &mut status(survey, OWNER.0).partitions[0]
}

/// What the nodes keep; nodes 1 and 2 are in one zone, 3 and 4 in another.
fn inspections() -> Inspections {
    let zone = |number: u32| Some(if number < 3 { "a" } else { "b" }.to_owned());
    let registration = |number: u32| NodeRegistration {
        node: NodeId(number),
        address: None,
        live: true,
        server: true,
        storage: Some(StorageId(number.into())),
        used: true,
        locality: Locality { zone: zone(number), ..Locality::default() },
        operations: Operations::default(),
        preferred: BTreeSet::new(),
    };
    let replica = ReplicaInspection {
        partition: PartitionId(0),
        creation: CreationId(7),
        promise: None,
        normal: None,
        start: Mark::NONE,
        last: Mark::at(TransactionId(99)),
        low_water: Mark::at(TransactionId(99)),
        version: SetVersion(2),
        members: set(),
        damaged: 0,
    };
    let inspection = |number: u32| NodeInspection {
        node: NodeId(number),
        storage: Some(StorageId(number.into())),
        suspect: false,
        coordinator: true,
        cluster: Some(Cluster { partitions: 1, replicas: 3 }),
        controller: None,
        nodes: (1..=4).map(registration).collect(),
        regions: Vec::new(),
        generations: Vec::new(),
        replicas: if number < 4 { vec![replica.clone()] } else { Vec::new() },
    };
    (1..=4).map(|number| (NodeId(number), Ok(inspection(number)))).collect()
}

/// The checks that don't pass, after a change.
fn found(change: impl FnOnce(&mut Survey)) -> Vec<(&'static str, Outcome)> {
    let mut survey = healthy();
    change(&mut survey);
    bad(&survey, &inspections())
}

/// The checks that don't pass, after a change of what one node keeps or knows.
fn kept(node: u32, change: impl FnOnce(&mut NodeInspection)) -> Vec<(&'static str, Outcome)> {
    let mut inspections = inspections();
    let answer = inspections.get_mut(&NodeId(node)).expect("it was asked");
    change(answer.as_mut().expect("it answered"));
    bad(&healthy(), &inspections)
}

fn bad(survey: &Survey, inspections: &Inspections) -> Vec<(&'static str, Outcome)> {
    let checks = check(survey, inspections, 50);
    let bad = checks.into_iter().filter(|check| check.outcome != Outcome::Pass);
    bad.map(|check| (check.name, check.outcome)).collect()
}

#[test]
fn a_cluster_in_which_everything_holds_passes() {
    assert_eq!(found(|_| ()), []);
}

#[test]
fn each_thing_that_does_not_hold_fails_its_check() {
    let replica = |survey: &mut Survey, change: fn(&mut ReplicaStatus)| {
        change(&mut served(survey).replicas[2]);
    };
    let cases: [Case<'_>; 9] = [
        ("coordinator reached", &|survey| status(survey, 2).coordinator = false),
        ("nodes agree", &|survey| {
            status(survey, 2).cluster.partitions[0].generation = Generation(7);
        }),
        ("partitions are open", &|survey| served(survey).open = false),
        ("replica sets are recorded", &|survey| served(survey).version = SetVersion(1)),
        ("all replicas have joined", &|survey| replica(survey, |r| r.state = "copying".into())),
        ("disks keep what they had", &|survey| replica(survey, |r| r.wiped = true)),
        ("nothing is damaged", &|survey| replica(survey, |r| r.damaged = 1)),
        ("replicas keep up", &|survey| replica(survey, |r| r.last = Mark::at(TransactionId(9)))),
        ("nodes answer", &|survey| {
            survey.answers.remove(&NodeId(2));
        }),
    ];
    for (name, change) in cases {
        assert_eq!(found(|survey| change(survey)), [(name, Outcome::Fail)]);
    }
}

#[test]
fn without_a_majority_the_quorum_fails_too() {
    let lose = |survey: &mut Survey| {
        for replica in &mut served(survey).replicas[1..] {
            replica.state = "unreachable".to_owned();
        }
    };
    let expected =
        [("quorums have joined", Outcome::Fail), ("all replicas have joined", Outcome::Fail)];
    assert_eq!(found(lose), expected);
}

#[test]
fn what_may_be_meant_is_warned_of() {
    let cases: [Case<'_>; 3] = [
        ("replica sets are recorded", &|survey| served(survey).version = SetVersion(3)),
        ("no move is pending", &|survey| {
            served(survey).target = Some(ReplicaSet(vec![member(4)]));
        }),
        ("owners serve", &|survey| {
            let copy = served(survey).clone();
            status(survey, 2).partitions.push(copy);
        }),
    ];
    for (name, change) in cases {
        assert_eq!(found(|survey| change(survey)), [(name, Outcome::Warn)]);
    }
}

#[test]
fn a_node_that_is_down_matters_by_what_it_keeps() {
    let down = |number: u32| {
        move |survey: &mut Survey| {
            survey.view.nodes[number as usize - 1].live = false;
            let view = survey.view.clone();
            survey.answers.remove(&NodeId(number));
            for answer in survey.answers.values_mut().flatten() {
                answer.cluster = view.clone();
            }
        }
    };
    assert_eq!(found(down(4)), [("nodes answer", Outcome::Warn)]);
    assert_eq!(found(down(3)), [("nodes answer", Outcome::Fail)]);
}

#[test]
fn what_disks_and_records_say_counts_too() {
    let figures = kept(2, |it| it.cluster = Some(Cluster { partitions: 2, replicas: 3 }));
    assert_eq!(figures, [("figures agree", Outcome::Fail)]);
    assert_eq!(kept(2, |it| it.suspect = true), [("journals are sound", Outcome::Fail)]);
    let lacks = [("members keep their replicas", Outcome::Fail)];
    assert_eq!(kept(2, |it| it.replicas.clear()), lacks);
    assert_eq!(kept(2, |it| it.replicas[0].creation = CreationId(8)), lacks);
    let wiped = kept(2, |it| it.storage = Some(StorageId(22)));
    assert_eq!(wiped, [], "another disk is what servers are asked about");
}

#[test]
fn sets_that_could_be_wider_and_drained_nodes_are_warned_of() {
    let warned = [("replicas are spread", Outcome::Warn)];
    let drained = kept(1, |it| it.nodes[2].operations.storage_drained = true);
    assert_eq!(drained, warned);
    let wider = kept(1, |it| {
        it.nodes[3].locality.zone = Some("c".to_owned());
        it.nodes[2].locality.zone = Some("a".to_owned());
    });
    assert_eq!(wider, warned);
    let mut silent = inspections();
    silent.insert(NodeId(4), Err(ClientError::Closed));
    assert_eq!(bad(&healthy(), &silent), [("nodes tell what they keep", Outcome::Warn)]);
}
