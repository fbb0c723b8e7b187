//! Kills one node after the other, without warning, and starts each again.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use waltz_core::time::Random;

use crate::cluster::LocalCluster;

const SHORTEST_ABSENCE: Duration = Duration::from_millis(50);
const LONGEST_ABSENCE: Duration = Duration::from_millis(800);

/// The order of kills; every round has each node once, in an order drawn from the seed.
#[derive(Debug)]
pub(super) struct Kills {
    every: Duration,
    random: Random,
    nodes: usize,
    round: Vec<usize>,
}

impl Kills {
    /// Kills among so many nodes.
    pub(super) fn new(every: Duration, seed: u64, nodes: usize) -> Self {
        Self { every, random: Random::new(seed), nodes, round: Vec::new() }
    }

    /// Kills until told to stop, and says how often it did. All nodes are up when it returns.
    pub(super) async fn run(
        &mut self,
        cluster: &mut LocalCluster,
        mut stopped: oneshot::Receiver<()>,
    ) -> anyhow::Result<u64> {
        if self.every.is_zero() {
            // Only a dropped sender ends it.
            let _ = stopped.await;
            return Ok(0);
        }
        let mut due = interval_at(Instant::now() + self.every, self.every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kills = 0;
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped => return Ok(kills),
                _ = due.tick() => {}
            }
            let node = self.next();
            cluster.kill(node).await?;
            let longest = LONGEST_ABSENCE.min(self.every / 2).max(SHORTEST_ABSENCE);
            let absence = self.random.between(SHORTEST_ABSENCE, longest);
            tokio::time::sleep(absence).await;
            cluster.restart(node).await?;
            kills += 1;
        }
    }

    fn next(&mut self) -> usize {
        if self.round.is_empty() {
            self.round = (0..self.nodes).collect();
        }
        let index = self.random.bits() % self.round.len() as u64;
        self.round.swap_remove(index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_kills_each_node_once_and_a_seed_repeats_it() {
        let order = |seed| {
            let mut kills = Kills::new(Duration::ZERO, seed, 3);
            (0..9).map(|_| kills.next()).collect::<Vec<_>>()
        };
        for round in order(7).chunks(3) {
            let mut round = round.to_vec();
            round.sort_unstable();
            assert_eq!(round, [0, 1, 2]);
        }
        assert_eq!(order(7), order(7));
    }
}
