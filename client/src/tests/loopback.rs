//! A runtime whose network is a tiny server: it answers at once and commits everything, unless a
//! lock stands against it.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use waltz_core::id::{
    ClusterKey, Epoch, Generation, Mark, MountId, NodeId, PartitionId, ReplicaSet, SessionId,
    SetVersion, TransactionId,
};
use waltz_core::io::{Address, ConnectionId};
use waltz_core::limits::Limits;
use waltz_core::lock::{LockId, LockKind};
use waltz_core::record::{RecordView, append_with_id};
use waltz_core::time::Time;
use waltz_core::wire::{
    ClientRequest, ClusterView, Frame, Message, NodeStatus, NodeView, OperatorRefusal,
    OperatorRequest, PartitionView, ServerReply, Version, Welcome,
};
use waltz_runtime::{Net, NetEvent, Runtime, Timer};

pub(crate) const P: PartitionId = PartitionId(0);
pub(crate) const CLUSTER: ClusterKey = ClusterKey(1);
const NODE: NodeId = NodeId(1);
const SESSION: SessionId = SessionId { epoch: Epoch(1), server: NODE, nonce: 1 };

#[derive(Clone, Default)]
pub(crate) struct Loopback {
    server: Arc<Mutex<Server>>,
}

#[derive(Default)]
struct Server {
    log: Vec<Bytes>,
    locks: BTreeMap<LockId, TransactionId>,
    mount: Option<(ConnectionId, MountId)>,
    /// Appends are taken and not answered.
    hung: bool,
    /// Tasks begin late.
    dawdling: bool,
    fetches: usize,
    consumers: BTreeMap<String, Mark>,
    events: VecDeque<NetEvent>,
    waker: Option<Waker>,
}

impl Loopback {
    /// From now on appends are swallowed.
    pub(crate) fn hang(&self) {
        self.server().hung = true;
    }

    /// From now on tasks let all others go first.
    pub(crate) fn dawdle(&self) {
        self.server().dawdling = true;
    }

    pub(crate) fn committed(&self) -> usize {
        self.server().log.len()
    }

    pub(crate) fn fetches(&self) -> usize {
        self.server().fetches
    }

