//! A whole append through the machines alone: a client, three nodes, a quorum, and back on the
//! feed. Network and disks are perfect and take no time, so what is left is what deciding costs,
//! on all four sides together.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use waltz_core::client::{
    CallId, ClientConfig, ClientEffect, ClientInput, ClientMachine, Draft, Patience, Start,
};
use waltz_core::id::{ClientId, ClusterKey, Mark, NodeId, PartitionId, StorageId};
use waltz_core::io::{Address, ConnectionId, Effect, Input};
use waltz_core::journal::Place;
use waltz_core::limits::Limits;
use waltz_core::lock::LockId;
use waltz_core::membership::ControllerConfig;
use waltz_core::node::{CoordinatorAt, Node, NodeConfig, Recovered};
use waltz_core::planted::Planted;
use waltz_core::time::Time;

const CLUSTER: ClusterKey = ClusterKey(7);
const PARTITION: PartitionId = PartitionId(0);
const NODES: usize = 3;
const TICK: Duration = Duration::from_millis(1);
/// A cluster forms in less virtual time than this.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node, and what is on its way to it. Its journal is durable at the end of each turn.
struct Host {
    node: Node,
    inputs: VecDeque<Input>,
    wake_at: Option<Time>,
    accepted: u64,
}

struct Customer {
    machine: ClientMachine,
    inputs: VecDeque<ClientInput>,
    wake_at: Option<Time>,
    /// Whether it knows the partition, so that appends may be called.
    attached: bool,
    applied: Mark,
    calls: u64,
    committed: u64,
}

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Node(usize, ConnectionId),
    Client(ConnectionId),
}

struct Rig {
    hosts: Vec<Host>,
    customer: Customer,
    /// The other end of each end.
    ends: BTreeMap<End, End>,
    now: Time,
    data: Bytes,
}

fn address(index: usize) -> Address {
    Address(format!("node-{index}"))
}

fn host(index: usize) -> Host {
    let shape = ControllerConfig::new(1, NODES as u32, NODES as u32).expect("it can be");
    let coordinator = match index {
        0 => CoordinatorAt::Here(shape),
        _ => CoordinatorAt::Remote(address(0)),
    };
    let name = NodeId(index as u32 + 1);
    let config = NodeConfig::new(name, CLUSTER, address(index), coordinator);
    let recovered = Recovered::new(Limits::default(), Planted::NONE);
    let node = Node::new(config, recovered, StorageId(index as u64), index as u64);
    Host { node, inputs: [Input::Timer].into(), wake_at: None, accepted: 0 }
}

impl Rig {
    /// A cluster that takes appends of so many bytes.
    fn new(data_bytes: usize) -> Self {
        let config = ClientConfig::new((0..NODES).map(|index| address(index).0));
        let customer = Customer {
            machine: ClientMachine::new(ClientId(1), config, 1),
            inputs: [ClientInput::Timer].into(),
            wake_at: None,
            attached: false,
            applied: Mark::NONE,
            calls: 0,
            committed: 0,
        };
        let hosts = (0..NODES).map(host).collect();
        let data = Bytes::from(vec![7; data_bytes]);
        let mut rig = Self { hosts, customer, ends: BTreeMap::new(), now: Time(1), data };
        rig.run_until(|customer| customer.attached);
        rig.append(1);
        rig
    }

    /// Takes turns, and lets time pass where none is left to be taken, until it is so.
    fn run_until(&mut self, is_so: impl Fn(&Customer) -> bool) {
        let until = self.now + PATIENCE;
        self.settle();
        while !is_so(&self.customer) {
            assert!(self.now < until, "the cluster does not get anywhere");
            self.tick();
            self.settle();
        }
    }

    /// Appends so many records, each under a lock of its own, and waits until the client has
    /// applied them all.
    fn append(&mut self, records: u64) {
        let target = self.customer.committed + records;
        for _ in 0..records {
            let call = self.customer.calls;
            self.customer.calls += 1;
            let writes = vec![LockId::new("account", call)];
            let draft = Draft { writes, data: self.data.clone(), ..Draft::default() };
            self.customer.inputs.push_back(ClientInput::Append {
                call: CallId(call),
                partition: PARTITION,
                draft,
                at: Some(self.customer.applied),
                patience: Patience::default(),
            });
        }
        self.run_until(|customer| customer.committed >= target);
    }

    /// Takes turns until nothing is on its way.
    fn settle(&mut self) {
        loop {
            let mut busy = false;
            if !self.customer.inputs.is_empty() {
                self.customer_turn();
                busy = true;
            }
            for index in 0..NODES {
                if !self.hosts[index].inputs.is_empty() {
                    self.turn(index);
                    busy = true;
                }
            }
            if !busy {
                return;
            }
        }
    }

