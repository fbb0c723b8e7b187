//! The most memory that queues took while a run went on, as far as it is seen from outside.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use madsim::time::sleep;
use waltz_core::io::Address;
use waltz_runtime_sim::SimWorld;

use crate::history::History;
use crate::plan::Plan;

const EVERY: Duration = Duration::from_millis(100);

/// How many reads a storage node has under way for one caller; each of a run at most.
const READS_PER_CALLER: u64 = 64;

/// The most bytes of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Peaks {
    /// Sent by one end of a connection and not taken in by the other.
    pub(crate) connection_bytes: u64,
    /// From where to where.
    pub(crate) connection: Option<(Address, Address)>,
    /// Given to one node's journal and not durable.
    pub(crate) journal_bytes: u64,
}

impl Peaks {
    /// Looks now and then, for as long as the run lasts.
    pub(crate) fn watch(world: SimWorld, history: History) -> Arc<Mutex<Self>> {
        let peaks = Arc::new(Mutex::new(Self::default()));
        let watched = Arc::downgrade(&peaks);
        drop(madsim::task::spawn(async move {
            while watched.upgrade().map(|peaks| look(&peaks, &world, &history)).is_some() {
                sleep(EVERY).await;
            }
        }));
        peaks
    }

    /// What a plan allows.
    pub(crate) fn bound(plan: &Plan) -> Self {
        if !plan.tight {
            // The windows are larger than anything a run does.
            return Self { connection_bytes: u64::MAX, journal_bytes: u64::MAX, connection: None };
        }
        let partitions = u64::from(plan.shape.partitions);
        // For each partition a window or a mount's credit, and one frame over; then what a storage
        // node reads for one caller at once, asked for again after each lost connection; then
        // what is small.
        let reads = READS_PER_CALLER * (8 << 10);
        let connection_bytes = partitions * (48 << 10) + reads + (128 << 10);
        // For each partition a window and what is in flight, from every session that was open.
        let journal_bytes = partitions * (128 << 10) + (128 << 10);
        Self { connection_bytes, journal_bytes, connection: None }
    }
}

fn look(peaks: &Mutex<Peaks>, world: &SimWorld, history: &History) {
    let (connection, journal) = (world.network().most_under_way(), history.most_pending_bytes());
    let mut peaks = peaks.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((bytes, from, to)) = connection.filter(|found| found.0 > peaks.connection_bytes) {
        (peaks.connection_bytes, peaks.connection) = (bytes, Some((from, to)));
    }
    peaks.journal_bytes = peaks.journal_bytes.max(journal);
}
