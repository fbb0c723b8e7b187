//! The machine itself: it takes inputs to the part they concern, and keeps connections, mounts
//! and questions in step with the cluster.

mod replies;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::{ClientId, PartitionId};
use crate::time::Time;
use crate::wire::ClusterView;

use crate::client::base::Base;
use crate::client::call::{Answer, CallId, Ending, Failure, InDoubt, Unanswered};
use crate::client::cluster::Cluster;
use crate::client::config::{ClientConfig, Partitions};
use crate::client::flush::Flush;
use crate::client::io::{Attachment, ClientEffect, ClientInput};
use crate::client::links::Links;
use crate::client::partition::{Partition, Past};
use crate::client::requests::{Marked, Purpose, Requests};

/// While a partition is not ready, another node is asked about the cluster this often.
const SCOUT_EVERY: Duration = Duration::from_secs(1);

/// The client's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientMachine {
    base: Base,
    chosen: Partitions,
    cluster: Cluster,
    links: Links,
    partitions: BTreeMap<PartitionId, Partition>,
    attachments: u64,
    /// Of partitions that are not attached now.
    pasts: BTreeMap<PartitionId, Past>,
    /// Of partitions that were never attached.
    no_past: Past,
    requests: Requests,
    flushes: Vec<Flush>,
    describes: Vec<Describe>,
    /// Partitions with something to do at the end of this turn.
    touched: BTreeSet<PartitionId>,
    /// Whether connections, mounts and questions are to be looked at.
    stirred: bool,
    scouted: Time,
    closed: bool,
}

/// Someone waits to be told about the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Describe {
    call: CallId,
    formed: bool,
    deadline: Time,
}

impl ClientMachine {
    /// A client that has not dialled yet; `seed` is for its jitter.
    pub fn new(id: ClientId, config: ClientConfig, seed: u64) -> Self {
        Self {
            chosen: config.partitions.clone(),
            base: Base::new(id, config, seed),
            cluster: Cluster::default(),
            links: Links::default(),
            partitions: BTreeMap::new(),
            attachments: 0,
            pasts: BTreeMap::new(),
            no_past: Past::default(),
            requests: Requests::default(),
            flushes: Vec::new(),
            describes: Vec::new(),
            touched: BTreeSet::new(),
            stirred: true,
            scouted: Time::ZERO,
            closed: false,
        }
    }

    /// A client that asks what became of an earlier one's attempts. It goes by the other's id, and
    /// its mounts end the other's: once one is ready, everything that the other has sent before is
    /// decided. It must not append.
    pub fn succeeding(id: ClientId, config: ClientConfig, seed: u64) -> Self {
        Self { no_past: Past::succeeding(), ..Self::new(id, config, seed) }
    }

    /// Takes one input in and appends what is to be done to `effects`. Appends, applications, and
    /// what follows from the cluster wait for [`ClientInput::EndOfTurn`]: the last goes over all
    /// partitions.
    pub fn step(&mut self, now: Time, input: ClientInput, effects: &mut Vec<ClientEffect>) {
        self.base.now = now;
        std::mem::swap(&mut self.base.effects, effects);
        if self.closed {
            self.on_late(input);
        } else {
            self.on_input(input);
        }
        std::mem::swap(&mut self.base.effects, effects);
    }

    fn on_input(&mut self, input: ClientInput) {
        match input {
            ClientInput::Opened { conn } => self.links.on_opened(&mut self.base, conn),
            ClientInput::Received { conn, frame } => self.on_received(conn, frame),
            ClientInput::Closed { conn, reason } => {
                if self.links.on_closed(&mut self.base, conn, reason) {
                    self.lost(conn);
                }
            }
            ClientInput::Timer => self.on_timer(),
            ClientInput::EndOfTurn => self.on_end_of_turn(),
            ClientInput::Began { attachment, start } => {
                if let Some(partition) = attached(&mut self.partitions, attachment) {
                    partition.began(&mut self.base, start);
                    if partition.wants_newest() {
                        let (id, purpose) = (attachment.partition, Purpose::Begin(attachment));
                        self.requests.mark(&mut self.base, id, purpose);
                    }
                    self.stirred = true;
                }
            }
            ClientInput::Applied { attachment, mark, failed } => {
                if let Some(partition) = attached(&mut self.partitions, attachment) {
                    partition.on_applied(&mut self.base, mark, failed);
                    self.touched.insert(attachment.partition);
                }
            }
            ClientInput::Close => self.close(),
            call => self.on_call(call),
        }
    }

