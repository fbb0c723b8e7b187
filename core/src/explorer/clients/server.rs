//! A small cluster as a client sees it: two nodes that serve one partition in turn, and lose what
//! was not committed now and then.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use crate::client::testing::{OTHER, P, mark, records, session, view};
use crate::explorer::draw::Draw;
use crate::id::{Mark, MountId, ReqId, SessionId, TransactionId};
use crate::io::ConnectionId;
use crate::limits::Limits;
use crate::lock::LockId;
use crate::record::{RecordView, append_with_id};
use crate::time::Random;
use crate::wire::{AppendRefusal, ClientRequest, MountRefusal, ServerReply};

/// A cluster of two nodes that serve one partition in turn.
pub(super) struct Server {
    pub(super) random: Random,
    pub(super) log: Vec<(ReqId, Bytes)>,
    /// Sequenced and not committed; lost with the session, now and then.
    sequenced: Vec<(ReqId, Bytes)>,
    generation: u64,
    session: SessionId,
    mount: Option<Served>,
    /// Which node each connection is to.
    pub(super) connections: BTreeMap<ConnectionId, u32>,
    /// What is on its way to the client, in order for each connection.
    pub(super) outgoing: VecDeque<(ConnectionId, ServerReply, Bytes)>,
    /// Nothing fails any more.
    pub(super) calm: bool,
}

/// The client's mount.
#[derive(Debug, Clone, Copy)]
struct Served {
    conn: ConnectionId,
    id: MountId,
    fed: Mark,
    credit: i64,
    ready: bool,
    /// What has to be committed before it is ready.
    drained: u64,
}

impl Server {
    pub(super) fn new(random: Random) -> Self {
        Self {
            random,
            log: Vec::new(),
            sequenced: Vec::new(),
            generation: 1,
            session: session(1),
            mount: None,
            connections: BTreeMap::new(),
            outgoing: VecDeque::new(),
            calm: false,
        }
    }

    /// Whether something fails that does once in so many times.
    pub(super) fn fails(&mut self, one_in: usize) -> bool {
        !self.calm && self.random.chance(one_in)
    }

    pub(super) fn is_mounted(&self) -> bool {
        self.mount.is_some()
    }

    fn owner(&self) -> u32 {
        (self.generation % 2) as u32 + 1
    }

    pub(super) fn committed(&self) -> Mark {
        mark(self.log.len() as u64)
    }

    fn tell(&mut self, conn: ConnectionId, reply: ServerReply) {
        self.outgoing.push_back((conn, reply, Bytes::new()));
    }

    pub(super) fn on_request(
        &mut self,
        conn: ConnectionId,
        request: ClientRequest,
        payload: &Bytes,
    ) {
        let node = self.connections[&conn];
        match request {
            ClientRequest::Describe => {
                self.tell(conn, ServerReply::Cluster(view(self.generation, self.owner())));
            }
            ClientRequest::Mount { mount, generation, after, credit, .. } => {
                if node != self.owner() || generation.0 != self.generation {
                    let reason = MountRefusal::NotOwner;
                    let reply = ServerReply::Unmounted { partition: P, mount, reason };
                    return self.tell(conn, reply);
                }
                assert!(after <= self.committed(), "the client has seen what is not there");
                let drained = (self.log.len() + self.sequenced.len()) as u64;
                let credit = i64::from(credit);
                self.mount =
                    Some(Served { conn, id: mount, fed: after, credit, ready: false, drained });
                let session = self.session;
                self.tell(conn, ServerReply::Mounted { partition: P, mount, session });
            }
            ClientRequest::Credit { mount, bytes, .. } => {
                if let Some(served) = self.mount.as_mut().filter(|served| served.id == mount) {
                    served.credit += i64::from(bytes);
                }
            }
            ClientRequest::Unmount { mount, .. } => {
                self.mount.take_if(|served| served.id == mount && served.conn == conn);
            }
            ClientRequest::Append { mount, session, .. } => {
                let current = self.mount.is_some_and(|served| {
                    served.ready && served.conn == conn && served.id == mount
                });
                let admitted = current && session == self.session;
                self.on_append(conn, mount, admitted, payload);
            }
            ClientRequest::Current { call, .. } => {
                let mark = self.committed();
                self.tell(conn, ServerReply::Current { call, mark });
            }
            ClientRequest::Fetch { .. }
            | ClientRequest::Status { .. }
            | ClientRequest::Inspect { .. }
            | ClientRequest::Authenticate { .. }
            | ClientRequest::Operate { .. } => {}
        }
    }

