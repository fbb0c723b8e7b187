//! The file system's own speed: what any durable append must at least cost.

use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::latency::Latencies;

const BLOCK_BYTES: usize = 4096;
const WRITES: u64 = 300;

/// The median of one 4 KiB write followed by `fdatasync`, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SyncSpeed {
    /// At the end of a growing file.
    pub growing_p50_ms: f64,
    /// Into a file that was filled with zeros before.
    pub zero_filled_p50_ms: f64,
}

/// Measures it in a directory; the file is gone afterwards.
///
/// # Errors
/// When the directory can't be written.
pub fn measure_sync(directory: &Path) -> io::Result<SyncSpeed> {
    let file = tempfile::NamedTempFile::new_in(directory)?;
    let growing_p50_ms = write_and_sync(file.path())?;
    let zero_filled_p50_ms = write_and_sync(file.path())?;
    Ok(SyncSpeed { growing_p50_ms, zero_filled_p50_ms })
}

/// The first pass over a file makes it grow, the second finds it there.
fn write_and_sync(path: &Path) -> io::Result<f64> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let (block, mut latencies) = ([0_u8; BLOCK_BYTES], Latencies::new());
    for index in 0..WRITES {
        let start = Instant::now();
        file.seek(SeekFrom::Start(index * BLOCK_BYTES as u64))?;
        file.write_all(&block)?;
        file.sync_data()?;
        latencies.record(start.elapsed());
    }
    Ok(latencies.percentiles().p50_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let speed = measure_sync(directory.path()).unwrap();
        assert!(speed.growing_p50_ms > 0.0 && speed.zero_filled_p50_ms > 0.0);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
