//! What a seed means: the cluster, the workload, and which faults come how often.

use std::time::Duration;

use waltz_core::planted::Planted;
use waltz_core::time::Random;

/// How much a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A few seconds of virtual time: what continuous integration runs many of.
    Short,
    /// Half a minute and more.
    Long,
}

/// Faults of one kind come about this often; `None` turns the kind off for the whole run.
type Every = Option<Duration>;

/// Everything a seed decides before the run begins.
///
/// Swarm testing (Groce et al. 2012): each seed turns some kinds of fault off altogether, so that
/// rare combinations of the others get room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Nodes, each a server and a storage; the first hosts the coordinator.
    pub nodes: u32,
    /// Partitions, each with three replicas (or one, on a single node).
    pub partitions: u32,
    /// Bank services that share a database.
    pub services: u32,
    /// Operations under way in each.
    pub workers: usize,
    /// Transfers to submit.
    pub transfers: u64,
    /// Accounts: few make many conflicts.
    pub accounts: u64,
    /// How long faults last.
    pub storm: Duration,
    /// Bytes of a journal's segment: small ones rotate.
    pub segment_bytes: u32,
    /// How long a server lives without a word to the coordinator.
    pub lease: Duration,
    /// A process is killed.
    pub kills: Every,
    /// A host loses power: unsynced writes are lost, torn or reordered.
    pub power: Every,
    /// All hosts lose power at once.
    pub blackouts: Every,
    /// A node is cut off, or the network splits.
    pub splits: Every,
    /// One direction between two hosts is cut.
    pub one_way: Every,
    /// Connections are reset.
    pub resets: Every,
    /// The coordinator's node is down or cut off for a while.
    pub coordinator_outages: Every,
    /// Only the coordinator loses sight of a server, and has it replaced.
    pub duels: Every,
    /// A process stands still for a while.
    pub pauses: Every,
    /// A clock jumps forward.
    pub jumps: Every,
    /// Clocks run at different rates.
    pub drift: bool,
    /// Packets are lost, late and doubled.
    pub bad_links: bool,
    /// A disk becomes slow for a while.
    pub slow_disks: Every,
    /// The rule broken on purpose.
    pub planted: Planted,
}

impl Plan {
    /// What a seed means.
    pub fn draw(random: &mut Random, size: Size, planted: Planted) -> Self {
        let mut pick = |low: u64, high: u64| low + random.bits() % (high - low + 1);
        let (transfers, storm) = match size {
            Size::Short => (pick(40, 120), pick(5, 12)),
            Size::Long => (pick(300, 800), pick(20, 60)),
        };
        let mut every = |percent: u64, low: u64, high: u64| {
            (pick(1, 100) <= percent).then(|| Duration::from_millis(pick(low, high)))
        };
        Self {
            kills: every(60, 500, 4_000),
            power: every(60, 500, 4_000),
            blackouts: every(15, 2_000, 8_000),
            splits: every(50, 500, 4_000),
            one_way: every(40, 500, 3_000),
            resets: every(50, 50, 2_000),
            coordinator_outages: every(40, 1_000, 5_000),
            duels: every(40, 1_000, 5_000),
            pauses: every(30, 500, 4_000),
            jumps: every(25, 500, 4_000),
            slow_disks: every(40, 500, 4_000),
            drift: pick(1, 100) <= 40,
            bad_links: pick(1, 100) <= 50,
            nodes: if pick(1, 100) <= 10 { 1 } else { 3 },
            partitions: pick(1, 3) as u32,
            services: pick(1, 3) as u32,
            workers: pick(1, 8) as usize,
            accounts: pick(8, 40),
            segment_bytes: if pick(1, 100) <= 50 { 256 << 10 } else { 1 << 20 },
            lease: Duration::from_millis(pick(600, 3_000)),
            transfers,
            storm: Duration::from_secs(storm),
            planted,
        }
    }
}
