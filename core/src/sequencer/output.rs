//! What comes of a step of a session: requests for replicas, and what its owner is told.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{Mark, NodeId, SessionId};
use crate::log::SetChange;
use crate::record::Run;
use crate::wire::ToReplica;

/// What a session wants done, or says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SequencerOutput {
    /// Ask a replica.
    ToReplica {
        /// Which.
        node: NodeId,
        /// What.
        request: ToReplica,
        /// Records, or nothing.
        payload: Bytes,
    },
    /// A quorum has joined: everything up to here is committed, and appends may come.
    Opened {
        /// The chosen prefix's end.
        committed: Mark,
    },
    /// The next records are committed.
    Committed(Run),
    /// A quorum confirmed the session after this round was asked for.
    Confirmed {
        /// The round.
        round: u64,
        /// The high-water mark.
        committed: Mark,
    },
    /// Records asked for with [`Sequencer::read`](super::Sequencer::read).
    Records {
        /// The number they were asked under.
        asked: u64,
        /// The records.
        run: Run,
        /// Whether nothing more comes.
        done: bool,
    },
    /// No replica could give the records asked for.
    ReadFailed {
        /// The number they were asked under.
        asked: u64,
        /// Why, for people.
        reason: String,
    },
    /// A replica's node should be reached, if it is not: say so with
    /// [`Sequencer::on_reachable`](super::Sequencer::on_reachable).
    Reach {
        /// The node.
        node: NodeId,
    },
    /// A change of the replica set is committed.
    SetCommitted(SetChange),
    /// Something that an operator should know, in words.
    Notice(String),
    /// The session can't go on.
    Over {
        /// The promise that fenced it, if one did.
        promise: Option<SessionId>,
        /// Why, for people.
        reason: String,
    },
}

/// Where a session's outputs go.
pub type Outputs = Vec<SequencerOutput>;
