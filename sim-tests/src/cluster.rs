//! The nodes of a run: how they boot, crash and come back.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use waltz_core::id::{ClusterKey, Member, NodeId, PartitionId};
use waltz_core::io::{Address, Report};
use waltz_core::journal::{Damage, Fold, FoundEntry, Place, segment_name};
use waltz_core::limits::Limits;
use waltz_core::membership::ControllerConfig;
use waltz_core::node::{CoordinatorAt, Node, NodeConfig, Recovered, Roles};
use waltz_core::storage::{CheckpointConfig, ScrubConfig, SpaceConfig, StorageConfig};
use waltz_core::wire::Version;
use waltz_runtime::journal::{JournalConfig, JournalError};
use waltz_runtime::node::{World, run_node};
use waltz_runtime::{ArchivePort, CoordinatorPort};
use waltz_runtime_sim::{Crash, Event, SimHost, SimWorld};

use crate::archive::Archive;
use crate::atlas::Atlas;
use crate::coordinator::Outside;
use crate::disk_log::DiskLog;
use crate::history::{History, Opened, Watched};
use crate::plan::Plan;

const CLUSTER: ClusterKey = ClusterKey(0x0057_414c_545a);

/// Small, so that small segments hold any entry.
pub(crate) const LIMITS: Limits =
    Limits { frame_head: 8 << 10, frame_payload: 32 << 10, record: 8 << 10, locks: 64 };

/// Why a life of a node ended, if nobody ended it.
enum Failure {
    /// Its disk failed: it must stop then.
    Disk(String),
    /// Nothing may lead to this.
    Broken(String),
}

#[derive(Debug, Default)]
struct State {
    boots: u64,
    /// Nodes that stopped themselves and were not booted since.
    stopped: BTreeSet<u32>,
    /// How many operations of each node's disk had failed when it was booted.
    failures: BTreeMap<u32, u64>,
    /// Nodes that speak the oldest version of the protocol only, from their next boot on.
    old: BTreeSet<u32>,
    /// The node that is rolled next.
    next: u32,
    /// The disk that each node has.
    disks: BTreeMap<u32, Member>,
    /// Disks whose nodes can't tell any more what they had promised.
    suspects: BTreeSet<Member>,
    /// Nodes that never come back.
    dead: BTreeSet<u32>,
    violations: Vec<String>,
}

/// All nodes of a run; clones share it.
#[derive(Clone)]
pub(crate) struct Cluster {
    world: SimWorld,
    plan: Plan,
    history: History,
    state: Arc<Mutex<State>>,
    /// The coordinator, if it is outside.
    outside: Option<Outside>,
    /// The archive, if there is one.
    archive: Option<Archive>,
}

impl Cluster {
    pub(crate) fn new(world: SimWorld, plan: Plan, history: History) -> Self {
        let outside = plan.outside.then(|| Outside::start(world.clone()));
        let nodes = if plan.old { plan.shape.nodes } else { 0 };
        let state = State { old: (0..nodes).collect(), ..State::default() };
        let archive = plan.archive.then(|| Archive::new(world.store().clone()));
        Self { world, plan, history, state: Arc::new(Mutex::new(state)), outside, archive }
    }

    /// The coordinator, if it is outside.
    pub(crate) fn outside(&self) -> Option<&Outside> {
        self.outside.as_ref()
    }

    /// The archive, if there is one.
    pub(crate) fn archive(&self) -> Option<&Archive> {
        self.archive.as_ref()
    }

