//! What a seed means: the cluster, the workload, and which faults come how often.

mod fault;
mod overrides;

use std::collections::BTreeMap;
use std::time::Duration;

use waltz_core::locks::LockWindow;
use waltz_core::planted::Planted;
use waltz_core::time::Random;

pub use fault::{FaultKind, Strength};
pub use overrides::Overrides;

use crate::workloads::WorkloadKind;

/// Sets what is drawn for faults that came later apart from all else.
const LATER: u64 = 0x6f70_6572_6174_6f72;

/// How much a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A few seconds of virtual time: what continuous integration runs many of.
    Short,
    /// Half a minute and more.
    Long,
}

/// The nodes of a run. The first hosts the coordinator, unless that is outside; the first `storages` of them store, the
/// last `servers` serve, and each does one of the two at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// All nodes.
    pub nodes: u32,
    /// Nodes that keep replicas.
    pub storages: u32,
    /// Nodes that serve partitions.
    pub servers: u32,
    /// Replicas of each partition.
    pub replicas: u32,
    /// Partitions.
    pub partitions: u32,
}

impl Shape {
    fn draw(random: &mut Random, workload: WorkloadKind) -> Self {
        let nodes = match below(random, 100) {
            0..8 => 1,
            8..70 => 3,
            70..90 => 5,
            _ => 7,
        };
        let odd = [1, 3, 5, 7].map(|replicas| replicas.min(nodes));
        // Three replicas are usual; a single one of many nodes is a cluster, too.
        let replicas = match below(random, 100) {
            0..5 => odd[0],
            5..75 => odd[1],
            75..92 => odd[2],
            _ => odd[3],
        };
        let mut shape = Self { nodes, storages: nodes, servers: nodes, replicas, partitions: 1 };
        if below(random, 100) < 25 {
            shape.storages = between(random, replicas, nodes);
            shape.servers = between(random, (nodes - shape.storages).max(1), nodes);
        }
        let (fewest, most) = workload.partitions();
        shape.partitions = between(random, fewest, most);
        shape
    }

    /// Makes a shape possible again after one of its numbers was changed.
    fn repaired(self) -> Self {
        let nodes = self.nodes.max(1);
        let replicas = self.replicas.clamp(1, nodes);
        let storages = self.storages.clamp(replicas, nodes);
        let servers = self.servers.clamp((nodes - storages).max(1), nodes);
        Self { nodes, storages, servers, replicas, partitions: self.partitions.max(1) }
    }
}

/// Sets what is drawn for the archive apart from all else.
const ARCHIVE: u64 = 0x6172_6368_6976_6500;

/// In so many of a hundred seeds whose logs are trimmed there is an archive.
const ARCHIVES: u64 = 80;

/// Everything a seed decides before the run begins.
///
/// Swarm testing (Groce et al. 2012): each seed turns some kinds of fault off altogether, so that
/// rare combinations of the others get room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The nodes.
    pub shape: Shape,
    /// What clients do.
    pub workload: WorkloadKind,
    /// Application instances.
    pub services: u32,
    /// Operations under way in each.
    pub workers: usize,
    /// Operations in all.
    pub operations: u64,
    /// How long faults last.
    pub storm: Duration,
    /// The faults.
    pub faults: BTreeMap<FaultKind, Strength>,
    /// Bytes of a journal's segment: small ones rotate.
    pub segment_bytes: u32,
    /// How long a server lives without a word to the coordinator.
    pub lease: Duration,
    /// What lock tables know.
    pub locks: LockWindow,
    /// Whether all nodes begin with the former version of the protocol, to be rolled forward.
    pub old: bool,
    /// Whether two replicas are lost for good, twice.
    pub story: bool,
    /// Whether windows, caches and credit are small, so that their bounds are met.
    pub tight: bool,
    /// Whether the coordinator is outside of the cluster, so that the nodes elect who controls.
    pub outside: bool,
    /// Whether what is trimmed is in an archive, from which everyone can be fed.
    pub archive: bool,
    /// The rule broken on purpose.
    pub planted: Planted,
}

