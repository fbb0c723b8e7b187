//! The nodes, what joins them, and a client.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use waltz_core::id::*;
use waltz_core::io::{Address, ConnectionId, Effect, Input, Ticket};
use waltz_core::journal::{Entry, Place};
use waltz_core::limits::Limits;
use waltz_core::lock::LockId;
use waltz_core::membership::ControllerConfig;
use waltz_core::node::{CoordinatorAt, Node, NodeConfig, Recovered};
use waltz_core::planted::Planted;
use waltz_core::record::NewRecord;
use waltz_core::recorder::{Recorder, Recording};
use waltz_core::time::Time;
use waltz_core::wire::*;

const CLUSTER: ClusterKey = ClusterKey(7);
const CLIENT: ClientId = ClientId(99);
/// So few that a recorder soon drops its oldest inputs.
const GENERATION_BYTES: usize = 16 << 10;

/// One node with a journal that is durable as soon as its thread would be.
struct Host {
    config: NodeConfig,
    /// `None`: it was killed.
    node: Option<Recorded>,
    bodies: Vec<Bytes>,
    inputs: VecDeque<Input>,
    wake_at: Option<Time>,
    accepted: u64,
    /// Whether its disk answers, and what it owes if it does not.
    syncs: bool,
    owed: (Option<Ticket>, Vec<(Ticket, Place)>),
}

/// A node and its flight recorder.
struct Recorded {
    node: Node,
    recorder: Recorder,
}

/// The other end of a connection: a node's, or the client's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum End {
    Node(usize, ConnectionId),
    Client(u64),
}

pub(crate) struct Rig {
    hosts: Vec<Host>,
    ends: BTreeMap<End, End>,
    now: Time,
    /// What the client was told.
    pub(crate) heard: Vec<(ServerReply, Bytes)>,
    /// What nodes told their operators.
    pub(crate) reports: Vec<String>,
    calls: u64,
}

fn address(index: usize) -> Address {
    Address(format!("node-{index}"))
}

impl Rig {
    /// Nodes 1 to `nodes`, and a partition with a replica on each.
    pub(crate) fn new(nodes: usize) -> Self {
        Self::with(nodes, nodes, |_| {})
    }

    /// Nodes 1 to `nodes`, and a partition with replicas on the first of them.
    pub(crate) fn with(nodes: usize, replicas: usize, tune: impl Fn(&mut NodeConfig)) -> Self {
        let hosts = (0..nodes).map(|index| {
            let shape = ControllerConfig::new(1, replicas as u32, replicas as u32).unwrap();
            let coordinator = match index {
                0 => CoordinatorAt::Here(shape),
                _ => CoordinatorAt::Remote(address(0)),
            };
            let name = NodeId(index as u32 + 1);
            let mut config = NodeConfig::new(name, CLUSTER, address(index), coordinator);
            tune(&mut config);
            Host {
                config,
                node: None,
                bodies: Vec::new(),
                inputs: VecDeque::new(),
                wake_at: None,
                accepted: 0,
                syncs: true,
                owed: (None, Vec::new()),
            }
        });
        let mut rig = Self {
            hosts: hosts.collect(),
            ends: BTreeMap::new(),
            now: Time(1),
            heard: Vec::new(),
            reports: Vec::new(),
            calls: 0,
        };
        for index in 0..nodes {
            rig.boot(index, index as u64);
        }
        rig
    }

    /// Starts a node on an empty disk.
    pub(crate) fn boot(&mut self, index: usize, disk: u64) {
        let host = &mut self.hosts[index];
        let recovered = Recovered::new(Limits::default(), Planted::NONE);
        let node = Node::new(host.config.clone(), recovered, StorageId(disk), disk);
        let recorder = Recorder::new(&node, GENERATION_BYTES);
        host.node = Some(Recorded { node, recorder });
        host.bodies.clear();
        host.inputs = [Input::Timer].into();
    }

    /// A node speaks the newest version of the protocol when it is booted next.
    pub(crate) fn upgrade(&mut self, index: usize) {
        self.hosts[index].config.newest = Version::NEWEST;
    }

    /// A node speaks no newer version of the protocol than this when it is booted next.
    pub(crate) fn hold_back(&mut self, index: usize, newest: Version) {
        self.hosts[index].config.newest = newest;
    }

    /// Kills a node: nobody hears of it again, until it is booted.
    pub(crate) fn kill(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.node = None;
        host.inputs.clear();
        host.wake_at = None;
        let ours = |end: &End| matches!(end, End::Node(at, _) if *at == index);
        let cut: Vec<_> = self.ends.iter().filter(|(a, b)| ours(a) || ours(b)).collect();
        let cut: Vec<_> = cut.into_iter().map(|(a, b)| (*a, *b)).collect();
        for (near, _) in cut {
            self.ends.remove(&near);
            if !ours(&near) {
                self.closed(near);
            }
        }
    }