    fn tick(&mut self) {
        self.now = self.now + TICK;
        let now = self.now;
        for host in &mut self.hosts {
            if host.wake_at.take_if(|time| *time <= now).is_some() {
                host.inputs.push_back(Input::Timer);
            }
        }
        if self.customer.wake_at.take_if(|time| *time <= now).is_some() {
            self.customer.inputs.push_back(ClientInput::Timer);
        }
    }

    fn turn(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let mut effects = Vec::new();
        for input in host.inputs.drain(..).chain([Input::EndOfTurn]) {
            host.node.step(self.now, input, &mut effects);
        }
        let (mut durable, mut places) = (None, Vec::new());
        for effect in effects {
            match effect {
                Effect::Append { entry, ticket } => {
                    durable = Some(ticket);
                    if !entry.body.is_empty() {
                        let length = entry.body.len() as u32;
                        places.push((ticket, Place { segment: 1, offset: 0, length }));
                    }
                }
                Effect::Connect { conn, address } => self.connect(End::Node(index, conn), &address),
                Effect::Send { conn, frame } => match self.ends[&End::Node(index, conn)] {
                    End::Node(to, conn) => {
                        self.hosts[to].inputs.push_back(Input::Received { conn, frame });
                    }
                    End::Client(conn) => {
                        let received = ClientInput::Received { conn, frame };
                        self.customer.inputs.push_back(received);
                    }
                },
                Effect::WakeAt(time) => self.hosts[index].wake_at = Some(time),
                Effect::Report(_) => {}
                other => panic!("a node of a perfect world wants {other:?}"),
            }
        }
        if let Some(up_to) = durable {
            self.hosts[index].inputs.push_back(Input::Durable { up_to, places });
        }
    }

    fn customer_turn(&mut self) {
        let Customer { machine, inputs, .. } = &mut self.customer;
        let mut effects = Vec::new();
        for input in inputs.drain(..).chain([ClientInput::EndOfTurn]) {
            machine.step(self.now, input, &mut effects);
        }
        for effect in effects {
            match effect {
                ClientEffect::Connect { conn, address } => {
                    self.connect(End::Client(conn), &address);
                }
                ClientEffect::Send { conn, frame } => {
                    let End::Node(to, conn) = self.ends[&End::Client(conn)] else {
                        unreachable!("a client dials nodes")
                    };
                    self.hosts[to].inputs.push_back(Input::Received { conn, frame });
                }
                ClientEffect::WakeAt(time) => self.customer.wake_at = Some(time),
                ClientEffect::Begin { attachment } => {
                    let start = Ok(Start::After(Mark::NONE));
                    let began = ClientInput::Began { attachment, start };
                    self.customer.inputs.push_back(began);
                }
                ClientEffect::Apply { attachment, runs, owned } => {
                    self.customer.committed += owned.len() as u64;
                    let mark = runs.last().map_or(self.customer.applied, |run| run.last());
                    self.customer.applied = mark;
                    let applied = ClientInput::Applied { attachment, mark, failed: false };
                    self.customer.inputs.push_back(applied);
                }
                ClientEffect::Attached { .. } => self.customer.attached = true,
                ClientEffect::Report(_) | ClientEffect::Formed { .. } => {}
                other => panic!("a client of a perfect world wants {other:?}"),
            }
        }
    }

    fn connect(&mut self, from: End, to: &Address) {
        let index = (0..NODES).find(|index| address(*index) == *to).expect("a node's address");
        let host = &mut self.hosts[index];
        let conn = ConnectionId::accepted(host.accepted);
        host.accepted += 1;
        host.inputs.push_back(Input::Opened { conn, identity: None });
        let there = End::Node(index, conn);
        self.ends.insert(from, there);
        self.ends.insert(there, from);
        match from {
            End::Node(index, conn) => {
                self.hosts[index].inputs.push_back(Input::Opened { conn, identity: None })
            }
            End::Client(conn) => self.customer.inputs.push_back(ClientInput::Opened { conn }),
        }
    }
}

fn append(criterion: &mut Criterion) {
    for (name, data_bytes) in [("100 B", 100), ("1 KiB", 1024)] {
        let mut group = criterion.benchmark_group(format!("append/{name}"));
        for records in [1, 64] {
            let mut rig = Rig::new(data_bytes);
            group.throughput(Throughput::Elements(records));
            group.bench_function(format!("{records} at a time"), |bencher| {
                bencher.iter(|| rig.append(records));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, append);
criterion_main!(benches);