    fn on_call(&mut self, input: ClientInput) {
        let base = &mut self.base;
        match input {
            ClientInput::Executed { call, partition: id, result } => {
                if let Some(partition) = self.partitions.get_mut(&id) {
                    partition.executed(base, call, result);
                    self.touched.insert(id);
                }
            }
            ClientInput::Submit { call, partition: id, patience } => {
                match self.partitions.get_mut(&id) {
                    Some(partition) => partition.submit(base, call, patience),
                    None => base.end(call, Ending::Failed(Failure::NotMounted)),
                }
                self.touched.insert(id);
            }
            ClientInput::Append { call, partition: id, draft, at, patience } => {
                match self.partitions.get_mut(&id) {
                    Some(partition) => partition.append(base, call, draft, at, patience),
                    None => base.end(call, Ending::Failed(Failure::NotMounted)),
                }
                self.touched.insert(id);
            }
            ClientInput::Cancel { call, partition: id } => {
                if let Some(partition) = self.partitions.get_mut(&id) {
                    partition.cancel(base, call);
                    self.touched.insert(id);
                }
            }
            ClientInput::Resolve { call, in_doubt } => self.resolve(call, &in_doubt),
            ClientInput::Fetch { call, partition, id } => {
                if self.cluster.has_partition(partition) {
                    self.requests.fetch(base, call, partition, id);
                    self.stirred = true;
                } else {
                    base.answer(call, Err(Unanswered::UnknownPartition(partition)));
                }
            }
            ClientInput::Status { call, node } => match node {
                Some(node) if self.cluster.is_known() && !self.cluster.has_node(node) => {
                    base.answer(call, Err(Unanswered::UnknownNode(node)));
                }
                node => {
                    self.requests.status(base, call, node);
                    self.stirred = true;
                }
            },
            ClientInput::Inspect { call, node } => match node {
                Some(node) if self.cluster.is_known() && !self.cluster.has_node(node) => {
                    base.answer(call, Err(Unanswered::UnknownNode(node)));
                }
                node => {
                    self.requests.inspect(base, call, node);
                    self.stirred = true;
                }
            },
            ClientInput::Operate { call, request } => match request.partition() {
                Some(partition) if !self.cluster.has_partition(partition) => {
                    base.answer(call, Err(Unanswered::UnknownPartition(partition)));
                }
                _ => {
                    self.requests.operate(base, call, request);
                    self.stirred = true;
                }
            },
            ClientInput::Describe { call, formed } => {
                let deadline = base.now + base.config.connect_timeout;
                base.wake_by(deadline);
                self.describes.push(Describe { call, formed, deadline });
                self.describe();
            }
            ClientInput::Flush { call } => {
                self.flushes.push(Flush::new(call, self.partitions.keys().copied()));
            }
            ClientInput::Choose { call, partitions } => {
                self.chosen = partitions;
                self.attach();
                self.base.answer(call, Ok(Answer::Done));
                self.stirred = true;
            }
            ClientInput::Opened { .. }
            | ClientInput::Received { .. }
            | ClientInput::Closed { .. }
            | ClientInput::Timer
            | ClientInput::EndOfTurn
            | ClientInput::Began { .. }
            | ClientInput::Applied { .. }
            | ClientInput::Close => unreachable!("taken in before the calls"),
        }
    }

