//! What is bounded, and by how much. Every length that comes from outside is checked against
//! these before anything is allocated for it.

use serde::{Deserialize, Serialize};

/// Limits of one node or client, in bytes unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Longest head of a frame.
    pub frame_head: u32,
    /// Longest payload of a frame; also bounds a run of records.
    pub frame_payload: u32,
    /// Largest record, its own header and locks included.
    pub record: u32,
    /// Most locks of one record, the three kinds together.
    pub locks: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { frame_head: 1 << 20, frame_payload: 8 << 20, record: 1 << 20, locks: 1024 }
    }
}
