//! A recording run through the machine again.

use std::vec::IntoIter;

use super::{Fingerprint, Recorded};
use crate::io::{Effect, Input};
use crate::node::Node;
use crate::time::Time;

/// What a recording consists of after its first state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Input(Recorded),
    /// The node's state where a new generation began.
    Base(Box<Node>),
}

/// Takes a node through what was recorded of it, one step at a time.
#[derive(Debug)]
pub struct Replay {
    node: Node,
    parts: IntoIter<Part>,
    /// The next input's.
    number: u64,
    end: Option<Fingerprint>,
}

/// What came of a part of the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Played {
    /// An input was taken.
    Input(Step),
    /// The node's whole state was recorded here.
    State {
        /// The number of the input that comes after it.
        before: u64,
        /// Whether the replay came to the same state. If not, it goes on from the recorded one.
        same: bool,
    },
}

impl Played {
    /// Whether it contradicts the recording.
    pub fn differs(&self) -> bool {
        match self {
            Self::Input(step) => step.verdict != Verdict::Same,
            Self::State { same, .. } => !same,
        }
    }
}

/// One input and its effects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The input's number in the node's life, from 0.
    pub number: u64,
    /// When it was taken.
    pub now: Time,
    /// What was taken.
    pub input: Input,
    /// What came of it in the replay.
    pub effects: Vec<Effect>,
    /// What the recording says to that.
    pub verdict: Verdict,
}

/// Whether a step's effects are the recorded ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are.
    Same,
    /// They are not.
    Different,
    /// The recorded node had none: it did not come to the end of this step.
    Unfinished,
}

impl Replay {
    pub(super) fn new(first: u64, node: Node, parts: Vec<Part>, end: Option<Fingerprint>) -> Self {
        Self { node, parts: parts.into_iter(), number: first, end }
    }

    /// The node as it is now.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The number and the input that the next call of `next` takes, if it takes one: a step may
    /// panic, as it did when it was recorded.
    pub fn upcoming(&self) -> Option<(u64, &Recorded)> {
        match self.parts.as_slice().first()? {
            Part::Input(recorded) => Some((self.number, recorded)),
            Part::Base(_) => None,
        }
    }

    fn step(&mut self, recorded: Recorded) -> Step {
        let Recorded { now, input, effects: expected } = recorded;
        let (number, mut effects) = (self.number, Vec::new());
        self.number += 1;
        self.node.step(now, input.clone(), &mut effects);
        let verdict = match expected {
            None => Verdict::Unfinished,
            Some(expected) if expected == Fingerprint::of(effects.as_slice()) => Verdict::Same,
            Some(_) => Verdict::Different,
        };
        Step { number, now, input, effects, verdict }
    }
}

impl Iterator for Replay {
    type Item = Played;

    fn next(&mut self) -> Option<Played> {
        let before = self.number;
        match self.parts.next() {
            Some(Part::Input(recorded)) => Some(Played::Input(self.step(recorded))),
            Some(Part::Base(node)) => {
                let same = self.node == *node;
                self.node = *node;
                Some(Played::State { before, same })
            }
            None => {
                let same = self.end.take()? == Fingerprint::of(&self.node);
                Some(Played::State { before, same })
            }
        }
    }
}
