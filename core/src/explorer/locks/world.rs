//! One partition's server after another, the one disk that they share, and clients.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::client::Client;
use super::oracle::Oracle;
use crate::explorer::explore::{Broken, ensure};
use crate::id::{ClientId, Epoch, Generation, Mark, NodeId, ReplicaSet, SetVersion, TransactionId};
use crate::io::{Caller, ConnectionId, Context, Tickets};
use crate::limits::Limits;
use crate::locks::{LockConflict, LockWindow};
use crate::log::SetChange;
use crate::partition::mounts::MountsConfig;
use crate::partition::retention::RetentionConfig;
use crate::partition::server::{Outputs, PartitionConfig, PartitionOutput, PartitionServer};
use crate::planted::Planted;
use crate::sequencer::SequencerConfig;
use crate::storage::StorageReply;
use crate::storage::testing::{CREATION, PARTITION, Rig, member};
use crate::time::{Random, Time};
use crate::wire::{ClientRequest, FromReplica, ServerReply, ToReplica, Version};

/// The node that serves and stores.
const NODE: NodeId = NodeId(1);
const CLIENTS: u64 = 3;

/// All of it.
pub(super) struct World {
    pub(super) oracle: Oracle,
    pub(super) clients: BTreeMap<ClientId, Client>,
    pub(super) generation: Generation,
    config: Arc<PartitionConfig>,
    rig: Rig,
    server: PartitionServer,
    now: Time,
    random: Random,
    epoch: Epoch,
    /// On their way between the server and its replica.
    requests: VecDeque<(ToReplica, Bytes)>,
    answers: VecDeque<(FromReplica, Bytes)>,
}

