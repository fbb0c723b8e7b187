//! The flight recorder as a node's loop carries it: when a recording is written out.
//!
//! That is when somebody asks for it, when the node has to stop, and when the loop panics. Where
//! to is not known here.

#[cfg(test)]
mod tests;

use std::fmt;
use std::task::{Context, Poll};

use waltz_core::io::{Effect, Input};
use waltz_core::node::Node;
use waltz_core::recorder::Recorder;
use waltz_core::time::Time;

/// Why a recording is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// Somebody asked for it; the node goes on.
    Asked,
    /// The node stops because it can't go on.
    Stopped,
    /// The node's loop panicked.
    Panicked,
}

/// Takes the bytes of a recording away. It must not panic.
pub type Save = Box<dyn FnMut(Occasion, Vec<u8>) + Send>;

/// Ready each time somebody asks for a recording; never ready if nobody can.
pub type Asked = Box<dyn FnMut(&mut Context<'_>) -> Poll<()> + Send>;

/// A recorder and what to do with its recordings.
pub struct FlightRecorder {
    recorder: Recorder,
    save: Save,
    asked: Asked,
}

impl FlightRecorder {
    /// Keeps inputs in `recorder`; recordings go to `save`.
    pub fn new(recorder: Recorder, save: Save, asked: Asked) -> Self {
        Self { recorder, save, asked }
    }

    fn write(&mut self, occasion: Occasion, node: Option<&Node>) {
        (self.save)(occasion, self.recorder.encode(node));
    }
}

impl fmt::Debug for FlightRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightRecorder").finish_non_exhaustive()
    }
}

/// A panic drops the loop, and with it this.
impl Drop for FlightRecorder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.write(Occasion::Panicked, None);
        }
    }
}

/// A node, recorded or not.
#[derive(Debug)]
pub(crate) struct RecordedNode {
    pub(crate) node: Node,
    pub(crate) recorder: Option<FlightRecorder>,
}

impl RecordedNode {
    pub(crate) fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        match &mut self.recorder {
            None => self.node.step(now, input, effects),
            Some(flight) => flight.recorder.step(&mut self.node, now, input, effects),
        }
    }

    /// Writes out what was asked for.
    pub(crate) fn poll_asked(&mut self, cx: &mut Context<'_>) {
        if let Some(flight) = &mut self.recorder {
            while (flight.asked)(cx).is_ready() {
                flight.write(Occasion::Asked, Some(&self.node));
            }
        }
    }

    /// The node stops though nobody asked it to.
    pub(crate) fn failed(&mut self) {
        if let Some(flight) = &mut self.recorder {
            flight.write(Occasion::Stopped, Some(&self.node));
        }
    }
}
