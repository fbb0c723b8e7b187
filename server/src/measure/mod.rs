//! What a run cost: latencies, the servers' processor time and memory, the disk's own speed.

pub mod disk;
pub mod latency;
pub mod process;