    fn on_append(&mut self, conn: ConnectionId, mount: MountId, admitted: bool, payload: &Bytes) {
        let mut rest = &payload[..];
        while !rest.is_empty() {
            let (record, after) = RecordView::parse(rest, &Limits::default()).expect("sound");
            rest = after;
            let sequence = record.req_id().sequence;
            let refuse = |reason| ServerReply::AppendRefused {
                partition: P,
                mount,
                first: sequence,
                last: sequence,
                reason,
            };
            if !admitted {
                self.tell(conn, refuse(AppendRefusal::Stale));
            } else if self.fails(10) {
                self.tell(conn, refuse(AppendRefusal::Busy));
            } else if self.fails(5) && !self.log.is_empty() {
                let id = TransactionId(self.random.below(self.log.len()) as u64);
                let lock = LockId(1);
                let conflict =
                    ServerReply::Conflict { partition: P, mount, sequence, id, lock, exact: true };
                self.tell(conn, conflict);
            } else {
                let bytes = Bytes::copy_from_slice(record.bytes());
                self.sequenced.push((record.req_id(), bytes));
            }
        }
    }

    /// Commits some of what is sequenced, other clients' records among it, and feeds.
    pub(super) fn work(&mut self) {
        if self.fails(4) {
            let record = records(0, &[(OTHER, self.random.bits())]);
            let (view, _) = RecordView::parse(&record, &Limits::default()).expect("sound");
            self.sequenced.push((view.req_id(), record.clone()));
        }
        let most = if self.calm { usize::MAX } else { self.random.below(4) };
        let count = self.sequenced.len().min(most);
        self.log.extend(self.sequenced.drain(..count));
        self.feed();
    }

    fn feed(&mut self) {
        let Some(mut served) = self.mount else { return };
        while served.fed < self.committed() && served.credit > 0 {
            let first = served.fed.next();
            let (_, bytes) = &self.log[first.0 as usize];
            let (record, _) = RecordView::parse(bytes, &Limits::default()).expect("sound");
            let mut run = BytesMut::new();
            append_with_id(&record, first, &mut run);
            served.fed = first.mark();
            served.credit -= run.len() as i64;
            let mount = served.id;
            let reply = ServerReply::Feed { partition: P, mount, first, count: 1 };
            self.outgoing.push_back((served.conn, reply, run.freeze()));
        }
        let decided = self.committed().count() >= served.drained;
        if !served.ready && decided && served.fed == self.committed() {
            served.ready = true;
            let (mount, session, mark) = (served.id, self.session, served.fed);
            self.tell(served.conn, ServerReply::Ready { partition: P, mount, session, mark });
        }
        self.mount = Some(served);
    }

    /// Another server takes over: what was not committed is committed or lost, from one on.
    pub(super) fn fail_over(&mut self) {
        let kept = self.random.below(self.sequenced.len() + 1);
        self.log.extend(self.sequenced.drain(..kept));
        self.sequenced.clear();
        self.generation += 1;
        self.session = session(self.generation);
        if let Some(served) = self.mount.take()
            && self.random.chance(2)
        {
            let (mount, reason) = (served.id, MountRefusal::SessionEnded);
            self.tell(served.conn, ServerReply::Unmounted { partition: P, mount, reason });
        }
        let view = view(self.generation, self.owner());
        let connections: Vec<_> = self.connections.keys().copied().collect();
        for conn in connections {
            self.tell(conn, ServerReply::Cluster(view.clone()));
        }
    }

    pub(super) fn drop_connection(&mut self, conn: ConnectionId) {
        self.connections.remove(&conn);
        self.outgoing.retain(|(other, ..)| *other != conn);
        self.mount.take_if(|served| served.conn == conn);
    }
}
