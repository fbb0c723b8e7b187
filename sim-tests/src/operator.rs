//! The operator of a run: moves replicas, trims logs, and has replaced what is lost.
//!
//! Invariant: of every replica set that may count, a majority is left, in whatever order the
//! changes that were asked for happen.

mod archiving;
mod nodes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use madsim::time::sleep;
use waltz_client::{Client, ClientConfig, Mark, NoDatabase, OperatorRequest, Partitions};
use waltz_core::id::{Member, NodeId, PartitionId, ReplicaSet, TransactionId};
use waltz_core::io::Address;
use waltz_core::journal::Place;
use waltz_core::time::Random;
use waltz_runtime_sim::{Event, SimWorld};

use crate::atlas::Atlas;
use crate::cluster::{Cluster, address};
use crate::history::History;
use crate::plan::Plan;
use crate::replicas::Replicas;
use crate::workloads::followers::Followers;

/// How often the operator looks after what is lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Every so many looks suspects are replaced: until then they are in the way.
const LOOKS_AT_SUSPECTS: u32 = 4;

/// How often the operator looks, when all is calm, before it gives up.
const LOOKS: u32 = 90;

/// What was asked for.
#[derive(Default)]
struct State {
    client: Option<Client>,
    /// For each partition all that is or may be wanted, what was asked for last at the end.
    wanted: BTreeMap<PartitionId, Vec<Wanted>>,
    /// How many partitions were added, or may have been.
    added: u32,
}

/// Replicas that were asked for: the nodes, and the disks that they had then.
#[derive(Clone)]
struct Wanted {
    nodes: Vec<u32>,
    members: ReplicaSet,
}

/// The operator; clones are the same one.
#[derive(Clone)]
pub(crate) struct Operator {
    pub(crate) world: SimWorld,
    pub(crate) cluster: Cluster,
    pub(crate) plan: Plan,
    pub(crate) history: History,
    followers: Followers,
    state: Arc<Mutex<State>>,
}

impl Operator {
    pub(crate) fn new(
        world: SimWorld,
        (cluster, plan): (Cluster, Plan),
        history: History,
        followers: Followers,
    ) -> Self {
        Self { world, cluster, plan, history, followers, state: Arc::default() }
    }

    /// Comes to work, on a host of its own. Without a client there is nothing that it can do.
    pub(crate) fn start(&self, config: ClientConfig) {
        let (state, config) = (self.state.clone(), config.partitions(Partitions::none()));
        let work = self.world.start(&Address("operator".to_owned()), move |host| async move {
            let client = Client::connect_on(host.runtime(), config, NoDatabase::newest()).await;
            lock(&state).client = Some(client.expect("nobody gives up"));
            std::future::pending::<()>().await;
        });
        drop(work);
    }

    /// Whether every replica set that may count keeps a majority, and every record a sound copy,
    /// without a node's disk.
    pub(crate) fn can_do_without(&self, index: u32) -> bool {
        let Some(disk) = self.cluster.disk(index) else { return false };
        self.cluster.is_sound(disk)
            && self.partitions().all(|partition| self.keeps_majority(partition, Some(disk), None))
            && self.atlas(|atlas| atlas.can_do_without(disk))
    }

    /// A run on some disk all of whose records have a sound copy elsewhere.
    pub(crate) fn spare_run(&self, random: &mut Random) -> Option<(Member, Place)> {
        self.atlas(|atlas| atlas.pick(random))
    }

