//! Where explorations begin: the empty cluster, and the middles of stories that are many steps
//! from it.

use waltz_core::id::NodeId;
use waltz_core::planted::Planted;

use crate::action::{Action, Slot};
use crate::cluster::{Budget, Cluster};
use crate::step::{Told, World};

/// A state to begin with, how it came about, and the faults that may follow.
#[derive(Debug, Clone)]
pub struct Start {
    /// Its name.
    pub name: &'static str,
    /// The faults, in words.
    pub faults: &'static str,
    /// How it came about, as a transcript.
    pub(crate) story: Vec<String>,
    /// The state.
    pub(crate) cluster: Cluster,
}

/// A way to begin.
struct Beginning {
    name: &'static str,
    /// How many records each of the two sessions numbers from then on.
    appends: [u8; 2],
    /// How many quorum rounds the lower session begins.
    rounds: u8,
    tell: fn(&mut Story),
}

/// From the simplest on.
const BEGINNINGS: [Beginning; 7] = [
    Beginning { name: "new", appends: [1, 1], rounds: 0, tell: |_| {} },
    Beginning { name: "open", appends: [1, 1], rounds: 0, tell: Story::open },
    Beginning { name: "round", appends: [0, 1], rounds: 1, tell: Story::open },
    Beginning { name: "half-joined", appends: [1, 1], rounds: 0, tell: Story::half_joined },
    Beginning { name: "tail", appends: [0, 1], rounds: 0, tell: Story::tail },
    Beginning { name: "diverged", appends: [1, 1], rounds: 0, tell: Story::diverged },
    Beginning { name: "double-failover", appends: [1, 1], rounds: 0, tell: Story::double_failover },
];

/// The names of all starts.
pub const START_NAMES: [&str; BEGINNINGS.len()] = {
    let mut names = [""; BEGINNINGS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = BEGINNINGS[index].name;
        index += 1;
    }
    names
};

const FAULTS: [(&str, u8, u8); 4] =
    [("none", 0, 0), ("a reset", 0, 1), ("a crash", 1, 0), ("a crash and a reset", 1, 1)];

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);
const ALL: [NodeId; 3] = [N1, N2, N3];

/// Every start with every kind of faults, fewest faults first.
pub fn starts(planted: Planted) -> Vec<Start> {
    let kinds = FAULTS.iter().map(|(faults, ..)| *faults);
    kinds
        .flat_map(|faults| START_NAMES.map(|name| start(name, faults, planted)))
        .flatten()
        .collect()
}

/// The start of these names, if there is one.
pub fn start(name: &str, faults: &str, planted: Planted) -> Option<Start> {
    let beginning = BEGINNINGS.iter().find(|beginning| beginning.name == name)?;
    let (faults, crashes, resets) = *FAULTS.iter().find(|(name, ..)| *name == faults)?;
    let mut story = Story::new(planted);
    (beginning.tell)(&mut story);
    let Story { mut cluster, mut told, .. } = story;
    let Beginning { appends, rounds, .. } = *beginning;
    cluster.left = Budget { appends, rounds: [rounds, 0], crashes, resets };
    told.tell(|| format!("# From here on everything may happen; faults: {faults}."));
    Some(Start { name: beginning.name, faults, story: told.lines(), cluster })
}

/// A story without faults, up to where an exploration begins.
struct Story {
    cluster: Cluster,
    told: Told,
    planted: Planted,
}

impl Story {
    fn new(planted: Planted) -> Self {
        let mut told = Told::kept();
        told.tell(|| "> open s1\n> open s2".to_owned());
        let mut cluster = Cluster::new(planted);
        cluster.left.appends = [u8::MAX; 2];
        Self { cluster, told, planted }
    }

    fn act(&mut self, action: Action) {
        self.cluster = self.cluster.after(action, &mut self.told, &World::default());
    }

    /// Everything between a session and these nodes comes to its end.
    fn settle(&mut self, slot: Slot, among: &[NodeId]) {
        let mut actions = Vec::new();
        loop {
            actions.clear();
            self.cluster.enabled(&mut actions);
            let is_next = |action: &Action| match action {
                Action::Request(of, node) | Action::Answer(of, node) => {
                    *of == slot && among.contains(node)
                }
                Action::Sync(node) | Action::Read(node) => among.contains(node),
                _ => false,
            };
            let Some(next) = actions.iter().copied().find(is_next) else { return };
            self.act(next);
        }
    }

    /// The next request to a node arrives, what it writes becomes durable, and the answer comes.
    fn ask(&mut self, slot: Slot, node: NodeId) {
        self.act(Action::Request(slot, node));
        if self.cluster.node(node).unsynced() > 0 {
            self.act(Action::Sync(node));
        }
        self.act(Action::Answer(slot, node));
    }

    /// The lower session is open, and all have joined it.
    fn open(&mut self) {
        self.settle(Slot::Lower, &ALL);
    }

    /// Record 0 is committed by n1 and n2; n3 has not heard of anything yet.
    fn half_joined(&mut self) {
        self.settle(Slot::Lower, &[N1, N2]);
        self.act(Action::Append(Slot::Lower));
        self.settle(Slot::Lower, &[N1, N2]);
    }

    /// Record 0 is committed on all; record 1 is durable on n1 alone.
    fn tail(&mut self) {
        self.settle(Slot::Lower, &ALL);
        self.act(Action::Append(Slot::Lower));
        self.settle(Slot::Lower, &ALL);
        self.act(Action::Append(Slot::Lower));
        self.settle(Slot::Lower, &[N1]);
    }

    /// n1 alone has records 1 and 2 of a session that is gone; n2 and n3 have committed another
    /// record 1 in the next one, which is open; a third session begins.
    fn diverged(&mut self) {
        self.tail();
        self.act(Action::Append(Slot::Lower));
        self.settle(Slot::Lower, &[N1]);
        self.settle(Slot::Higher, &[N2, N3]);
        self.act(Action::Append(Slot::Higher));
        self.settle(Slot::Higher, &[N2, N3]);
        self.succeed();
    }

    /// The first session is gone with all that it sent, and a third one begins.
    fn succeed(&mut self) {
        self.cluster.succeed(3, self.planted);
        self.told.tell(|| "> stop s1\n> open s3".to_owned());
    }

    /// Record 0 is committed by n1 and n2. Their session is gone; of the next one n2 has joined
    /// and n3, which lacks the record, has promised; a third session begins.
    fn double_failover(&mut self) {
        self.half_joined();
        self.succeed();
        self.ask(Slot::Lower, N2);
        self.ask(Slot::Lower, N3);
        // What n2 was asked since: to adopt its own log, and to join it.
        self.ask(Slot::Lower, N2);
        self.act(Action::Request(Slot::Lower, N2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_keeps_its_promises_and_tells_how_it_came_about() {
        for start in starts(Planted::NONE) {
            assert_eq!(start.cluster.broken(), None, "{}", start.name);
            assert!(start.story.len() > 1, "{}", start.name);
        }
        assert!(start("open", "a crash", Planted::NONE).is_some());
        assert!(start("open", "a flood", Planted::NONE).is_none());
    }
}