    /// Where the nodes listen.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        (0..self.plan.shape.nodes).map(address).collect()
    }

    /// The records of replicas that are damaged, in words.
    pub(crate) fn damaged(&self) -> Vec<String> {
        if !self.plan.rots() {
            return Vec::new();
        }
        self.atlas(|_, _| true, |atlas| atlas.damaged())
    }

    /// Asks the atlas, where copies that `stays` denies do not count, nor what is lost or suspect.
    pub(crate) fn atlas<T>(
        &self,
        stays: impl Fn(PartitionId, Member) -> bool,
        ask: impl FnOnce(Atlas<'_>) -> T,
    ) -> T {
        let lasts = |partition, disk| self.is_sound(disk) && stays(partition, disk);
        ask(Atlas::new(&self.history, &lasts, &|disk, place| self.on_disk(disk, place)))
    }

    fn on_disk(&self, disk: Member, place: Place) -> Option<Bytes> {
        let (name, length) = (segment_name(place.segment), place.length as usize);
        self.world.disks().peek(&host_of(disk.node), &name, place.offset.into(), length)
    }

    /// The disk that a node has, once it was booted with it.
    pub(crate) fn disk(&self, index: u32) -> Option<Member> {
        self.lock().disks.get(&index).copied()
    }

    /// Whether a node never comes back.
    pub(crate) fn is_dead(&self, index: u32) -> bool {
        self.lock().dead.contains(&index)
    }

    /// Whether a disk is its node's, and the node knows what is on it.
    pub(crate) fn is_sound(&self, disk: Member) -> bool {
        let state = self.lock();
        state.disks.values().any(|other| *other == disk) && !state.suspects.contains(&disk)
    }

    /// Where a node's disk has the oldest run of records that so many bytes of its segment come
    /// after, and then another segment: of a journal's very last batch and its seal nobody could
    /// tell that they were there.
    pub(crate) fn old_place(&self, index: u32, bytes: u64) -> Option<Place> {
        let disk = self.disk(index)?;
        let logs = self.history.logs();
        let places: BTreeSet<_> = logs.get(&disk)?.values().flat_map(DiskLog::places).collect();
        let latest = places.last()?.segment;
        let file_bytes = u64::from(self.plan.segment_bytes);
        let has_room =
            |place: &Place| place.segment < latest && u64::from(place.offset) + bytes < file_bytes;
        let is_there = |place: &Place| self.on_disk(disk, *place).is_some();
        places.into_iter().find(|place| has_room(place) && is_there(place))
    }

    /// Part of a disk is lost: from now on nothing on it counts.
    pub(crate) fn suspect(&self, disk: Member) {
        self.lock().suspects.insert(disk);
    }

    /// A node gets an empty disk, and is booted with it.
    pub(crate) fn replace_disk(&self, index: u32) {
        self.lose_disk(index);
        self.world.disks().replace(&address(index));
        self.boot(index);
    }

    /// A node and its disk are gone for good.
    pub(crate) fn bury(&self, index: u32) {
        self.lock().dead.insert(index);
        self.lose_disk(index);
    }

    fn lose_disk(&self, index: u32) {
        self.crash(index, Crash::Power);
        let disk = self.lock().disks.remove(&index);
        disk.into_iter().for_each(|disk| self.history.lose(disk));
    }

    /// Boots a node on what its disk holds; one that still runs is killed first.
    pub(crate) fn boot(&self, index: u32) {
        {
            let mut state = self.lock();
            if state.dead.contains(&index) {
                return;
            }
            state.boots += 1;
            state.stopped.remove(&index);
            state.failures.insert(index, self.world.disks().failures(&address(index)));
        }
        let cluster = self.clone();
        drop(self.world.start(&address(index), move |host| async move {
            let Err(failure) = cluster.live(index, &host).await;
            cluster.stopped(index, failure);
        }));
    }

    /// The next node in turn, and the other version of the protocol: what it speaks when it is
    /// booted next.
    pub(crate) fn roll(&self) -> (u32, Version) {
        let mut state = self.lock();
        let index = state.next;
        state.next = (index + 1) % self.plan.shape.nodes;
        if state.old.remove(&index) {
            return (index, Version::NEWEST);
        }
        state.old.insert(index);
        (index, Version::OLDEST)
    }

    /// Boots the nodes that speak an old version of the protocol with the newest.
    pub(crate) fn upgrade(&self) {
        let old = std::mem::take(&mut self.lock().old);
        old.into_iter().for_each(|index| self.boot(index));
    }

    /// Boots a node if it stopped itself.
    pub(crate) fn revive(&self, index: u32) {
        let stopped = self.lock().stopped.contains(&index);
        if stopped {
            self.boot(index);
        }
    }

    /// How often a node was booted.
    pub(crate) fn boots(&self) -> u64 {
        self.lock().boots
    }

    /// Ends a node without asking.
    pub(crate) fn crash(&self, index: u32, crash: Crash) {
        self.world.crash(&address(index), crash);
    }

    /// What recovery and the nodes themselves found wrong.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    fn stopped(&self, index: u32, failure: Failure) {
        let mut state = self.lock();
        state.stopped.insert(index);
        // Only a node whose disk failed in this life of it may stop.
        let failures = self.world.disks().failures(&address(index));
        let excused = state.failures.get(&index).is_some_and(|before| *before < failures);
        let text = match failure {
            Failure::Disk(text) if excused => {
                let text = format_args!("stops: {text}");
                return self
                    .world
                    .trace()
                    .record(self.world.now(), Event::on(&address(index), text));
            }
            Failure::Disk(text) | Failure::Broken(text) => text,
        };
        state.violations.push(format!("{}: {text}", address(index)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One life of a node.
    async fn live(&self, index: u32, host: &SimHost) -> Result<Infallible, Failure> {
        let config = self.config(index);
        let journal_config = JournalConfig {
            cluster: CLUSTER,
            node: config.node,
            segment_bytes: self.plan.segment_bytes,
            limits: config.limits,
            planted: config.planted,
        };
        let recovered = Recovered::new(config.limits, config.planted);
        let mut replay = Replay { recovered, opened: Opened::default(), damaged: Vec::new() };
        let opened = host.journal(journal_config, &mut replay);
        let (journal, recovery) = opened.map_err(|error| match error {
            JournalError::Io { .. } => Failure::Disk(error.to_string()),
            other => Failure::Broken(other.to_string()),
        })?;
        if !self.plan.rots() && !replay.damaged.is_empty() {
            return Err(Failure::Broken(replay.damaged.join(", ")));
        }
        let disk = Member { node: config.node, storage: recovery.storage };
        self.opened(index, disk, &replay.opened).map_err(Failure::Broken)?;
        let node = Node::new(config, replay.recovered, recovery.storage, host.random().bits());
        let journal = Watched::new(journal, disk, self.history.clone());
        let coordinator = self.outside.as_ref().map(|outside| {
            let port: Box<dyn CoordinatorPort> = Box::new(outside.port(index));
            port
        });
        let archive = self.archive.as_ref().map(|archive| {
            let port: Box<dyn ArchivePort> = Box::new(archive.port());
            port
        });
        let world = World {
            net: host.listener(),
            journal,
            timer: host.timer(),
            coordinator,
            archive,
            observer: None,
        };
        let (trace, sim) = (self.world.trace().clone(), self.world.clone());
        let name = host.address().clone();
        let report = move |Report { level, partition, text, .. }: Report| {
            let text = format_args!("{level:?}: {text}");
            let event = Event::on(&name, text);
            let event = partition.map_or(event, |partition| event.of(partition));
            trace.record(sim.now(), event);
        };
        let reason = run_node(node, world, Box::new(report), std::future::pending()).await;
        Err(Failure::Disk(reason))
    }

    fn opened(&self, index: u32, disk: Member, opened: &Opened) -> Result<(), String> {
        self.lock().disks.insert(index, disk);
        self.history.recovered(disk, opened)
    }

    /// Rot is looked for all the time, and small segments are given back soon.
    fn storage_config(&self) -> StorageConfig {
        let scrub =
            ScrubConfig { bytes_per_second: SCRUB_BYTES, interval: Duration::from_millis(500) };
        // Padding fills segments long before records do.
        let share = if self.plan.tight { 16 } else { 1 };
        let every_bytes = u64::from(self.plan.segment_bytes) / share;
        let checkpoints = CheckpointConfig { every_bytes, runs_per_part: 64, bytes_at_once: 400 };
        let segment_bytes = self.plan.segment_bytes;
        let slack_bytes = 4 * u64::from(segment_bytes);
        let quota_bytes = self.plan.quota_bytes().unwrap_or(u64::MAX);
        let space =
            SpaceConfig { segment_bytes, slack_bytes, bytes_per_second: 1 << 20, quota_bytes };
        StorageConfig { scrub, checkpoints, space }
    }

    fn config(&self, index: u32) -> NodeConfig {
        let shape = self.plan.shape;
        let cluster = ControllerConfig::new(shape.partitions, shape.replicas, shape.storages);
        let cluster = cluster.expect("a plan's cluster can be");
        let coordinator = match index {
            _ if self.plan.outside => CoordinatorAt::Outside { bootstrap: Some(cluster) },
            0 => CoordinatorAt::Here(cluster),
            _ => CoordinatorAt::Remote(address(0)),
        };
        let node = NodeId(index + 1);
        let mut config = NodeConfig::new(node, CLUSTER, address(index), coordinator)
            .with_limits(LIMITS)
            .with_planted(self.plan.planted);
        config.roles =
            Roles { storage: index < shape.storages, server: index >= shape.nodes - shape.servers };
        if self.lock().old.contains(&index) {
            config.newest = Version::OLDEST;
        }
        config.locality.zone = Some(format!("zone-{}", index % ZONES));
        config.lease = self.plan.lease;
        config.partition.locks = self.plan.locks;
        config.storage = self.storage_config();
        if self.plan.archive {
            Arc::make_mut(&mut config.partition.mounts).archive_reads = ARCHIVE_READS;
        }
        if self.plan.tight {
            let partition = &mut config.partition;
            let sequencer = Arc::make_mut(&mut partition.sequencer);
            sequencer.window_bytes = WINDOW_BYTES;
            sequencer.in_flight_bytes = 2 * WINDOW_BYTES;
            sequencer.keep_bytes = WINDOW_BYTES;
            sequencer.run_bytes = WINDOW_BYTES / 2;
            // As much for all partitions as each may have, so that some have to give theirs up.
            config.recent_bytes = WINDOW_BYTES;
            let mounts = Arc::make_mut(&mut partition.mounts);
            mounts.tail_bytes = WINDOW_BYTES;
            mounts.header_tail_bytes = WINDOW_BYTES;
            mounts.read_bytes = WINDOW_BYTES as u32 / 2;
            mounts.reads = 2;
        }
        config
    }
}

/// How many reads of the archive a partition has under way at most.
const ARCHIVE_READS: usize = 2;

/// In how many zones the nodes stand, by turns.
const ZONES: u32 = 3;

/// How much each node's scrub reads in a second: enough for all of a run's records.
const SCRUB_BYTES: u32 = 16 << 20;

/// What a tight plan allows to be under way to one replica: two of the largest records.
const WINDOW_BYTES: usize = 2 * LIMITS.record as usize;

/// A node's state, and the entries that made it.
struct Replay {
    recovered: Recovered,
    opened: Opened,
    /// What of it is damaged, in words.
    damaged: Vec<String>,
}

impl Fold for Replay {
    fn begin(&mut self, checkpoint: bool) -> Result<(), String> {
        self.opened = Opened { released: checkpoint, ..Opened::default() };
        self.damaged.clear();
        self.recovered.begin(checkpoint)
    }

    fn entry(&mut self, entry: FoundEntry<'_>) -> Result<(), String> {
        self.opened.entries.push((entry.head.clone(), entry.place));
        if entry.is_damaged {
            self.damaged.push(format!("{:?} at {:?} is damaged", entry.head, entry.place));
        }
        self.recovered.entry(entry)
    }

    fn has_checkpoint(&self) -> bool {
        self.recovered.has_checkpoint()
    }

    fn end(&mut self, suspect: Option<&Damage>) -> Result<(), String> {
        self.opened.suspect = suspect.is_some();
        self.damaged.extend(suspect.map(|damage| format!("the journal is suspect: {damage}")));
        self.recovered.end(suspect)
    }

    fn replay_from(&self) -> Option<u32> {
        self.recovered.replay_from()
    }
}

/// Where a node listens: at a host that has its name.
pub(crate) fn address(index: u32) -> Address {
    host_of(NodeId(index + 1))
}

/// The host that has a node's name.
pub(crate) fn host_of(node: NodeId) -> Address {
    Address(node.to_string())
}
