//! Runs on their way to the replicas.
//!
//! ```text
//!   first ………… committed ………… sealed ………… next
//!   │  kept for   │ in flight: on  │ building: this
//!   │  laggards   │ fewer than a   │ turn's records
//!   │             │ quorum         │
//! ```
//!
//! What is in flight is always kept; of what is committed the newest `keep_bytes` are.

use std::collections::VecDeque;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use crate::id::{Mark, SessionId, TransactionId};
use crate::record::{RecordView, Run, append_with_id};

/// The runs of one open session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Pipeline {
    session: SessionId,
    runs: VecDeque<Run>,
    bytes: usize,
    in_flight_bytes: usize,
    committed: Mark,
    keep_bytes: usize,
    building: BytesMut,
    building_count: u32,
    next: TransactionId,
}

impl Pipeline {
    /// An empty pipeline that continues a log after `committed`.
    pub(super) fn new(session: SessionId, committed: Mark, keep_bytes: usize) -> Self {
        Self {
            session,
            runs: VecDeque::new(),
            bytes: 0,
            in_flight_bytes: 0,
            committed,
            keep_bytes,
            building: BytesMut::new(),
            building_count: 0,
            next: committed.next(),
        }
    }

    /// Gives a record the next id and adds it to the run being built.
    pub(super) fn push(&mut self, record: &RecordView<'_>) -> TransactionId {
        let id = self.next;
        append_with_id(record, id, &mut self.building);
        self.building_count += 1;
        self.next = id.next();
        id
    }

    /// Ends the run being built.
    pub(super) fn seal(&mut self) -> Option<&Run> {
        if self.building_count == 0 {
            return None;
        }
        let bytes = self.building.split().freeze();
        let count = std::mem::take(&mut self.building_count);
        self.bytes += bytes.len();
        self.in_flight_bytes += bytes.len();
        let first = TransactionId(self.next.0 - u64::from(count));
        self.runs.push_back(Run { session: self.session, first, count, bytes });
        self.runs.back()
    }

    /// Bytes that are on fewer than a quorum, those being built included.
    pub(super) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes + self.building.len()
    }

    /// Bytes of the run being built.
    pub(super) fn building_bytes(&self) -> usize {
        self.building.len()
    }

    /// The last id given out.
    pub(super) fn sequenced(&self) -> Mark {
        Mark::before(self.next)
    }

    /// The last id of a sealed run.
    pub(super) fn sealed(&self) -> Mark {
        Mark::before(TransactionId(self.next.0 - u64::from(self.building_count)))
    }

    /// The last committed id.
    pub(super) fn committed(&self) -> Mark {
        self.committed
    }

    /// The rest of the run that holds `id`; `None` when it is no longer, or not yet, kept.
    pub(super) fn run_from(&self, id: TransactionId) -> Option<Run> {
        let after = self.runs.partition_point(|run| run.first <= id);
        let run = &self.runs[after.checked_sub(1)?];
        run.slice(id, run.last())
    }

    /// Moves the committed mark and hands out what it newly includes, in order.
    pub(super) fn commit(&mut self, to: Mark, mut each: impl FnMut(Run)) {
        assert!(to >= self.committed, "a committed mark never goes back");
        assert!(to <= self.sealed(), "only what was sent can be committed");
        while self.committed < to {
            let run = self.run_from(self.committed.next()).expect("in-flight runs are kept");
            let run = run.slice(self.committed.next(), to).expect("the run starts at the mark");
            self.in_flight_bytes -= run.bytes.len();
            self.committed = run.last();
            each(run);
        }
        self.keep(self.keep_bytes);
    }

    /// Bytes of committed records that are kept.
    pub(super) fn kept_bytes(&self) -> usize {
        self.bytes - self.in_flight_bytes
    }

    /// Forgets committed runs, the oldest first, until no more than `bytes` of all are left.
    pub(super) fn keep(&mut self, bytes: usize) {
        while self.bytes > bytes {
            match self.runs.front() {
                Some(run) if run.last() <= self.committed => self.bytes -= run.bytes.len(),
                _ => break,
            }
            self.runs.pop_front();
        }
    }
}
