//! Random runs: whatever order messages and syncs come in, whichever connections, nodes and
//! servers are lost, the [oracle](super::oracle) finds nothing; and once all is well again, the
//! newest session goes on.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::cluster::{Cluster, Loss};
use super::oracle::{Broken, Oracle};
use super::script::event_text;
use crate::id::{Mark, Member, NodeId, ReplicaSet, TransactionId};
use crate::planted::Planted;
use crate::sequencer::SequencerConfig;
use crate::storage::StorageConfig;
use crate::time::Random;

/// How many runs the test makes. More of them find rarer things.
const RUNS: u64 = 1_000;
const STEPS: usize = 300;

/// Something that can happen, and how often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Request,
    Answer,
    Sync,
    Read,
    FailRead,
    Append,
    Confirm,
    Fetch,
    Open,
    Stop,
    Link,
    Cut,
    Crash,
    Roll,
    Wait,
    Settle,
    Strand,
    Aim,
    Trim,
    Wake,
    Rot,
}

const WEIGHTS: [(Action, u64); 21] = [
    (Action::Request, 300),
    (Action::Answer, 300),
    (Action::Sync, 150),
    (Action::Read, 60),
    (Action::FailRead, 2),
    (Action::Append, 100),
    (Action::Confirm, 25),
    (Action::Fetch, 15),
    (Action::Open, 10),
    (Action::Stop, 2),
    (Action::Link, 40),
    (Action::Cut, 8),
    (Action::Crash, 8),
    (Action::Roll, 6),
    (Action::Wait, 20),
    (Action::Settle, 3),
    (Action::Strand, 12),
    (Action::Aim, 12),
    (Action::Trim, 6),
    (Action::Wake, 20),
    (Action::Rot, 6),
];

/// What every run needs to get anywhere is never left out.
fn usual(action: Action) -> usize {
    use Action::{Answer, Append, Link, Open, Request, Sync};
    usize::from(matches!(action, Request | Answer | Sync | Append | Link | Open))
}

/// A promise that a run broke.
struct Violation {
    seed: u64,
    step: usize,
    what: Broken,
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, step {}: {}", self.seed, self.step, self.what)
    }
}

/// One run.
struct Run {
    seed: u64,
    steps: usize,
    cluster: Cluster,
    oracle: Oracle,
    random: Random,
    weights: Vec<(Action, u64)>,
    epoch: u64,
    asked: u64,
    /// The disk that rots, in runs that keep their replica set: the last good copy may not be lost.
    rotting: Option<NodeId>,
    /// What happened, for people; kept only when it will be read.
    story: Option<Vec<String>>,
}

impl Run {
    fn new(seed: u64, planted: Planted) -> Self {
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
        // Every run has its own weather: what is rare in one is common in another.
        let weighted = |(action, weight)| (action, weight * pick([usual(action), 1, 3]) as u64);
        let mut weights = WEIGHTS.map(weighted).to_vec();
        let rots = random.bits().is_multiple_of(2);
        weights.retain(|(action, _)| !rots || *action != Action::Aim);
        let rotting = rots.then(|| NodeId(1 + (random.bits() % u64::from(size)) as u32));
        // Most runs are of one version. The others begin with any mixture.
        let rolls = random.bits().is_multiple_of(4);
        weights.retain(|(action, _)| rolls || *action != Action::Roll);
        for node in cluster.nodes.keys().copied().collect::<Vec<_>>() {
            cluster.roll(node, rolls && random.bits().is_multiple_of(2));
        }
        let (steps, epoch, asked, story) = (0, 0, 0, None);
        Self { seed, steps, cluster, oracle, random, weights, epoch, asked, rotting, story }
    }

    /// A run that is written down.
    fn told(seed: u64) -> Self {
        Self { story: Some(Vec::new()), ..Self::new(seed, Planted::NONE) }
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.random.bits() % bound as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, options: &[T]) -> Option<T> {
        (!options.is_empty()).then(|| options[self.below(options.len())])
    }

