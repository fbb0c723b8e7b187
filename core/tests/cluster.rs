//! Three whole nodes joined by a perfect network and perfect disks, in one thread: the shortest
//! way through everything, from a client's frame to a quorum and back.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use waltz_core::id::*;
use waltz_core::io::{Address, ConnectionId, Effect, Input};
use waltz_core::journal::{Entry, Place};
use waltz_core::limits::Limits;
use waltz_core::lock::LockId;
use waltz_core::membership::ControllerConfig;
use waltz_core::node::{CoordinatorAt, Node, NodeConfig, Recovered};
use waltz_core::planted::Planted;
use waltz_core::record::{NewRecord, Run};
use waltz_core::time::Time;
use waltz_core::wire::*;

const CLUSTER: ClusterKey = ClusterKey(7);
const CLIENT: ClientId = ClientId(99);

/// One node with a journal that is durable as soon as its thread would be.
struct Host {
    node: Node,
    bodies: Vec<Bytes>,
    inputs: VecDeque<Input>,
    wake_at: Option<Time>,
    accepted: u64,
}

/// The other end of a connection: a node's, or the client's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum End {
    Node(usize, ConnectionId),
    Client(u64),
}

struct Rig {
    hosts: Vec<Host>,
    ends: BTreeMap<End, End>,
    now: Time,
    heard: Vec<(ServerReply, Bytes)>,
}

fn address(index: usize) -> Address {
    Address(format!("node-{index}"))
}

impl Rig {
    fn new(nodes: usize) -> Self {
        let hosts = (0..nodes).map(|index| {
            let shape = ControllerConfig::new(1, nodes as u32, nodes as u32).unwrap();
            let coordinator = match index {
                0 => CoordinatorAt::Here(shape),
                _ => CoordinatorAt::Remote(address(0)),
            };
            let name = NodeId(index as u32 + 1);
            let config = NodeConfig::new(name, CLUSTER, address(index), coordinator);
            let recovered = Recovered::new(Limits::default(), Planted::NONE);
            let node = Node::new(config, recovered, StorageId(index as u64), index as u64);
            let inputs = [Input::Timer].into();
            Host { node, bodies: Vec::new(), inputs, wake_at: None, accepted: 0 }
        });
        Self { hosts: hosts.collect(), ends: BTreeMap::new(), now: Time(1), heard: Vec::new() }
    }

    /// Runs for a while of virtual time.
    fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.now < until {
            while let Some(index) = self.hosts.iter().position(|host| !host.inputs.is_empty()) {
                self.turn(index);
            }
            self.now = self.now + Duration::from_millis(1);
            for host in &mut self.hosts {
                if host.wake_at.is_some_and(|time| time <= self.now) {
                    host.wake_at = None;
                    host.inputs.push_back(Input::Timer);
                }
            }
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
                Effect::Append { entry: Entry { body, .. }, ticket } => {
                    let host = &mut self.hosts[index];
                    durable = Some(ticket);
                    if !body.is_empty() {
                        let offset = host.bodies.len() as u32;
                        let length = body.len() as u32;
                        places.push((ticket, Place { segment: 0, offset, length }));
                        host.bodies.push(body);
                    }
                }
                Effect::Read { ticket, places } => {
                    let host = &mut self.hosts[index];
                    let body = |place: &Place| host.bodies[place.offset as usize].clone();
                    let result = Ok(places.iter().map(body).collect());
                    host.inputs.push_back(Input::Read { ticket, result });
                }
                effect => self.on_network(index, effect),
            }
        }
        if let Some(up_to) = durable {
            self.hosts[index].inputs.push_back(Input::Durable { up_to, places });
        }
    }

    fn on_network(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Connect { conn, address: to } => {
                let to = (0..self.hosts.len()).find(|index| address(*index) == to).unwrap();
                let there = self.accept(to, End::Node(index, conn));
                self.ends.insert(End::Node(index, conn), there);
                self.hosts[index].inputs.push_back(Input::Opened { conn });
            }
            Effect::Send { conn, frame } => match self.ends[&End::Node(index, conn)] {
                End::Node(to, conn) => {
                    self.hosts[to].inputs.push_back(Input::Received { conn, frame });
                }
                End::Client(_) => match Message::decode(&frame.head).unwrap() {
                    Message::Server(reply) => self.heard.push((reply, frame.payload)),
                    Message::Welcome(_) => {}
                    Message::Ping => {
                        let conn_of = End::Node(index, conn);
                        let End::Client(_) = self.ends[&conn_of] else { unreachable!() };
                        let frame = Message::Pong.frame();
                        self.hosts[index].inputs.push_back(Input::Received { conn, frame });
                    }
                    other => panic!("the client heard {other:?}"),
                },
            },
            Effect::Close { conn, reason } => panic!("node {index} closed {conn:?}: {reason}"),
            Effect::WakeAt(time) => self.hosts[index].wake_at = Some(time),
            Effect::Report(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }

    fn accept(&mut self, index: usize, from: End) -> End {
        let host = &mut self.hosts[index];
        let conn = ConnectionId::accepted(host.accepted);
        host.accepted += 1;
        host.inputs.push_back(Input::Opened { conn });
        self.ends.insert(End::Node(index, conn), from);
        End::Node(index, conn)
    }

    /// Connects the client to a node and says hello.
    fn dial(&mut self, index: usize) -> ConnectionId {
        let End::Node(_, conn) = self.accept(index, End::Client(index as u64)) else {
            unreachable!("accepting gives a node's end")
        };
        let hello = Hello {
            oldest: Version::OLDEST,
            newest: Version::NEWEST,
            cluster: Some(CLUSTER),
            who: Who::Client(CLIENT),
        };
        let frame = Message::Hello(hello).frame();
        self.hosts[index].inputs.push_back(Input::Received { conn, frame });
        conn
    }

    fn ask(&mut self, index: usize, conn: ConnectionId, request: ClientRequest, payload: Bytes) {
        let frame = Message::Client(request).with(payload);
        self.hosts[index].inputs.push_back(Input::Received { conn, frame });
        self.run(Duration::from_millis(20));
    }
}

