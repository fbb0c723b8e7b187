//! What happens in a cluster that is moved by hand, in words for people.

use crate::id::{NodeId, SessionId};
use crate::io::Report;
use crate::journal::EntryHead;
use crate::sequencer::SequencerOutput;
use crate::transcript::{answer_text, entry_text, output_text, request_text, short};
use crate::wire::{ReplicaAnswer, ReplicaRequest};

/// Something that happened, in the order it did.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A request reached a node.
    Request { session: SessionId, node: NodeId, request: ReplicaRequest },
    /// A node gave an entry to its journal.
    Wrote { node: NodeId, head: EntryHead },
    /// A node told its operator something.
    Reported { node: NodeId, report: Report },
    /// An answer reached its session.
    Answer { session: SessionId, node: NodeId, answer: ReplicaAnswer },
    /// A session said something to its server.
    Said { session: SessionId, output: SequencerOutput },
}

impl Event {
    /// It in a line.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Request { session, node, request } => {
                format!("{} -> {node} {}", short(session), request_text(request))
            }
            Self::Wrote { node, head } => format!("{node} writes {}", entry_text(head)),
            Self::Reported { node, report } => {
                format!("{node} reports {:?}: {}", report.level, report.text)
            }
            Self::Answer { session, node, answer } => {
                format!("{node} -> {} {}", short(session), answer_text(answer))
            }
            Self::Said { session, output } => format!("{} {}", short(session), output_text(output)),
        }
    }
}