    fn action(&mut self) -> Action {
        let total: u64 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.random.bits() % total;
        for (action, weight) in &self.weights {
            match drawn.checked_sub(*weight) {
                None => return *action,
                Some(rest) => drawn = rest,
            }
        }
        unreachable!("what was drawn is below the total")
    }

    /// Does one thing and checks what came of it.
    fn step(&mut self) -> Result<(), Broken> {
        let action = loop {
            let action = self.action();
            if self.act(action).is_some() {
                break action;
            }
        };
        if let Some(story) = &mut self.story {
            story.push(format!("> {action:?}"));
        }
        self.check()
    }

    /// Does this somewhere; `None` if it can be done nowhere.
    fn act(&mut self, action: Action) -> Option<()> {
        match action {
            Action::Request => {
                let waiting = self.cluster.connections_of(|c| !c.requests.is_empty() || !c.is_up);
                let number = self.one_of(&waiting)?;
                self.cluster.deliver_request(number);
            }
            Action::Answer => {
                let waiting = self.cluster.connections_of(|c| !c.answers.is_empty());
                let number = self.one_of(&waiting)?;
                self.cluster.deliver_answer(number);
            }
            Action::Sync => {
                let unsynced = self.nodes_where(|cluster, node| cluster.unsynced(node) > 0);
                let (node, count) = (self.one_of(&unsynced)?, 1 + self.below(4));
                self.cluster.sync(node, count);
            }
            Action::Read | Action::FailRead => {
                let reading = |cluster: &Cluster, node| !cluster.nodes[&node].reads.is_empty();
                let reading = self.nodes_where(reading);
                let node = self.one_of(&reading)?;
                match action {
                    Action::Read => self.cluster.finish_read(node),
                    _ => self.cluster.fail_read(node),
                }
            }
            Action::Append
            | Action::Confirm
            | Action::Fetch
            | Action::Strand
            | Action::Aim
            | Action::Trim => return self.use_session(action),
            Action::Wake => {
                let node = self.node();
                self.cluster.wake(node);
            }
            Action::Rot => self.rot()?,
            Action::Open => self.open(None),
            Action::Stop => {
                let epoch = self.session()?;
                self.cluster.stop(epoch, Loss::AnswersOnly);
            }
            Action::Link | Action::Cut => return self.relink(action == Action::Link),
            Action::Crash => {
                let node = self.node();
                self.cluster.crash(node);
            }
            Action::Roll => {
                let node = self.node();
                self.cluster.roll(node, !self.cluster.is_old(node));
            }
            Action::Wait => {
                let pause = Duration::from_millis(self.below(600) as u64);
                self.cluster.wait(pause);
            }
            Action::Settle => {
                let mut nodes = self.nodes();
                let left_out = self.below(nodes.len());
                nodes.remove(left_out);
                assert!(self.cluster.settle(&nodes), "it never ends");
            }
        }
        Some(())
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.cluster.nodes.keys().copied().collect()
    }

    fn nodes_where(&self, is_wanted: impl Fn(&Cluster, NodeId) -> bool) -> Vec<NodeId> {
        let nodes = self.cluster.nodes.keys().copied();
        nodes.filter(|node| is_wanted(&self.cluster, *node)).collect()
    }

    fn node(&mut self) -> NodeId {
        let nodes = self.nodes();
        nodes[self.below(nodes.len())]
    }

    fn session(&mut self) -> Option<u64> {
        let sessions: Vec<_> = self.cluster.sessions.keys().copied().collect();
        self.one_of(&sessions)
    }

    fn relink(&mut self, is_up: bool) -> Option<()> {
        let epoch = self.session()?;
        let others = self.nodes_where(|cluster, node| cluster.is_linked(epoch, node) != is_up);
        let node = self.one_of(&others)?;
        if is_up {
            self.cluster.link(epoch, node);
        } else {
            let loss = [Loss::Everything, Loss::AnswersOnly][self.below(2)];
            self.cluster.cut(epoch, node, loss);
        }
        Some(())
    }