impl World {
    pub(super) fn new(window: LockWindow, seed: u64, planted: Planted) -> Self {
        let limits = Limits::default();
        let config = Arc::new(PartitionConfig {
            sequencer: SequencerConfig { planted, ..SequencerConfig::new(NODE, limits) }.into(),
            retention: RetentionConfig::default(),
            locks: window,
            mounts: MountsConfig { tail_bytes: 300, ..MountsConfig::default() }.into(),
            limits,
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_millis(200),
            patience: Duration::from_secs(1_000_000),
            planted,
        });
        let generation = Generation(1);
        let clients = (1..=CLIENTS).map(ClientId);
        Self {
            oracle: Oracle::new(window),
            clients: clients.map(|client| (client, Client::default())).collect(),
            generation,
            config: Arc::clone(&config),
            rig: Rig::of(member(NODE.0), planted),
            server: server(config, generation),
            now: Time::ZERO,
            random: Random::new(seed),
            epoch: Epoch(0),
            requests: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// The server gets an epoch, and opens a session.
    pub(super) fn begin(&mut self) -> Result<(), Broken> {
        self.epoch.0 += 1;
        let epoch = self.epoch;
        self.with_server(|server, cx, outputs| {
            server.on_epoch(cx, epoch, [(NODE, Version::NEWEST)].into_iter(), outputs);
        })
    }

    /// The server dies, with the node or alone, and another one takes over. So many of the requests
    /// on their way still arrive.
    pub(super) fn fail_over(&mut self, arriving: usize, with_node: bool) -> Result<(), Broken> {
        for _ in 0..arriving.min(self.requests.len()) {
            self.deliver_request();
        }
        if with_node {
            self.rig.restart();
        } else {
            self.rig.close(self.caller());
        }
        (self.requests, self.answers) = (VecDeque::new(), VecDeque::new());
        self.oracle.lost_server();
        self.clients.values_mut().for_each(Client::unmount);
        self.generation.0 += 1;
        self.server = server(Arc::clone(&self.config), self.generation);
        self.begin()
    }

    /// A request arrives at the disk's node.
    pub(super) fn deliver_request(&mut self) -> bool {
        let Some((request, payload)) = self.requests.pop_front() else { return false };
        let replies = self.rig.send(self.caller(), request, payload);
        self.answered(replies);
        true
    }

    /// An answer arrives at the server.
    pub(super) fn deliver_answer(&mut self) -> Result<bool, Broken> {
        let Some((answer, payload)) = self.answers.pop_front() else { return Ok(false) };
        self.with_server(|server, cx, outputs| {
            server.on_answer(cx, NODE, answer, payload, outputs);
        })?;
        Ok(true)
    }

    /// So many entries become durable.
    pub(super) fn sync(&mut self, count: usize) -> Result<bool, Broken> {
        if self.rig.durable == self.rig.journal.len() {
            return Ok(false);
        }
        let replies = self.rig.sync(count);
        self.answered(replies);
        self.oracle.catch_up(&self.rig)?;
        Ok(true)
    }

    /// A read of the disk ends.
    pub(super) fn finish_read(&mut self) -> bool {
        if self.rig.reads.is_empty() {
            return false;
        }
        let replies = self.rig.finish_read();
        self.answered(replies);
        true
    }

    /// What was appended in this turn is sent.
    pub(super) fn end_turn(&mut self) -> Result<(), Broken> {
        self.with_server(PartitionServer::flush)
    }

    /// All that is under way comes to its end.
    pub(super) fn drain(&mut self) -> Result<(), Broken> {
        self.end_turn()?;
        while self.deliver_request()
            || self.sync(usize::MAX)?
            || self.finish_read()
            || self.deliver_answer()?
        {}
        Ok(())
    }

    /// The time that the server waits for comes.
    pub(super) fn wait(&mut self) -> Result<(), Broken> {
        let Some(deadline) = self.server.deadline() else { return Ok(()) };
        self.now = self.now.max(deadline);
        self.with_server(PartitionServer::on_timer)
    }

    /// A client asks something.
    pub(super) fn ask(
        &mut self,
        client: ClientId,
        request: ClientRequest,
        payload: &Bytes,
    ) -> Result<(), Broken> {
        let conn = self.clients[&client].conn(client);
        self.with_server(|server, cx, outputs| {
            server.on_request(cx, conn, client, request, payload, outputs);
        })
    }

    /// The connection that the server has to the disk's node.
    fn caller(&self) -> Caller {
        Caller::Peer(ConnectionId::accepted(self.generation.0))
    }

    fn answered(&mut self, replies: Vec<StorageReply>) {
        let caller = self.caller();
        for StorageReply { message, payload, .. } in replies.into_iter().filter(|r| r.to == caller)
        {
            self.answers.push_back((message, payload));
        }
    }

    fn with_server(
        &mut self,
        action: impl FnOnce(&mut PartitionServer, &mut Context<'_>, &mut Outputs),
    ) -> Result<(), Broken> {
        let (mut tickets, mut effects, mut outputs) = (Tickets::default(), Vec::new(), Vec::new());
        let mut cx = Context {
            now: self.now,
            random: &mut self.random,
            tickets: &mut tickets,
            effects: &mut effects,
        };
        action(&mut self.server, &mut cx, &mut outputs);
        outputs.into_iter().try_for_each(|output| self.perform(output))
    }

    fn perform(&mut self, output: PartitionOutput) -> Result<(), Broken> {
        match output {
            PartitionOutput::ToReplica { request, payload, .. } => {
                self.requests.push_back((request, payload));
                Ok(())
            }
            PartitionOutput::Reply { conn, reply, payload } => self.told(conn, reply, &payload),
            PartitionOutput::Reach { node } => self.with_server(|server, cx, outputs| {
                server.on_reachable(cx, node, Version::NEWEST, outputs);
            }),
            PartitionOutput::SetCommitted(_) => Ok(()),
            PartitionOutput::ReadArchive { .. } => Err("there is no archive".to_owned()),
            PartitionOutput::NeedEpoch { .. } => self.begin(),
            PartitionOutput::Violation { reason, .. } => {
                Err(format!("a client is shut out: {reason}"))
            }
        }
    }

    fn told(&mut self, conn: ConnectionId, reply: ServerReply, run: &Bytes) -> Result<(), Broken> {
        let is_it = |(client, it): &(&ClientId, &mut Client)| it.conn(**client) == conn;
        let Some((name, client)) = self.clients.iter_mut().find(is_it) else { return Ok(()) };
        match reply {
            ServerReply::Mounted { session, .. } => client.session = Some(session),
            ServerReply::Feed { first, count, .. } => {
                ensure(first == client.fed.next(), "a gap or a repetition in a feed")?;
                self.oracle.fed(first, count, run)?;
                client.fed = Mark::before(TransactionId(first.0 + u64::from(count)));
            }
            ServerReply::Ready { session, .. } => {
                client.is_ready = true;
                self.oracle.ready(session);
            }
            ServerReply::Conflict { sequence, id, lock, exact, .. } => {
                self.oracle.refused((*name, sequence), LockConflict { id, lock, exact })?;
            }
            ServerReply::Unmounted { .. } => client.unmount(),
            other => return Err(format!("unexpected {other:?}")),
        }
        Ok(())
    }
}

/// Nobody's server yet: it wants an epoch.
fn server(config: Arc<PartitionConfig>, generation: Generation) -> PartitionServer {
    let hint = SetChange::initial(SetVersion::FIRST, ReplicaSet(vec![member(NODE.0)]));
    PartitionServer::new(config, PARTITION, generation, CREATION, hint, &mut Vec::new())
}