    /// Asks the atlas, where only copies count that nobody wants to go.
    fn atlas<T>(&self, ask: impl FnOnce(Atlas<'_>) -> T) -> T {
        let stays = |partition, disk: Member| {
            let state = self.lock();
            let mut wanted = state.wanted.get(&partition).into_iter().flatten();
            wanted.all(|wanted| wanted.members.contains(disk))
        };
        self.cluster.atlas(stays, ask)
    }

    /// Whether a node is left to serve, and a third of the nodes at most are gone, without one.
    pub(crate) fn can_serve_without(&self, index: u32) -> bool {
        let shape = self.plan.shape;
        let is_left = |other: &u32| *other != index && !self.cluster.is_dead(*other);
        let mut servers = shape.nodes - shape.servers..shape.nodes;
        let left = (0..shape.nodes).filter(is_left).count();
        servers.any(|server| is_left(&server)) && 3 * left >= 2 * shape.nodes as usize
    }

    /// Asks for other replicas of some partition.
    pub(crate) async fn move_replicas(&self, random: &mut Random) {
        let mut below = |bound: usize| (random.bits() % bound as u64) as usize;
        let partition = PartitionId(below(self.plan.shape.partitions as usize) as u32);
        let (storages, usual) = (self.plan.shape.storages, self.plan.shape.replicas as usize);
        let mut nodes: Vec<_> =
            (0..storages).filter(|index| !self.cluster.is_dead(*index)).collect();
        let count = match below(6) {
            0 => usual + 1,
            1 => usual - 1,
            _ => usual,
        };
        let count = count.clamp(1, nodes.len().min(7));
        let nodes: Vec<_> = (0..count).map(|_| nodes.remove(below(nodes.len()))).collect();
        // New replicas copy what is sound before others go.
        let (now, wanted) = (self.committed(partition), self.members(&nodes));
        let adds = now.is_some_and(|now| wanted.0.iter().any(|member| !now.contains(*member)));
        let is_safe = adds || self.atlas(|atlas| atlas.is_safe_on(partition, &wanted));
        if is_safe && self.keeps_majority(partition, None, Some(wanted)) {
            self.want(partition, &nodes).await;
        }
    }

    /// Trims some partition, of what everyone has applied or, where there is an archive, anyone.
    pub(crate) async fn trim(&self, random: &mut Random) {
        let partition = (random.bits() % u64::from(self.plan.shape.partitions)) as u32;
        let partition = PartitionId(partition);
        let Some(most) = self.may_trim(partition) else { return };
        let start = Mark::before(TransactionId(random.bits() % (most.count() + 1)));
        self.trim_to(partition, start).await;
    }

    /// Trims whatever may be trimmed, again and again, where partitions have a quota.
    pub(crate) async fn keep_quotas(&self) {
        if self.plan.quota_bytes().is_none() {
            return;
        }
        loop {
            sleep(LOOK_EVERY).await;
            for partition in self.partitions() {
                if let Some(most) = self.may_trim(partition) {
                    self.trim_to(partition, most).await;
                }
            }
        }
    }

    /// What nobody misses when it is trimmed.
    fn may_trim(&self, partition: PartitionId) -> Option<Mark> {
        match self.plan.archive {
            true => self.followers.furthest(partition),
            false => self.followers.slowest(partition),
        }
    }

    async fn trim_to(&self, partition: PartitionId, start: Mark) {
        if let Some(archive) = self.cluster.archive()
            && !self.archive(archive, partition, start).await
        {
            return;
        }
        self.note(partition, format_args!("trim up to {start}"));
        self.ask(OperatorRequest::Trim { partition, start }).await;
    }

    /// Looks after lost and suspect replicas for as long as the run lasts.
    pub(crate) async fn look_after(&self) {
        for look in 1.. {
            sleep(LOOK_EVERY).await;
            if look % LOOKS_AT_SUSPECTS == 0 {
                self.replace_suspects();
            }
            for partition in self.partitions() {
                let set = self.committed(partition);
                let lost = |set: &ReplicaSet| set.0.iter().any(|one| !self.cluster.is_sound(*one));
                if set.as_ref().is_some_and(lost) {
                    self.want_again(partition).await;
                }
            }
        }
    }

    /// Waits until every partition has the replicas that were wanted last, all of them on disks
    /// that are there, and says which have not when that takes too long.
    pub(crate) async fn settle(&self) -> Vec<String> {
        let mut unsettled = Vec::new();
        for _ in 0..LOOKS {
            self.replace_suspects();
            self.add_again().await;
            unsettled = self.partitions().filter(|one| !self.is_settled(*one)).collect();
            if unsettled.is_empty() {
                break;
            }
            for partition in &unsettled {
                self.want_again(*partition).await;
            }
            sleep(LOOK_EVERY).await;
        }
        let text = |partition: PartitionId| {
            let (is, wanted) = (self.committed(partition), self.members(&self.nodes(partition)));
            format!("{partition} is on {is:?}, and wanted on {wanted:?}")
        };
        unsettled.into_iter().map(text).collect()
    }

    /// Asks for a partition's replicas to be on these nodes.
    pub(crate) async fn want(&self, partition: PartitionId, nodes: &[u32]) {
        if self.lock().client.is_none() {
            return;
        }
        // Whatever is answered, it may be recorded.
        let wanted = Wanted { nodes: nodes.to_vec(), members: self.members(nodes) };
        self.lock().wanted.entry(partition).or_default().push(wanted);
        self.note(partition, format_args!("replicas on {:?}", names(nodes)));
        let nodes = nodes.iter().map(|index| NodeId(index + 1)).collect();
        self.ask(OperatorRequest::SetReplicas { partition, nodes }).await;
    }

    /// Whether a partition is on the disks that the nodes wanted last have now, and nothing else
    /// can be on its way.
    pub(crate) fn is_settled(&self, partition: PartitionId) -> bool {
        let wanted = self.members(&self.nodes(partition));
        let sorted = |set: &ReplicaSet| set.0.iter().copied().collect::<BTreeSet<_>>();
        let settled = self.committed(partition).is_some_and(|set| sorted(&set) == sorted(&wanted));
        if settled && self.history.pending_sets(partition).is_empty() {
            let wanted = Wanted { nodes: self.nodes(partition), members: wanted };
            self.lock().wanted.insert(partition, vec![wanted]);
        }
        settled
    }

    async fn want_again(&self, partition: PartitionId) {
        let nodes = self.nodes(partition);
        // An added partition has no replicas to ask for before it is there.
        if !nodes.is_empty() {
            self.want(partition, &nodes).await;
        }
    }

    fn replace_suspects(&self) {
        let is_suspect = |index: &u32| {
            let disk = self.cluster.disk(*index);
            disk.is_some_and(|disk| !self.cluster.is_sound(disk))
        };
        for index in (0..self.plan.shape.nodes).filter(is_suspect).collect::<Vec<_>>() {
            self.cluster.replace_disk(index);
        }
    }

    /// Whether each set that counts, or may come to, keeps a majority without this disk as well, or
    /// when this set is wanted; and so the one that the coordinator knows, whose members are asked
    /// for the newest. As long as no set is on any disk nobody can tell.
    fn keeps_majority(
        &self,
        partition: PartitionId,
        without: Option<Member>,
        wanted: Option<ReplicaSet>,
    ) -> bool {
        let logs = self.history.logs_of(partition);
        let newest = Replicas::new(&logs).set().map(|set| set.version);
        let (Some(newest), Some(recorded)) = (newest, self.history.recorded(partition)) else {
            return false;
        };
        let oldest = newest.min(recorded.version);
        let on_disks = logs.values().flat_map(|log| log.sets().iter().cloned());
        let sets = on_disks.chain(self.history.pending_sets(partition));
        let sets = sets.filter(|set| set.version >= oldest);
        let mut sets: Vec<_> = sets.map(|set| set.replicas).chain(wanted).collect();
        sets.push(recorded.replicas);
        let state = self.lock();
        let asked = state.wanted.get(&partition).into_iter().flatten();
        sets.extend(asked.map(|wanted| wanted.members.clone()));
        drop(state);
        let members: BTreeSet<_> = sets.iter().flat_map(|set| set.0.iter().copied()).collect();
        let smallest = sets.iter().map(|set| set.0.len()).min().unwrap_or(0);
        let is_lost = |one: &&Member| without == Some(**one) || !self.cluster.is_sound(**one);
        let lost = members.iter().filter(is_lost).count();
        lost == 0 || 2 * lost < smallest
    }

    /// The nodes that a partition was wanted on last, or is on.
    fn nodes(&self, partition: PartitionId) -> Vec<u32> {
        let wanted = self.lock().wanted.get(&partition).and_then(|all| all.last().cloned());
        let committed = || self.committed(partition).unwrap_or_else(|| ReplicaSet(Vec::new()));
        let nodes: BTreeSet<_> = match wanted {
            Some(wanted) => wanted.nodes.into_iter().collect(),
            None => committed().nodes().map(|node| node.0 - 1).collect(),
        };
        // Others take the place of the dead, as long as there are any.
        let others = (0..self.plan.shape.storages).filter(|index| !nodes.contains(index));
        let candidates = nodes.iter().copied().chain(others);
        let alive = candidates.filter(|index| !self.cluster.is_dead(*index));
        alive.take(nodes.len()).collect()
    }

    /// The disks that these nodes have now.
    fn members(&self, nodes: &[u32]) -> ReplicaSet {
        ReplicaSet(nodes.iter().filter_map(|index| self.cluster.disk(*index)).collect())
    }

    fn committed(&self, partition: PartitionId) -> Option<ReplicaSet> {
        let logs = self.history.logs_of(partition);
        Replicas::new(&logs).set().map(|set| set.replicas.clone())
    }

    fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        (0..self.plan.shape.partitions + self.lock().added).map(PartitionId)
    }

    async fn ask(&self, request: OperatorRequest) {
        let client = self.lock().client.clone();
        if let Some(client) = client {
            // A refusal is as good: what is wanted still is asked for again.
            drop(client.operate(request).await);
        }
    }

    fn note(&self, partition: PartitionId, text: fmt::Arguments<'_>) {
        let host = Address("operator".to_owned());
        let (now, trace) = (self.world.now(), self.world.trace());
        trace.record(now, Event::on(&host, format_args!("wants {text}")).of(partition));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn names(nodes: &[u32]) -> Vec<String> {
    nodes.iter().map(|index| address(*index).0).collect()
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