/// The client's mount of the only partition, ready for appends.
struct Mounted {
    owner: usize,
    conn: ConnectionId,
    partition: PartitionId,
    generation: Generation,
    session: SessionId,
}

impl Mounted {
    /// Runs until the cluster is formed, and mounts at the partition's server.
    fn new(rig: &mut Rig) -> Self {
        rig.run(Duration::from_secs(3));
        let conn = rig.dial(0);
        rig.ask(0, conn, ClientRequest::Describe, Bytes::new());
        let (ServerReply::Cluster(view), _) = rig.heard.pop().unwrap() else { panic!() };
        assert_eq!(view.nodes.len(), 3);
        let PartitionView { partition, generation, owner } = view.partitions[0];
        let owner = owner.unwrap().0 as usize - 1;
        let conn = rig.dial(owner);
        let mount = ClientRequest::Mount {
            partition,
            generation,
            mount: MountId(1),
            after: Mark::NONE,
            mode: FeedMode::Records,
            credit: 1 << 20,
        };
        rig.ask(owner, conn, mount, Bytes::new());
        let ready = |(reply, _): &(ServerReply, Bytes)| match reply {
            ServerReply::Ready { session, mark: Mark::NONE, .. } => Some(*session),
            _ => None,
        };
        let session = rig.heard.iter().find_map(ready).expect("the mount is ready");
        Self { owner, conn, partition, generation, session }
    }

    /// Appends records, each computed at a mark and writing a lock, and returns what is answered.
    fn append(
        &self,
        rig: &mut Rig,
        first: u64,
        records: &[(Mark, u64)],
    ) -> Vec<(ServerReply, Bytes)> {
        let Self { owner, conn, partition, generation, session } = *self;
        let mut payload = BytesMut::new();
        for (sequence, (computed_at, lock)) in (first..).zip(records) {
            let record = NewRecord {
                req_id: ReqId { client: CLIENT, generation, partition, sequence },
                header: 5,
                computed_at: *computed_at,
                writes: &[LockId::new("account", *lock)],
                reads: &[],
                appends: &[],
                data: b"transfer",
            };
            record.encode(&Limits::default(), &mut payload).unwrap();
        }
        let count = records.len() as u32;
        let append = ClientRequest::Append { partition, mount: MountId(1), session, count };
        rig.heard.clear();
        rig.ask(owner, conn, append, payload.freeze());
        std::mem::take(&mut rig.heard)
    }
}

#[test]
fn a_record_computed_beyond_the_log_is_refused_for_good() {
    let mut rig = Rig::new(3);
    let client = Mounted::new(&mut rig);
    let (none, first) = (Mark::NONE, Mark::at(TransactionId(0)));
    let refusals = |heard: Vec<(ServerReply, Bytes)>| -> Vec<_> {
        let refused = heard.into_iter().filter_map(|(reply, _)| match reply {
            ServerReply::AppendRefused { first, last, reason, .. } => Some((first, last, reason)),
            _ => None,
        });
        refused.collect()
    };
    // The first of the frame is numbered and not committed: the second can't have seen it.
    let heard = client.append(&mut rig, 0, &[(none, 1), (first, 1)]);
    let ahead = |log| AppendRefusal::Ahead { computed_at: first, log };
    assert_eq!(refusals(heard), [(1, 1, ahead(none))]);
    let far = Mark::at(TransactionId(999));
    let heard = client.append(&mut rig, 2, &[(first, 1), (far, 1)]);
    let ahead = AppendRefusal::Ahead { computed_at: far, log: first };
    assert_eq!(refusals(heard), [(3, 3, ahead)]);
}

#[test]
fn an_append_goes_through_everything_and_comes_back_on_the_feed() {
    let mut rig = Rig::new(3);
    let client = Mounted::new(&mut rig);
    let session = client.session;
    let none = Mark::NONE;
    let heard = client.append(&mut rig, 0, &[(none, 0), (none, 1), (none, 0)]);

    let mut fed = Vec::new();
    let mut conflicts = Vec::new();
    for (reply, payload) in heard {
        match reply {
            ServerReply::Feed { first, count, .. } => {
                let run = Run::verify(session, first, count, payload, &Limits::default()).unwrap();
                let records = run.records();
                fed.extend(records.map(|record| (record.id().0, record.req_id().sequence)));
            }
            ServerReply::Conflict { sequence, id, exact, .. } => {
                conflicts.push((sequence, id.0, exact));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(fed, [(0, 0), (1, 1)]);
    assert_eq!(conflicts, [(2, 0, true)], "the third wrote the first's lock without seeing it");

    rig.run(Duration::from_secs(1));
    for host in &rig.hosts {
        let (_, replica) = host.node.storage().replicas().next().unwrap();
        assert_eq!(replica.low_water(), Mark::at(TransactionId(1)), "the idle mark reaches all");
    }
}
