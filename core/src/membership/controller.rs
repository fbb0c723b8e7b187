//! Creates the partitions and assigns them to servers. Runs in the agent of the coordinator's node,
//! or in that of the node that was elected.
//!
//! It decides from the mirror alone and in phases: the cluster's figures, then the partitions,
//! then the assignments. What it proposes is written by compare-and-set, so it keeps no state that
//! matters and may start over at any time.
//!
//! A partition whose server is gone gets another at once: its lease has run out, that was grace
//! enough. Moving partitions between live servers waits until the set of servers has been the
//! same for a while, so that a node that comes and goes does not move them twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{CreationId, Generation, NodeId, PartitionId, ReplicaSet, SetVersion};
use crate::io::{Context, Level};
use crate::membership::mirror::Mirror;
use crate::membership::{
    Assignment, Cluster, Directory, Fact, MAX_PARTITIONS, MAX_REPLICAS, Name, PartitionMeta,
    PlacementWish, assign, place,
};
use crate::time::Time;

/// How long the servers must have been the same before partitions move between live ones.
const SETTLE: Duration = Duration::from_secs(1);

/// Whether a node's agent controls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// Another node does.
    Never,
    /// It does, alone: its node hosts the coordinator.
    Alone(ControllerConfig),
    /// One of those that may does: whoever holds the controller's key. The others stand by.
    Elected {
        /// The cluster to bootstrap, if this node may.
        bootstrap: Option<ControllerConfig>,
    },
}

/// The cluster to bootstrap, if there is none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControllerConfig {
    cluster: Cluster,
    storages: usize,
}

/// No such cluster can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ControllerConfigError {
    /// Too many partitions, or none.
    #[error("{0} partitions: there may be 1 to {MAX_PARTITIONS}")]
    Partitions(u32),
    /// Too many replicas, or none.
    #[error("{0} replicas: there may be 1 to {MAX_REPLICAS}")]
    Replicas(u32),
}

impl ControllerConfig {
    /// A cluster of so many partitions with so many replicas each, bootstrapped once `storages`
    /// storage nodes have registered, or as many as there are replicas if that is more.
    ///
    /// # Errors
    /// When there can't be so many partitions or replicas.
    pub fn new(
        partitions: u32,
        replicas: u32,
        storages: u32,
    ) -> Result<Self, ControllerConfigError> {
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return Err(ControllerConfigError::Partitions(partitions));
        }
        if !(1..=MAX_REPLICAS).contains(&replicas) {
            return Err(ControllerConfigError::Replicas(replicas));
        }
        let storages = storages.max(replicas) as usize;
        Ok(Self { cluster: Cluster { partitions, replicas }, storages })
    }
}

/// What decides about partitions and assignments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Controller {
    bootstrap: Option<ControllerConfig>,
    /// The live servers seen last, without those that are drained while there are others.
    servers: BTreeSet<NodeId>,
    /// Until when partitions stay with live servers.
    settles_at: Option<Time>,
    /// Whether it was reported that the cluster is another than the configured one.
    reported: bool,
}

impl Controller {
    /// A controller that bootstraps this cluster, or none.
    pub(super) fn new(bootstrap: Option<ControllerConfig>) -> Self {
        Self { bootstrap, servers: BTreeSet::new(), settles_at: None, reported: false }
    }

    /// Whether a fact is for the controller to write.
    pub(super) fn owns(name: Name) -> bool {
        matches!(name, Name::Cluster | Name::Partition(_) | Name::Assignment(_))
    }

    /// Whether a plan may be another when what stands under a name is.
    pub(super) fn heeds(name: Name) -> bool {
        !matches!(name, Name::Epoch(_) | Name::Target(_) | Name::Consumers(_))
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.settles_at
    }

    /// What should be written now, given that nothing it proposed before is under way.
    pub(super) fn plan(&mut self, cx: &mut Context<'_>, mirror: &Mirror) -> Vec<Fact> {
        self.watch_servers(cx.now, &mirror.directory);
        if mirror.revision(Name::Cluster).is_none() {
            return self.bootstrap(cx, &mirror.directory);
        }
        let Some(cluster) = mirror.directory.cluster else { return Vec::new() };
        self.compare_figures(cx, cluster);
        let created = create_partitions(cx, mirror, cluster);
        if !created.is_empty() {
            return created;
        }
        self.assignments(&mirror.directory)
    }

    fn watch_servers(&mut self, now: Time, directory: &Directory) {
        let servers = assignable(directory);
        if servers != self.servers {
            self.servers = servers;
            self.settles_at = Some(now + SETTLE);
        } else if self.settles_at.is_some_and(|settles_at| settles_at <= now) {
            self.settles_at = None;
        }
    }

    /// A cluster is made only of disks that were in none: others belong to one that this coordinator
    /// has forgotten, and new partitions in the place of its own would start with empty logs.
    fn bootstrap(&mut self, cx: &mut Context<'_>, directory: &Directory) -> Vec<Fact> {
        let Some(config) = self.bootstrap else { return Vec::new() };
        if directory.storages.len() < config.storages {
            return Vec::new();
        }
        if let Some((node, _)) = directory.storages.iter().find(|(_, record)| record.used) {
            if !std::mem::replace(&mut self.reported, true) {
                let text = format!(
                    "the disk of {node} belongs to a cluster that this coordinator does not know: it lost \
                     what it knew. No other is made; give this node its journal back, or have an \
                     operator restore the cluster"
                );
                cx.report(Level::Error, None, text);
            }
            return Vec::new();
        }
        let cluster = config.cluster;
        let Cluster { partitions, replicas } = cluster;
        let text = format!("bootstrapping {partitions} partitions of {replicas} replicas");
        cx.report(Level::Info, None, text);
        vec![Fact::Cluster(cluster)]
    }