    fn use_session(&mut self, action: Action) -> Option<()> {
        let open = self.cluster.sessions.iter().filter(|(_, sequencer)| sequencer.is_open());
        let open: Vec<_> = open.map(|(epoch, _)| *epoch).collect();
        let epoch = self.one_of(&open)?;
        let sequencer = &self.cluster.sessions[&epoch];
        let (session, committed) = (sequencer.session(), sequencer.committed());
        self.asked += 1;
        match action {
            Action::Strand => self.strand(epoch),
            Action::Aim => self.aim(epoch),
            Action::Trim => {
                let start = self.below(committed.count() as usize + 1) as u64;
                self.cluster.trim(epoch, Mark::before(TransactionId(start)));
            }
            Action::Confirm => {
                self.oracle.asked(session, self.asked);
                self.cluster.confirm(epoch, self.asked);
            }
            Action::Fetch => {
                let last = committed.id()?;
                let first = TransactionId(self.below(last.0 as usize + 1) as u64);
                self.cluster.read(epoch, self.asked, first, committed);
            }
            _ => {
                let count = 1 + self.below(3) as u64;
                self.cluster.append(epoch, count);
            }
        }
        Some(())
    }

    /// A bit flips on the one disk that rots, where others hold the record.
    fn rot(&mut self) -> Option<()> {
        let node = self.rotting?;
        let last = self.oracle.committed().min(self.cluster.nodes[&node].replica()?.last()).id()?;
        let start = self.cluster.nodes[&node].replica()?.summary().start;
        let id = TransactionId(self.below(last.0 as usize + 1) as u64);
        if start.includes(id) || !self.oracle.is_held_by(self.cluster.nodes[&node].member, id) {
            return None;
        }
        self.cluster.rot(node, id);
        Some(())
    }

    /// A session is told to have other replicas: 1 to 5 of all nodes.
    fn aim(&mut self, epoch: u64) {
        let mut members: Vec<_> = self.cluster.nodes.values().map(|rig| rig.member).collect();
        let keep = 1 + self.below(members.len().min(5));
        while members.len() > keep {
            let gone = self.below(members.len());
            members.remove(gone);
        }
        self.cluster.aim(epoch, Some(ReplicaSet(members)));
    }

    /// A session's last records reach one replica only; then a higher one begins without it.
    fn strand(&mut self, epoch: u64) {
        let left = self.node();
        for node in self.nodes().into_iter().filter(|node| *node != left) {
            self.cluster.cut(epoch, node, Loss::Everything);
        }
        let count = 1 + self.below(3) as u64;
        self.cluster.append(epoch, count);
        for number in self.cluster.connections_of(|c| (c.epoch, c.node) == (epoch, left)) {
            self.cluster.deliver_requests(number, usize::MAX);
        }
        self.cluster.sync(left, usize::MAX);
        self.open(Some(left));
    }

    /// A server begins a higher session, whatever the others do; at most three go on at once.
    fn open(&mut self, without: Option<NodeId>) {
        self.epoch += 1;
        let server = self.node();
        self.cluster.open(self.epoch, server);
        for node in self.nodes().into_iter().filter(|node| Some(*node) != without) {
            if self.below(4) > 0 {
                self.cluster.link(self.epoch, node);
            }
        }
        if self.cluster.sessions.len() > 3 {
            let oldest = *self.cluster.sessions.keys().next().expect("there are more than three");
            self.cluster.stop(oldest, Loss::AnswersOnly);
        }
    }

    fn check(&mut self) -> Result<(), Broken> {
        let events = std::mem::take(&mut self.cluster.events);
        if let Some(story) = &mut self.story {
            story.extend(events.iter().map(event_text));
        }
        self.oracle.check(&self.cluster, &events)
    }