    /// Tells what became of an attempt, if this client can: one of its own id.
    fn resolve(&mut self, call: CallId, in_doubt: &InDoubt) {
        let (base, id, attempt) = (&mut self.base, in_doubt.partition(), in_doubt.cluster);
        if let Some(client) = base.cluster.filter(|client| *client != attempt) {
            return base.answer(call, Err(Unanswered::OtherCluster { attempt, client }));
        }
        match self.partitions.get_mut(&id) {
            Some(partition) if in_doubt.req_id.client == base.id => {
                partition.resolve(base, call, in_doubt);
            }
            None if self.cluster.is_known() && !self.cluster.has_partition(id) => {
                base.answer(call, Err(Unanswered::UnknownPartition(id)));
            }
            _ => base.answer(call, Err(Unanswered::Forgotten)),
        }
    }

    // The cluster.

    fn on_cluster(&mut self, view: ClusterView) {
        let before = self.cluster.count();
        self.cluster.merge(view);
        if self.cluster.count() != before {
            let partitions = self.cluster.count();
            self.base.push(ClientEffect::Formed { partitions });
        }
        self.attach();
        self.describe();
        self.stirred = true;
    }

    /// Attaches what is chosen and there, detaches what is no longer chosen.
    fn attach(&mut self) {
        let unwanted: Vec<_> =
            self.partitions.keys().copied().filter(|id| !self.chosen.contains(*id)).collect();
        for id in unwanted {
            if let Some(partition) = self.partitions.remove(&id) {
                let past = partition.detach(&mut self.base, &Failure::NotMounted);
                self.pasts.insert(id, past);
            }
        }
        for id in self.cluster.partitions() {
            if self.chosen.contains(id) && !self.partitions.contains_key(&id) {
                self.attachments += 1;
                let attachment = Attachment { partition: id, number: self.attachments };
                let past = self.pasts.remove(&id).unwrap_or(self.no_past);
                self.partitions.insert(id, Partition::new(&mut self.base, attachment, past));
            }
        }
    }

    /// Answers those who wait to be told about the cluster.
    fn describe(&mut self) {
        let (known, formed) = (self.cluster.is_known(), self.cluster.count() > 0);
        let (told, waiting) = std::mem::take(&mut self.describes)
            .into_iter()
            .partition(|describe| known && (formed || !describe.formed));
        self.describes = waiting;
        for Describe { call, .. } in told {
            self.base.answer(call, Ok(Answer::Cluster(self.cluster.view())));
        }
    }

    /// Connections, mounts and questions follow the cluster, if anything has stirred.
    fn keep_in_step(&mut self) {
        if !std::mem::take(&mut self.stirred) {
            return;
        }
        let wanted: BTreeSet<_> = (self.partitions.keys())
            .filter_map(|id| self.cluster.owner(*id).map(|(node, _)| node))
            .chain(self.requests.wanted(&self.cluster))
            .collect();
        for conn in self.links.keep(&mut self.base, &self.cluster, &wanted) {
            // What was asked of a former owner, and not answered, is asked of the new one.
            self.requests.lost(conn);
        }
        let mut unready = None;
        for (id, partition) in &mut self.partitions {
            let owner = self.cluster.owner(*id);
            let conn = owner.and_then(|(node, _)| self.links.to(node));
            partition.follow(&mut self.base, owner, conn);
            unready = unready.into_iter().chain(partition.unready_since()).min();
        }
        self.requests.send(&mut self.base, &self.cluster, &self.links);
        if let Some(since) = unready {
            self.scout(since);
        }
    }

    /// A partition is not ready for long: perhaps only our source does not know its new server.
    fn scout(&mut self, unready_since: Time) {
        let due = self.scouted.max(unready_since) + SCOUT_EVERY;
        if due > self.base.now {
            return self.base.wake_by(due);
        }
        self.scouted = self.base.now;
        self.links.move_home(&mut self.base, &self.cluster);
        self.base.wake_by(self.base.now + SCOUT_EVERY);
    }