    fn compare_figures(&mut self, cx: &mut Context<'_>, cluster: Cluster) {
        let Some(ControllerConfig { cluster: configured, .. }) = self.bootstrap else { return };
        let is_other =
            cluster.replicas != configured.replicas || cluster.partitions < configured.partitions;
        if is_other && !std::mem::replace(&mut self.reported, true) {
            let text = format!(
                "configured are {} partitions of {} replicas; the cluster was bootstrapped with {} of {}, which stand",
                configured.partitions, configured.replicas, cluster.partitions, cluster.replicas,
            );
            cx.report(Level::Warning, None, text);
        }
    }

    fn assignments(&self, directory: &Directory) -> Vec<Fact> {
        let current: BTreeMap<PartitionId, NodeId> = directory
            .assignments
            .iter()
            .map(|(partition, assignment)| (*partition, assignment.server))
            .collect();
        let partitions = directory.partitions.keys().copied();
        let preferences = preferences(directory);
        let loads = directory.loads();
        let target = assign(&self.servers, &preferences, loads, &current, partitions);
        let settled = self.settles_at.is_none();
        let stays = |partition: &PartitionId, server: &NodeId| {
            let current = current.get(partition);
            current == Some(server)
                || !settled && current.is_some_and(|current| self.servers.contains(current))
        };
        target
            .into_iter()
            .filter(|(partition, server)| !stays(partition, server))
            .filter_map(|(partition, server)| {
                let former = directory.assignments.get(&partition);
                let generation =
                    former.map_or(Some(1), |former| former.generation.0.checked_add(1));
                let generation = Generation(generation?);
                Some(Fact::Assignment(partition, Assignment { server, generation }))
            })
            .collect()
    }
}

/// The live servers that are not drained; if all are, all of them.
fn assignable(directory: &Directory) -> BTreeSet<NodeId> {
    let live = directory.nodes().filter(|(_, record)| record.server).map(|(node, _)| node);
    let (drained, others): (BTreeSet<_>, BTreeSet<_>) =
        live.partition(|node| directory.operations(*node).is_some_and(|of| of.server_drained));
    if others.is_empty() { drained } else { others }
}

/// What each live node would rather serve: by itself, as operators want, and, of the partitions that
/// none of these prefers, those that are wanted in its region.
fn preferences(directory: &Directory) -> BTreeMap<NodeId, BTreeSet<PartitionId>> {
    let wanted = |node| directory.operations(node).into_iter().flat_map(|of| &of.preferred);
    let mut preferences: BTreeMap<NodeId, BTreeSet<PartitionId>> = assignable(directory)
        .into_iter()
        .filter_map(|node| Some((node, directory.node(node)?)))
        .map(|(node, record)| {
            (node, record.preferred.iter().chain(wanted(node)).copied().collect())
        })
        .collect();
    let preferred: BTreeSet<_> = preferences.values().flatten().copied().collect();
    for (partition, region) in directory.regions().filter(|(one, _)| !preferred.contains(one)) {
        for (node, partitions) in &mut preferences {
            let locality = directory.locality(*node);
            if locality.is_some_and(|locality| locality.region.as_deref() == Some(region)) {
                partitions.insert(partition);
            }
        }
    }
    preferences
}

/// The partitions that are not there yet, with replicas placed as widely as the storages stand.
/// Drained and dead storages get some only if there are too few others.
fn create_partitions(cx: &mut Context<'_>, mirror: &Mirror, cluster: Cluster) -> Vec<Fact> {
    let directory = &mirror.directory;
    let missing = |partition: &PartitionId| mirror.revision(Name::Partition(*partition)).is_none();
    let missing = (0..cluster.partitions).map(PartitionId).filter(missing);
    let wishes: Vec<_> = missing
        .map(|partition| {
            let current = ReplicaSet(Vec::new());
            PlacementWish { partition, replicas: cluster.replicas, current }
        })
        .collect();
    if wishes.is_empty() {
        return Vec::new();
    }
    let mut load = BTreeMap::new();
    for node in directory.partitions().flat_map(|(_, meta)| meta.replicas.nodes()) {
        *load.entry(node).or_default() += 1;
    }
    let mut storages = directory.placement();
    if storages.iter().filter(|one| one.takes).count() < cluster.replicas as usize {
        storages.iter_mut().for_each(|one| one.takes = true);
    }
    place(&storages, &load, &wishes)
        .into_iter()
        .filter_map(|(partition, set)| {
            let mut members = set.ok()?.0;
            // The first is asked first: by turns another one.
            let first = partition.0 as usize % members.len();
            members.rotate_left(first);
            let creation = CreationId(cx.random.bits());
            let (version, replicas) = (SetVersion::FIRST, ReplicaSet(members));
            let meta = PartitionMeta { creation, version, replicas };
            Some(Fact::Partition(partition, meta))
        })
        .collect()
}