impl Plan {
    /// What a seed means.
    pub fn draw(seed: u64, size: Size, planted: Planted) -> Self {
        let random = &mut Random::new(seed);
        let workload = WorkloadKind::ALL[below(random, WorkloadKind::ALL.len() as u64) as usize];
        let shape = Shape::draw(random, workload);
        let (operations, storm) = match size {
            Size::Short => (between(random, 40, 120), between(random, 5, 12)),
            Size::Long => (between(random, 300, 800), between(random, 20, 60)),
        };
        let small_window = LockWindow { records: 16, locks: 24 };
        let later = &mut Random::new(seed ^ LATER);
        let draw = |kind: &FaultKind| match kind.came_later() {
            true => draw_fault(later, *kind),
            false => draw_fault(random, *kind),
        };
        let mut faults: BTreeMap<_, _> = FaultKind::ALL.iter().filter_map(draw).collect();
        let archive = faults.contains_key(&FaultKind::Trim)
            && below(&mut Random::new(seed ^ ARCHIVE), 100) < ARCHIVES;
        faults.retain(|fault, _| archive || *fault != FaultKind::ArchiveOutage);
        let old = below(random, 100) < 30 && faults.contains_key(&FaultKind::Roll);
        Self {
            shape,
            workload,
            services: between(random, 1, 3),
            workers: between(random, 1, 8) as usize,
            operations: u64::from(operations),
            storm: Duration::from_secs(storm.into()),
            faults,
            segment_bytes: if below(random, 100) < 50 { 256 << 10 } else { 1 << 20 },
            lease: Duration::from_millis(between(random, 600, 3_000).into()),
            locks: if below(random, 100) < 30 { small_window } else { LockWindow::default() },
            old,
            story: false,
            tight: below(random, 100) < 50,
            outside: below(random, 100) < 30,
            archive,
            planted,
        }
    }

    /// Whether there is anything for an operator to do.
    pub(crate) fn is_operated(&self) -> bool {
        use FaultKind::{Death, Grow, Move, Operate, Smear, Trim, Wipe};
        let kinds = [Wipe, Smear, Death, Move, Trim, Operate, Grow];
        self.story || kinds.iter().any(|kind| self.faults.contains_key(kind))
    }

    /// Whether logs are trimmed.
    pub(crate) fn trims(&self) -> bool {
        self.faults.contains_key(&FaultKind::Trim)
    }

    /// How many bytes of a partition a node may keep: a few records where that is tight, and the
    /// operator trims what everyone has applied.
    pub(crate) fn quota_bytes(&self) -> Option<u64> {
        (self.tight && self.trims()).then_some(4 << 10)
    }

    /// Whether anything is damaged at rest.
    pub(crate) fn rots(&self) -> bool {
        [FaultKind::Rot, FaultKind::Misdirect, FaultKind::Smear]
            .iter()
            .any(|kind| self.faults.contains_key(kind))
    }

    /// The same with some things changed.
    #[must_use]
    pub fn with(mut self, overrides: &Overrides) -> Self {
        overrides.apply(&mut self);
        self.shape = self.shape.repaired();
        self
    }
}

fn draw_fault(random: &mut Random, kind: FaultKind) -> Option<(FaultKind, Strength)> {
    let (percent, (low, high)) = kind.odds();
    // Both are drawn in any case: one kind's luck is not another's.
    let (luck, strength) = (below(random, 100), low + below(random, high - low + 1));
    (luck < percent).then_some((kind, Strength(strength)))
}

fn below(random: &mut Random, bound: u64) -> u64 {
    random.bits() % bound
}

fn between(random: &mut Random, low: u32, high: u32) -> u32 {
    low + (random.bits() % u64::from(high - low + 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans() -> impl Iterator<Item = Plan> {
        (0..500).map(|seed| Plan::draw(seed, Size::Short, Planted::NONE))
    }

    #[test]
    fn every_plan_can_be_run_and_stays_as_it_is_without_overrides() {
        for plan in plans() {
            assert_eq!(plan.shape, plan.shape.repaired());
            assert!(plan.shape.storages + plan.shape.servers >= plan.shape.nodes);
            assert_eq!(plan.clone().with(&Overrides::default()), plan);
        }
    }

    #[test]
    fn seeds_reach_every_workload_and_size_and_turn_every_fault_on_and_off() {
        for workload in WorkloadKind::ALL {
            assert!(plans().any(|plan| plan.workload == *workload), "{workload:?}");
        }
        for nodes in [1, 3, 5, 7] {
            assert!(plans().any(|plan| plan.shape.nodes == nodes), "{nodes} nodes");
            assert!(plans().any(|plan| plan.shape.replicas == nodes), "{nodes} replicas");
        }
        assert!(plans().any(|plan| plan.shape.nodes > plan.shape.replicas));
        for fault in FaultKind::ALL {
            let comes = fault.odds().0 > 0;
            assert_eq!(plans().any(|plan| plan.faults.contains_key(fault)), comes, "{fault:?}");
            assert!(plans().any(|plan| !plan.faults.contains_key(fault)), "{fault:?}");
        }
        let rolls = |plan: &Plan| plan.faults.contains_key(&FaultKind::Roll);
        assert!(plans().any(|plan| plan.archive && plan.tight), "archives and quotas");
        assert!(plans().any(|plan| plan.archive && !plan.tight), "archives alone");
        assert!(plans().all(|plan| plan.trims() || !plan.archive), "archives of nothing");
        assert!(plans().filter(rolls).any(|plan| plan.old), "upgraded");
        assert!(plans().filter(rolls).any(|plan| !plan.old), "taken back");
    }
}
