//! Checkpoints: the state that the journal's entries have led to, written down in the journal
//! itself, so that its oldest segments can be given up and a restart need not begin at the first
//! entry.
//!
//! ```text
//!  … entries │ part 0 │ … │ part 1 │ … │ part 2 │ … │ end │ … entries
//!              begin        replica      its runs
//! ```
//!
//! Entries go on being written between the parts: each part says what is so at its own place in
//! the journal, and what comes after it is folded in as always. So a replica's part is never taken
//! while something that it would tell of is on its way to a place not yet known. Parts are bounded,
//! and so are those on their way together: a checkpoint costs the journal's other users little, and
//! one of very many small replicas takes few syncs.
//!
//! A checkpoint counts when its end is durable and every part was read back. When two count, the
//! segments before the older one are released, as far as no log has records there.

mod parts;
mod replay;
mod write;

pub use replay::{NoCheckpoint, Replayed};

pub(super) use parts::{IndexPart, ReplicaState};
pub(super) use replay::Replay;
pub(super) use write::Checkpoints;

use serde::{Deserialize, Serialize};

use crate::id::CheckpointNumber;

/// What an entry takes beside its body, roughly.
const HEAD_BYTES: u64 = 64;

/// A checkpoint that counts, and the segment where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Complete {
    number: CheckpointNumber,
    segment: u32,
    /// Of its parts' bodies.
    bytes: u64,
}
