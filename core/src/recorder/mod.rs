//! The flight recorder: the last inputs of a node, kept in memory, from which a pure machine can be
//! taken through the same steps again.
//!
//! It keeps two generations. Each begins with the node's whole state, its *base*, and goes on with
//! inputs, each with the time it was taken at and a fingerprint of its effects. When the newer
//! generation is full, the older one is forgotten; so at least one generation's worth of inputs is
//! at hand after the first. `docs/recordings.md` has the format.

mod error;
mod file;
mod fingerprint;
mod generation;
mod replay;
#[cfg(test)]
mod tests;
mod words;

use serde::{Deserialize, Serialize};

use crate::io::{Effect, Input};
use crate::node::Node;
use crate::time::Time;
pub use error::RecordingError;
pub use file::Recording;
pub use fingerprint::Fingerprint;
use generation::Generation;
pub use replay::{Played, Replay, Step, Verdict};
pub use words::{effect_text, input_text};

/// How many bytes of inputs a generation takes unless told otherwise.
pub const DEFAULT_GENERATION_BYTES: usize = 8 << 20;

/// One input as it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// When.
    pub now: Time,
    /// What.
    pub input: Input,
    /// Of the effects it had; `None` if the machine did not come to the end of this step.
    pub effects: Option<Fingerprint>,
}

/// Keeps the last inputs of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorder {
    generation_bytes: usize,
    older: Option<Generation>,
    newer: Generation,
}

impl Recorder {
    /// A recorder of this node from here on, whose generations take about so many bytes of inputs
    /// each. A generation takes as much as its base if that is more: what bases cost stays in
    /// proportion to what comes in.
    pub fn new(node: &Node, generation_bytes: usize) -> Self {
        Self { generation_bytes, older: None, newer: Generation::default().restart(0, node) }
    }

    /// Takes a node through one step and keeps what it was given. The input is kept before the
    /// machine sees it: if the step panics, it is the recording's last one.
    pub fn step(&mut self, node: &mut Node, now: Time, input: Input, effects: &mut Vec<Effect>) {
        if self.newer.bytes() >= self.generation_bytes.max(self.newer.base.len()) {
            let next = self.older.take().unwrap_or_default().restart(self.newer.end(), node);
            self.older = Some(std::mem::replace(&mut self.newer, next));
        }
        self.newer.push(now, &input);
        let before = effects.len();
        node.step(now, input, effects);
        self.newer.finish(Fingerprint::of(&effects[before..]));
    }

    fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.older.iter().chain([&self.newer])
    }
}
