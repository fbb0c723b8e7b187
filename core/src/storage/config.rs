//! How a storage node looks after what it keeps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::journal::DEFAULT_SEGMENT_BYTES;

/// A storage node's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct StorageConfig {
    /// The search for rot.
    pub scrub: ScrubConfig,
    /// What bounds a restart, and gives space back.
    pub checkpoints: CheckpointConfig,
    /// What bounds the journal.
    pub space: SpaceConfig,
}

/// How much space the journal and each partition may take. Records of its oldest segments are written again at its end
/// where it takes more than twice their bytes and some slack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SpaceConfig {
    /// The journal's segments.
    pub segment_bytes: u32,
    /// Beside twice the records' bytes; several segments, or there is nothing that writing again
    /// could gain.
    pub slack_bytes: u64,
    /// Records are written again at this rate, and faster only where others write that fast; not 0.
    pub bytes_per_second: u32,
    /// A partition with more bytes than this takes no more appends; what other replicas have of it
    /// is taken all the same.
    pub quota_bytes: u64,
}

impl Default for SpaceConfig {
    fn default() -> Self {
        Self {
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            slack_bytes: 16 * u64::from(DEFAULT_SEGMENT_BYTES),
            bytes_per_second: 32 << 20,
            quota_bytes: u64::MAX,
        }
    }
}

/// When checkpoints are written, and in what parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckpointConfig {
    /// One begins when the journal has grown by so many bytes since the last one; 0: there are
    /// none, and no space is given back.
    pub every_bytes: u64,
    /// How many runs of records one part tells of at most; not 0.
    pub runs_per_part: usize,
    /// Parts are on their way to the disk, or read back, together as long as they have fewer bytes
    /// than this; 0: one at a time.
    pub bytes_at_once: u64,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            every_bytes: 4 * u64::from(DEFAULT_SEGMENT_BYTES),
            runs_per_part: 4096,
            bytes_at_once: 64 << 10,
        }
    }
}

/// How stored records are read in the background, to find out which can't be any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ScrubConfig {
    /// At most so many bytes a second; 0: none.
    pub bytes_per_second: u32,
    /// From the end of one round over all records to the beginning of the next.
    pub interval: Duration,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        Self { bytes_per_second: 4 << 20, interval: Duration::from_secs(3600) }
    }
}
