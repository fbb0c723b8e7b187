//! One run from beginning to end.

use std::collections::VecDeque;
use std::time::Duration;

use super::actions::{Action, WEIGHTS, usual};
use super::attention::{Attention, Turn};
use super::cluster::Cluster;
use super::event::Event;
use super::faults::Trouble;
use super::lapse::Lapse;
use super::oracle::Oracle;
use crate::explorer::draw::Draw;
use crate::explorer::explore::{Broken, Explore};
use crate::id::{Member, NodeId};
use crate::planted::Planted;
use crate::sequencer::SequencerConfig;
use crate::storage::StorageConfig;
use crate::time::Random;

const STEPS: usize = 400;

/// One run.
pub(super) struct Run {
    pub(super) steps: usize,
    pub(super) cluster: Cluster,
    pub(super) oracle: Oracle,
    pub(super) random: Random,
    pub(super) weights: Vec<(Action, u64)>,
    pub(super) epoch: u64,
    pub(super) asked: u64,
    /// What has the attention, and what will have it next.
    pub(super) attention: Option<Attention>,
    pub(super) agenda: VecDeque<Turn>,
    /// What goes wrong more than usual, and the node that suffers from it.
    pub(super) trouble: Trouble,
    pub(super) troubled: NodeId,
    pub(super) lapse: Lapse,
    /// Whether a replica was told to trim what its session did not say.
    pub(super) has_trimmed: bool,
    /// Whether servers offer what is not in their logs.
    pub(super) lies: bool,
    /// What happened, for people; kept only when it will be read.
    pub(super) story: Option<Vec<String>>,
}

impl Explore for Run {
    fn whole(&mut self) -> Result<(), Broken> {
        while self.steps < STEPS {
            self.step()?;
            self.steps += 1;
        }
        self.heal()
    }

    fn steps(&self) -> usize {
        self.steps
    }
}

impl Run {
    pub(super) fn new(seed: u64, planted: Planted) -> Self {
        let mut random = Random::new(seed);
        let size = if random.bits().is_multiple_of(5) { 5 } else { 3 };
        let spares = (random.bits() % 3) as u32;
        let mut cluster = Cluster::with_spares(size, spares, planted);
        for rig in cluster.nodes.values_mut() {
            rig.config = StorageConfig::default();
            rig.restart();
        }
        let mut pick = |of: [usize; 3]| of[(random.bits() % 3) as usize];
        cluster.config = SequencerConfig {
            window_bytes: pick([100, 600, 4 << 20]),
            learner_lag: pick([0, 3, 1024]) as u64,
            keep_bytes: pick([0, 400, 4 << 20]),
            run_bytes: pick([100, 300, 1 << 20]),
            ..cluster.config
        };
        let oracle = Oracle::new(&cluster);
        let node = NodeId(1 + (random.bits() % u64::from(size)) as u32);
        let trouble = Trouble::DRAWN[(random.bits() % 8) as usize];
        let lapse = Lapse::DRAWN[random.below(Lapse::DRAWN.len())];
        let lies = trouble == Trouble::Rot || random.bits().is_multiple_of(3);
        // Every run has its own weather: what is rare in one is common in another.
        let weights = WEIGHTS.into_iter().filter(|(action, _)| trouble.allows(*action));
        let mut weighted = |(action, weight): (Action, u64)| {
            let often = [usual(action), 1, 3][(random.bits() % 3) as usize] as u64;
            (action, weight * often * trouble.favours(action))
        };
        let mut weights: Vec<_> = weights.map(&mut weighted).collect();
        // Most runs are of one version. The others begin with any mixture.
        let rolls = random.bits().is_multiple_of(4);
        weights.retain(|(action, _)| rolls || *action != Action::Roll);
        weights.retain(|(action, _)| lapse != Lapse::Any || *action != Action::Prepare);
        for node in cluster.nodes.keys().copied().collect::<Vec<_>>() {
            cluster.roll(node, rolls && random.bits().is_multiple_of(2));
        }
        Self {
            steps: 0,
            cluster,
            oracle,
            random,
            weights,
            epoch: 0,
            asked: 0,
            attention: None,
            agenda: VecDeque::new(),
            trouble,
            troubled: node,
            lapse,
            has_trimmed: false,
            lies,
            story: None,
        }
    }