    /// All is well again: the newest session is open, everybody joins it, and it commits.
    fn heal(&mut self) -> Result<(), Broken> {
        for node in self.nodes_where(Cluster::is_old) {
            self.cluster.roll(node, false);
        }
        self.recover()?;
        if !self.cluster.sessions.contains_key(&self.epoch) {
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
        if !sequencer.is_open() || !set.0.iter().all(joined) {
            return Err(format!("not all joined the newest session: {:?}", sequencer.replicas()));
        }
        let (committed, sequenced) = (sequencer.committed(), sequencer.sequenced());
        if committed != sequenced {
            return Err(format!("{sequenced} was sequenced and {committed} is committed"));
        }
        for node in set.nodes() {
            let rig = &self.cluster.nodes[&node];
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

/// One whole run, and what it broke; a panic is a violation, too.
fn explore(run: &mut Run) -> Result<(), Violation> {
    let whole = |run: &mut Run| {
        while run.steps < STEPS {
            run.step()?;
            run.steps += 1;
        }
        run.heal()
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| whole(run)));
    let outcome = outcome.unwrap_or_else(|_| Err("a panic, reported above".to_owned()));
    outcome.map_err(|what| Violation { seed: run.seed, step: run.steps, what })
}

/// The first violation of so many runs.
fn first_violation(runs: u64, planted: Planted) -> Option<Violation> {
    (0..runs).find_map(|seed| explore(&mut Run::new(seed, planted)).err())
}

#[test]
fn nothing_promised_is_broken_and_all_ends_well() {
    nothing_is_broken_in(RUNS);
}

#[test]
#[ignore = "minutes: for a change of the protocol"]
fn nothing_promised_is_broken_in_many_more_runs() {
    nothing_is_broken_in(300 * RUNS);
}

fn nothing_is_broken_in(runs: u64) {
    let Some(violation) = first_violation(runs, Planted::NONE) else { return };
    let mut run = Run::told(violation.seed);
    let again = explore(&mut run);
    let story = run.story.unwrap_or_default().join("\n");
    panic!("{story}\n{violation:?}\nand once more: {again:?}");
}

/// The runs go somewhere: they commit, fence, cut, and catch up through reads.
#[test]
fn the_runs_reach_what_they_are_for() {
    let (mut committed, mut fenced, mut cut, mut read) = (0, 0, 0, 0);
    for seed in 0..50 {
        let mut run = Run::told(seed);
        explore(&mut run).expect("nothing is broken");
        committed += run.oracle.committed().count();
        let story = run.story.unwrap_or_default();
        for line in story {
            fenced += u64::from(line.contains("is over: n"));
            cut += u64::from(line.contains("writes cut"));
            read += u64::from(line.contains("-> s") && line.contains("records"));
        }
    }
    let reached = [committed, fenced, cut, read];
    assert!(reached.iter().all(|count| *count > 20), "{reached:?}");
}

#[cfg(feature = "planted-bugs")]
mod planted {
    use super::first_violation;
    use crate::planted::{Planted, PlantedBug};

    /// The rules of sessions and replicas, and within how many runs a broken one must show.
    const RULES: [(PlantedBug, u64); 10] = [
        (PlantedBug::AcknowledgeBeforeSync, 100),
        (PlantedBug::SkipPromiseCheck, 100),
        (PlantedBug::QuorumMinusOne, 100),
        (PlantedBug::CountBeforeJoin, 3_000),
        (PlantedBug::ChooseByLength, 3_000),
        (PlantedBug::TrustStaleSet, 3_000),
        (PlantedBug::ResumeBlindly, 3_000),
        (PlantedBug::ReplaceInOneStep, 3_000),
        (PlantedBug::ChangeBeforeCommitted, 3_000),
        (PlantedBug::CountLearner, 3_000),
    ];

    #[test]
    fn every_broken_rule_shows() {
        for (bug, runs) in RULES {
            let violation = first_violation(runs, Planted::bug(bug));
            assert!(violation.is_some(), "{runs} runs did not notice {bug:?}");
        }
    }
}
