//! Evens out what partitions cost their servers, where all serve equally many already.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{NodeId, PartitionId};

/// Costs that differ by less than one part in so many of a server's average are even: no
/// partition moves for that.
const GRAIN: u64 = 10;

/// What is known of servers while partitions are handed out to them.
#[derive(Debug)]
pub(super) struct Costs<'a> {
    loads: &'a BTreeMap<PartitionId, u32>,
    /// The load of the partitions that each server has so far.
    servers: BTreeMap<NodeId, u64>,
    /// An exchange has to lower the higher one of two servers' costs by this much.
    least_gain: u64,
}

/// A partition goes from one server to another, and perhaps another one comes back for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Exchange {
    /// How far the two are from equal costs afterwards.
    rest: u64,
    gives: (u64, PartitionId),
    takes: Option<(u64, PartitionId)>,
}

/// The partitions of each server, ascending by load.
type Held = BTreeMap<NodeId, BTreeSet<(u64, PartitionId)>>;

impl<'a> Costs<'a> {
    pub(super) fn new(servers: &BTreeSet<NodeId>, loads: &'a BTreeMap<PartitionId, u32>) -> Self {
        let total: u64 = loads.values().map(|load| u64::from(*load)).sum();
        let average = total / (servers.len() as u64).max(1);
        let servers = servers.iter().map(|server| (*server, 0)).collect();
        Self { loads, servers, least_gain: (average / GRAIN).max(1) }
    }

    fn load(&self, partition: PartitionId) -> u64 {
        self.loads.get(&partition).copied().unwrap_or_default().into()
    }

    /// Adds a group that any of `servers` may serve, each given with how many partitions it has in
    /// all. Partitions change places one for one, or go to a server that has fewer.
    pub(super) fn even_out(
        &mut self,
        servers: &BTreeMap<NodeId, usize>,
        assigned: &mut BTreeMap<PartitionId, NodeId>,
    ) {
        let mut held: Held = servers.keys().map(|server| (*server, BTreeSet::new())).collect();
        for (&partition, server) in assigned.iter() {
            let load = self.load(partition);
            held.entry(*server).or_default().insert((load, partition));
            *self.servers.entry(*server).or_default() += load;
        }
        let mut counts = servers.clone();
        // Each exchange lowers the sum of the squares of all costs, so there is a last one.
        while let Some((from, to, exchange)) = self.best(&held, &counts) {
            self.move_one(&mut held, exchange.gives, (from, to));
            assigned.insert(exchange.gives.1, to);
            match exchange.takes {
                Some(taken) => {
                    self.move_one(&mut held, taken, (to, from));
                    assigned.insert(taken.1, from);
                }
                None => {
                    *counts.entry(from).or_default() -= 1;
                    *counts.entry(to).or_default() += 1;
                }
            }
        }
    }

    fn move_one(&mut self, held: &mut Held, one: (u64, PartitionId), (from, to): (NodeId, NodeId)) {
        held.entry(from).or_default().remove(&one);
        held.entry(to).or_default().insert(one);
        *self.servers.entry(from).or_default() -= one.0;
        *self.servers.entry(to).or_default() += one.0;
    }

    /// The exchange that the most expensive server gains most by; if there is none, the next one's.
    fn best(
        &self,
        held: &Held,
        counts: &BTreeMap<NodeId, usize>,
    ) -> Option<(NodeId, NodeId, Exchange)> {
        let mut by_cost: Vec<_> =
            held.keys().map(|server| (self.servers[server], *server)).collect();
        by_cost.sort_unstable();
        for &(high, from) in by_cost.iter().rev() {
            for &(low, to) in &by_cost {
                let gap = high.saturating_sub(low);
                if gap < 2 * self.least_gain {
                    break;
                }
                let may_move = counts[&from] > counts[&to];
                let exchange = self.exchange(gap, &held[&from], &held[&to], may_move);
                if let Some(exchange) = exchange {
                    return Some((from, to, exchange));
                }
            }
        }
        None
    }

    /// What brings two servers closest together, if anything brings them closer.
    fn exchange(
        &self,
        gap: u64,
        from: &BTreeSet<(u64, PartitionId)>,
        to: &BTreeSet<(u64, PartitionId)>,
        may_move: bool,
    ) -> Option<Exchange> {
        let exchange = |gives: (u64, PartitionId), takes: Option<(u64, PartitionId)>| {
            let shift = gives.0.checked_sub(takes.map_or(0, |taken| taken.0))?;
            let is_gain = shift >= self.least_gain && shift + self.least_gain <= gap;
            is_gain.then(|| Exchange { rest: gap.abs_diff(2 * shift), gives, takes })
        };
        let candidates = from.iter().flat_map(|&gives| {
            // What is taken is the better the closer it is to this.
            let ideal = (gives.0.saturating_sub(gap / 2), PartitionId(0));
            let (below, above) = (to.range(..ideal).next_back(), to.range(ideal..).next());
            let moved = may_move.then(|| exchange(gives, None)).flatten();
            let taken = [below, above].into_iter().flatten();
            taken.filter_map(move |taken| exchange(gives, Some(*taken))).chain(moved)
        });
        candidates.min()
    }
}