    pub(crate) fn consumers(&self) -> BTreeMap<String, Mark> {
        self.server().consumers.clone()
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    fn tell(&mut self, conn: ConnectionId, message: &Message, payload: Bytes) {
        self.events.push_back(NetEvent::Received { conn, frame: message.with(payload) });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn reply(&mut self, conn: ConnectionId, reply: ServerReply) {
        self.tell(conn, &Message::Server(reply), Bytes::new());
    }

    fn mark(&self) -> Mark {
        Mark::before(TransactionId(self.log.len() as u64))
    }

    fn on_frame(&mut self, conn: ConnectionId, frame: &Frame) {
        match Message::decode(&frame.head).expect("a client's message") {
            Message::Hello(_) => {
                let (version, cluster) = (Version::NEWEST, CLUSTER);
                let welcome = Welcome { version, cluster, node: NODE };
                self.tell(conn, &Message::Welcome(welcome), Bytes::new());
            }
            Message::Client(request) => self.on_request(conn, request, &frame.payload),
            other => panic!("a client does not say {other:?}"),
        }
    }

    fn on_request(&mut self, conn: ConnectionId, request: ClientRequest, payload: &Bytes) {
        match request {
            ClientRequest::Describe => self.reply(conn, ServerReply::Cluster(cluster())),
            ClientRequest::Mount { mount, after, .. } => {
                self.mount = Some((conn, mount));
                self.reply(conn, ServerReply::Mounted { partition: P, mount, session: SESSION });
                self.feed(after.next());
                let (session, mark) = (SESSION, self.mark());
                self.reply(conn, ServerReply::Ready { partition: P, mount, session, mark });
            }
            ClientRequest::Append { mount, .. } if !self.hung => {
                self.on_append(conn, mount, payload);
            }
            ClientRequest::Current { call, .. } => {
                let mark = self.mark();
                self.reply(conn, ServerReply::Current { call, mark });
            }
            ClientRequest::Fetch { call, id, .. } => {
                self.fetches += 1;
                let record = self.log[id.0 as usize].clone();
                self.tell(conn, &Message::Server(ServerReply::Fetched { call }), record);
            }
            ClientRequest::Status { call } => {
                let (cluster, partitions) = (cluster(), Vec::new());
                let status = NodeStatus { node: NODE, cluster, partitions, coordinator: true };
                self.reply(conn, ServerReply::Status { call, status });
            }
            ClientRequest::Operate { call, request } => {
                let result = self.on_operator(request);
                self.reply(conn, ServerReply::Operated { call, result });
            }
            ClientRequest::Unmount { .. } => self.mount = None,
            ClientRequest::Append { .. }
            | ClientRequest::Credit { .. }
            | ClientRequest::Inspect { .. }
            | ClientRequest::Authenticate { .. } => {}
        }
    }

    fn on_operator(&mut self, request: OperatorRequest) -> Result<(), OperatorRefusal> {
        match request {
            OperatorRequest::AdvanceConsumer { consumer, mark, .. } => {
                self.consumers.insert(consumer, mark);
                Ok(())
            }
            OperatorRequest::RemoveConsumer { consumer: name, .. } => {
                let removed = self.consumers.remove(&name).map(|_| ());
                removed.ok_or(OperatorRefusal::UnknownConsumer { name })
            }
            _ => Err(OperatorRefusal::NoCoordinator),
        }
    }

    fn on_append(&mut self, conn: ConnectionId, mount: MountId, payload: &Bytes) {
        let first = TransactionId(self.log.len() as u64);
        let mut rest = &payload[..];
        while !rest.is_empty() {
            let (record, after) = RecordView::parse(rest, &Limits::default()).expect("sound");
            rest = after;
            let blocking = record.locks().find_map(|(kind, lock)| {
                let id = *self.locks.get(&lock).filter(|_| kind != LockKind::Append)?;
                (!record.computed_at().includes(id)).then_some((id, lock))
            });
            if let Some((id, lock)) = blocking {
                let sequence = record.req_id().sequence;
                let (partition, exact) = (P, true);
                let conflict =
                    ServerReply::Conflict { partition, mount, sequence, id, lock, exact };
                self.reply(conn, conflict);
                continue;
            }
            let id = TransactionId(self.log.len() as u64);
            for (kind, lock) in record.locks() {
                if kind != LockKind::Read {
                    self.locks.insert(lock, id);
                }
            }
            let mut stored = BytesMut::new();
            append_with_id(&record, id, &mut stored);
            self.log.push(stored.freeze());
        }
        self.feed(first);
    }

    fn feed(&mut self, first: TransactionId) {
        let records = &self.log[first.0 as usize..];
        let (Some((conn, mount)), false) = (self.mount, records.is_empty()) else { return };
        let (payload, count) = (Bytes::from(records.concat()), records.len() as u32);
        let feed = ServerReply::Feed { partition: P, mount, first, count };
        self.tell(conn, &Message::Server(feed), payload);
    }
}

fn cluster() -> ClusterView {
    ClusterView {
        partitions: vec![PartitionView {
            partition: P,
            generation: Generation(1),
            owner: Some(NODE),
            version: SetVersion::FIRST,
            replicas: ReplicaSet(Vec::new()),
        }],
        nodes: vec![NodeView {
            node: NODE,
            address: Address("here".to_owned()),
            live: true,
            storage: None,
        }],
    }
}

/// One client's end of the loopback.
pub(crate) struct LoopbackNet(Loopback);

impl Net for LoopbackNet {
    fn connect(&mut self, conn: ConnectionId, _: &Address) {
        self.0.server().events.push_back(NetEvent::Opened { conn, identity: None });
    }

    fn send(&mut self, conn: ConnectionId, frame: Frame) {
        self.0.server().on_frame(conn, &frame);
    }

    fn close(&mut self, _: ConnectionId) {}

    fn flush(&mut self) {}

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<NetEvent>) -> Poll<()> {
        let mut server = self.0.server();
        if server.events.is_empty() {
            server.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        events.extend(server.events.drain(..));
        Poll::Ready(())
    }
}

/// A clock that stands still.
pub(crate) struct Still;

impl Timer for Still {
    fn now(&self) -> Time {
        Time(1)
    }

    fn poll_until(&mut self, _: &mut Context<'_>, _: Option<Time>) -> Poll<()> {
        Poll::Pending
    }
}

impl Runtime for Loopback {
    type Net = LoopbackNet;
    type Timer = Still;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let turns = if self.server().dawdling { 100 } else { 0 };
        tokio::spawn(async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            task.await;
        });
    }

    fn net(&self) -> LoopbackNet {
        LoopbackNet(self.clone())
    }

    fn timer(&self) -> Still {
        Still
    }

    fn random(&self) -> u64 {
        4
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        work()
    }
}