    // Time.

    fn on_timer(&mut self) {
        self.base.rang();
        for conn in self.links.on_timer(&mut self.base) {
            self.lost(conn);
        }
        for (id, partition) in &mut self.partitions {
            partition.on_timer(&mut self.base);
            self.touched.insert(*id);
        }
        let problem = self.links.problem();
        for marked in self.requests.on_timer(&mut self.base, &problem) {
            self.on_marked(Some(marked));
        }
        let now = self.base.now;
        let (due, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.describes)
            .into_iter()
            .partition(|describe| describe.deadline <= now);
        self.describes = waiting;
        for Describe { call, .. } in due {
            let why = if self.cluster.is_known() {
                "the cluster has no partitions yet".to_owned()
            } else {
                problem.clone()
            };
            self.base.answer(call, Err(Unanswered::TimedOut(why)));
        }
        for describe in &self.describes {
            self.base.wake_by(describe.deadline);
        }
        self.stirred = true;
    }

    fn on_end_of_turn(&mut self) {
        self.keep_in_step();
        let base = &mut self.base;
        while let Some(id) = self.touched.pop_first() {
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.end_of_turn(base);
            }
        }
        let (partitions, requests) = (&self.partitions, &mut self.requests);
        let flushing = self.flushes.len();
        self.flushes.retain_mut(|flush| !flush.advance(base, partitions, requests));
        self.stirred |= flushing > 0;
        self.keep_in_step();
    }

    /// A confirmed mark came, or can't be had.
    fn on_marked(&mut self, marked: Option<Marked>) {
        let Some(Marked { partition, purpose, mark }) = marked else { return };
        match (purpose, mark) {
            (Purpose::Begin(attachment), mark) => {
                let Some(begun) = attached(&mut self.partitions, attachment) else { return };
                match mark {
                    Ok(mark) => begun.newest(&mut self.base, mark),
                    Err(_) => self.requests.mark(&mut self.base, partition, purpose),
                }
                self.stirred = true;
            }
            (Purpose::Flush(call), mark) => {
                let Some(index) = self.flushes.iter().position(|flush| flush.call() == call) else {
                    return;
                };
                match mark {
                    Ok(mark) => self.flushes[index].marked(partition, mark),
                    Err(why) => self.flushes.remove(index).fail(&mut self.base, why),
                }
            }
        }
    }

    // The end.

    fn close(&mut self) {
        self.closed = true;
        while let Some((_, partition)) = self.partitions.pop_first() {
            partition.detach(&mut self.base, &Failure::Closed);
        }
        self.requests.close(&mut self.base);
        for flush in self.flushes.drain(..) {
            flush.fail(&mut self.base, Unanswered::Closed);
        }
        for describe in self.describes.drain(..) {
            self.base.answer(describe.call, Err(Unanswered::Closed));
        }
        self.links.close_all(&mut self.base);
        self.base.push(ClientEffect::Stop);
    }

    /// A closed client only turns calls away.
    fn on_late(&mut self, input: ClientInput) {
        match input {
            ClientInput::Submit { call, .. } | ClientInput::Append { call, .. } => {
                self.base.end(call, Ending::Failed(Failure::Closed));
            }
            ClientInput::Flush { call }
            | ClientInput::Resolve { call, .. }
            | ClientInput::Fetch { call, .. }
            | ClientInput::Describe { call, .. }
            | ClientInput::Status { call, .. }
            | ClientInput::Inspect { call, .. }
            | ClientInput::Operate { call, .. }
            | ClientInput::Choose { call, .. } => {
                self.base.answer(call, Err(Unanswered::Closed));
            }
            _ => {}
        }
    }
}

fn attached(
    partitions: &mut BTreeMap<PartitionId, Partition>,
    attachment: Attachment,
) -> Option<&mut Partition> {
    partitions
        .get_mut(&attachment.partition)
        .filter(|partition| partition.attachment() == attachment)
}