    /// A run that is written down.
    #[cfg(test)]
    pub(super) fn told(seed: u64) -> Self {
        Self { story: Some(Vec::new()), ..Self::new(seed, Planted::NONE) }
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound)
    }

    pub(super) fn one_of<T: Copy>(&mut self, options: &[T]) -> Option<T> {
        self.random.one_of(options)
    }

    /// Does one thing and checks what came of it.
    fn step(&mut self) -> Result<(), Broken> {
        let action = match self.attended() {
            Some(action) => action,
            None => loop {
                let action = self.action();
                if self.act(action).is_some() {
                    break action;
                }
            },
        };
        if let Some(story) = &mut self.story {
            story.push(format!("> {action:?}"));
        }
        self.check()
    }

    fn check(&mut self) -> Result<(), Broken> {
        let events = std::mem::take(&mut self.cluster.events);
        if let Some(story) = &mut self.story {
            story.extend(events.iter().map(Event::text));
        }
        self.oracle.check(&self.cluster, &events)
    }

    /// All is well again: the newest session is open, everybody joins it, and it commits.
    fn heal(&mut self) -> Result<(), Broken> {
        for node in self.nodes_where(Cluster::is_old) {
            self.cluster.roll(node, false);
        }
        (self.attention, self.agenda) = (None, VecDeque::new());
        self.recover()?;
        // What a session did not trim itself it may miss, until a newer one knows.
        if self.has_trimmed || !self.cluster.sessions.contains_key(&self.epoch) {
            self.epoch += 1;
            self.cluster.open(self.epoch, NodeId(1));
            self.recover()?;
        }
        self.check_even()?;
        self.cluster.append(self.epoch, 1);
        self.recover()?;
        self.check_even()
    }

    /// Everybody is in the newest session and knows all of it to be committed.
    fn check_even(&self) -> Result<(), Broken> {
        let Some(sequencer) = self.cluster.sessions.get(&self.epoch) else {
            return Err("the newest session is over, though nothing fails".to_owned());
        };
        let set = &sequencer.set().replicas;
        let joined = |member: &Member| {
            sequencer.replicas().iter().any(|r| r.node == member.node && r.state == "joined")
        };
        let sound: Vec<_> = set.0.iter().filter(|member| !self.oracle.is_lost(**member)).collect();
        if !sequencer.is_open() || !sound.iter().all(|member| joined(member)) {
            return Err(format!("not all joined the newest session: {:?}", sequencer.replicas()));
        }
        let (committed, sequenced) = (sequencer.committed(), sequencer.sequenced());
        if committed != sequenced {
            return Err(format!("{sequenced} was sequenced and {committed} is committed"));
        }
        for Member { node, .. } in sound {
            let rig = &self.cluster.nodes[node];
            let replica = rig.replica().ok_or("a replica is missing")?;
            if (replica.last(), replica.low_water()) != (committed, committed) {
                let (last, low_water) = (replica.last(), replica.low_water());
                return Err(format!("{node} ends at {last}, knows {low_water} of {committed}"));
            }
        }
        Ok(())
    }

    /// Everybody is connected, and all that waits, a rest included, comes to its end.
    fn recover(&mut self) -> Result<(), Broken> {
        let nodes = self.nodes();
        for _ in 0..6 {
            for epoch in self.cluster.sessions.keys().copied().collect::<Vec<_>>() {
                for node in &nodes {
                    if self.cluster.sessions.contains_key(&epoch)
                        && !self.cluster.is_linked(epoch, *node)
                    {
                        self.cluster.link(epoch, *node);
                    }
                }
            }
            if !self.cluster.settle(&nodes) {
                return Err("messages go round for ever".to_owned());
            }
            for _ in 0..20 {
                nodes.iter().for_each(|node| self.cluster.wake(*node));
                if !self.cluster.settle(&nodes) {
                    return Err("messages go round for ever".to_owned());
                }
            }
            self.check()?;
            self.cluster.wait(Duration::from_millis(600));
        }
        self.check()
    }
}