    /// A node's disk answers no more.
    pub(crate) fn hang_disk(&mut self, index: usize) {
        self.hosts[index].syncs = false;
    }

    /// It answers again, with everything that it owes.
    pub(crate) fn free_disk(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.syncs = true;
        let (owed, places) = std::mem::take(&mut host.owed);
        if let Some(up_to) = owed {
            host.inputs.push_back(Input::Durable { up_to, places });
        }
    }

    /// The nodes that are alive.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.recorded().map(|recorded| &recorded.node)
    }

    /// The nodes that are alive, each with its recording.
    pub(crate) fn recordings(&self) -> impl Iterator<Item = (&Node, Recording)> {
        self.recorded().map(|Recorded { node, recorder }| {
            (node, Recording::decode(&recorder.encode(Some(node))).unwrap())
        })
    }

    fn recorded(&self) -> impl Iterator<Item = &Recorded> {
        self.hosts.iter().filter_map(|host| host.node.as_ref())
    }

    fn closed(&mut self, end: End) {
        if let End::Node(index, conn) = end {
            let reason = "cut".to_owned();
            self.hosts[index].inputs.push_back(Input::Closed { conn, reason });
        }
    }

    /// Runs for a while of virtual time.
    pub(crate) fn run(&mut self, duration: Duration) {
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
        let recorded = host.node.as_mut().expect("a dead node has no inputs");
        for input in host.inputs.drain(..).chain([Input::EndOfTurn]) {
            recorded.recorder.step(&mut recorded.node, self.now, input, &mut effects);
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
        let host = &mut self.hosts[index];
        match durable {
            Some(up_to) if host.syncs => {
                host.inputs.push_back(Input::Durable { up_to, places });
            }
            Some(up_to) => {
                host.owed.0 = Some(up_to);
                host.owed.1.extend(places);
            }
            None => {}
        }
    }

    fn on_network(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Connect { conn, address: to } => {
                let to = (0..self.hosts.len()).find(|index| address(*index) == to).unwrap();
                if self.hosts[to].node.is_none() {
                    return self.closed(End::Node(index, conn));
                }
                let there = self.accept(to, End::Node(index, conn));
                self.ends.insert(End::Node(index, conn), there);
                self.hosts[index].inputs.push_back(Input::Opened { conn, identity: None });
            }
            Effect::Send { conn, frame } => self.send(End::Node(index, conn), frame),
            Effect::Close { conn, .. } => {
                if let Some(there) = self.ends.remove(&End::Node(index, conn)) {
                    self.ends.remove(&there);
                    self.closed(there);
                }
            }
            Effect::WakeAt(time) => self.hosts[index].wake_at = Some(time),
            Effect::Report(report) => self.reports.push(report.text),
            Effect::LiftBounds { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }

    fn send(&mut self, from: End, frame: Frame) {
        let Some(to) = self.ends.get(&from) else { return };
        match (*to, from) {
            (End::Node(to, conn), _) => {
                self.hosts[to].inputs.push_back(Input::Received { conn, frame });
            }
            (End::Client(_), End::Client(_)) => unreachable!("clients don't meet"),
            (End::Client(_), End::Node(index, conn)) => {
                let head = Message::decode(&frame.head).unwrap();
                let (message, payload) = head.open(frame.payload).unwrap();
                match message {
                    Message::Server(reply) => self.heard.push((reply, payload)),
                    Message::Welcome(_) => {}
                    Message::Ping => {
                        let frame = Message::Pong.frame();
                        self.hosts[index].inputs.push_back(Input::Received { conn, frame });
                    }
                    other => panic!("the client heard {other:?}"),
                }
            }
        }
    }

    fn accept(&mut self, index: usize, from: End) -> End {
        let host = &mut self.hosts[index];
        let conn = ConnectionId::accepted(host.accepted);
        host.accepted += 1;
        host.inputs.push_back(Input::Opened { conn, identity: None });
        self.ends.insert(End::Node(index, conn), from);
        End::Node(index, conn)
    }

    /// Connects the client to a node and says hello.
    pub(crate) fn dial(&mut self, index: usize) -> ConnectionId {
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

    pub(crate) fn ask(
        &mut self,
        index: usize,
        conn: ConnectionId,
        request: ClientRequest,
        payload: Bytes,
    ) {
        let frame = Message::Client(request).with(payload);
        self.hosts[index].inputs.push_back(Input::Received { conn, frame });
        self.run(Duration::from_millis(20));
    }

    /// Asks a node for what an operator wants.
    pub(crate) fn operate(
        &mut self,
        index: usize,
        request: OperatorRequest,
    ) -> Result<(), OperatorRefusal> {
        self.calls += 1;
        let call = self.calls;
        let conn = self.dial(index);
        self.ask(index, conn, ClientRequest::Operate { call, request }, Bytes::new());
        self.run(Duration::from_millis(500));
        let answer = |(reply, _): &(ServerReply, Bytes)| match reply {
            ServerReply::Operated { call: answered, result } if *answered == call => {
                Some(result.clone())
            }
            _ => None,
        };
        self.heard.iter().find_map(answer).expect("an operator is answered")
    }

    /// How a node says it is.
    pub(crate) fn status(&mut self, index: usize) -> NodeStatus {
        self.calls += 1;
        let call = self.calls;
        let conn = self.dial(index);
        self.ask(index, conn, ClientRequest::Status { call }, Bytes::new());
        let answer = |(reply, _): &(ServerReply, Bytes)| match reply {
            ServerReply::Status { call: answered, status } if *answered == call => {
                Some(status.clone())
            }
            _ => None,
        };
        self.heard.iter().find_map(answer).expect("a node tells how it is")
    }

    /// What a node knows and keeps.
    pub(crate) fn inspect(&mut self, index: usize) -> NodeInspection {
        self.calls += 1;
        let call = self.calls;
        let conn = self.dial(index);
        self.ask(index, conn, ClientRequest::Inspect { call }, Bytes::new());
        let answer = |(reply, _): &(ServerReply, Bytes)| match reply {
            ServerReply::Inspected { call: answered, inspection } if *answered == call => {
                Some(inspection.clone())
            }
            _ => None,
        };
        self.heard.iter().find_map(answer).expect("a node tells what it keeps")
    }

    /// The only partition as its server sees it.
    pub(crate) fn partition(&mut self) -> PartitionStatus {
        let view = self.status(0).cluster;
        let owner = view.partitions[0].owner.unwrap().0 as usize - 1;
        self.status(owner).partitions.remove(0)
    }
}

/// The client's mount of the only partition, ready for appends.
pub(crate) struct Mounted {
    pub(crate) owner: usize,
    pub(crate) conn: ConnectionId,
    pub(crate) partition: PartitionId,
    generation: Generation,
    pub(crate) session: SessionId,
    mount: MountId,
}

impl Mounted {
    /// Runs until the cluster is formed, and mounts at the partition's server.
    pub(crate) fn new(rig: &mut Rig) -> Self {
        rig.run(Duration::from_secs(3));
        Self::after(rig, MountId(1), Mark::NONE)
    }

    /// Mounts at the partition's server with everything up to `after` applied.
    pub(crate) fn after(rig: &mut Rig, mount: MountId, after: Mark) -> Self {
        let (owner, conn, partition, generation) = Self::ask(rig, mount, after);
        let ready = |(reply, _): &(ServerReply, Bytes)| match reply {
            ServerReply::Ready { session, mount: ready, .. } if *ready == mount => Some(*session),
            _ => None,
        };
        let session = rig.heard.iter().find_map(ready).expect("the mount is ready");
        Self { owner, conn, partition, generation, session, mount }
    }

    /// Mounts, and tells why that was refused.
    pub(crate) fn refused(rig: &mut Rig, mount: MountId, after: Mark) -> MountRefusal {
        Self::ask(rig, mount, after);
        let refused = |(reply, _): &(ServerReply, Bytes)| match reply {
            ServerReply::Unmounted { mount: refused, reason, .. } if *refused == mount => {
                Some(reason.clone())
            }
            _ => None,
        };
        rig.heard.iter().find_map(refused).expect("the mount is refused")
    }

    fn ask(
        rig: &mut Rig,
        mount: MountId,
        after: Mark,
    ) -> (usize, ConnectionId, PartitionId, Generation) {
        let view = rig.status(0).cluster;
        let PartitionView { partition, generation, owner, .. } = view.partitions[0];
        let owner = owner.unwrap().0 as usize - 1;
        let conn = rig.dial(owner);
        let (mode, credit) = (FeedMode::Records, 1 << 20);
        let mount = ClientRequest::Mount { partition, generation, mount, after, mode, credit };
        rig.ask(owner, conn, mount, Bytes::new());
        (owner, conn, partition, generation)
    }

    /// Appends records, each computed at a mark and writing a lock, and returns what is answered.
    pub(crate) fn append(
        &self,
        rig: &mut Rig,
        first: u64,
        records: &[(Mark, u64)],
    ) -> Vec<(ServerReply, Bytes)> {
        let Self { owner, conn, partition, generation, session, mount } = *self;
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
        let append = ClientRequest::Append { partition, mount, session, count };
        rig.heard.clear();
        rig.ask(owner, conn, append, payload.freeze());
        std::mem::take(&mut rig.heard)
    }

    /// Appends so many records that conflict with nothing; all of them are committed.
    pub(crate) fn grow(&self, rig: &mut Rig, first: u64, count: u64) {
        let applied = Mark::before(TransactionId(first));
        let records: Vec<_> = (first..first + count).map(|lock| (applied, lock)).collect();
        let heard = self.append(rig, first, &records);
        let fed = heard.iter().map(|(reply, _)| match reply {
            ServerReply::Feed { count, .. } => u64::from(*count),
            _ => 0,
        });
        assert_eq!(fed.sum::<u64>(), count, "{heard:?}");
    }
}
