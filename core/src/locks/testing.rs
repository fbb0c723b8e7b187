//! What tests and smaller simulations of locks share: records that are nothing but locks.

use bytes::{Bytes, BytesMut};

use crate::id::{Mark, ReqId, TransactionId};
use crate::limits::Limits;
use crate::lock::{LockId, LockKind};
use crate::record::{NewRecord, RecordView};

/// Locks of a record, and the mark it was computed at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Locks {
    pub(crate) computed_at: u64,
    pub(crate) writes: Vec<u64>,
    pub(crate) reads: Vec<u64>,
    pub(crate) appends: Vec<u64>,
}

impl Locks {
    /// Those of a record.
    pub(crate) fn of(record: &RecordView<'_>) -> Self {
        let mut locks = Self { computed_at: record.computed_at().count(), ..Self::default() };
        for (kind, LockId(lock)) in record.locks() {
            match kind {
                LockKind::Write => locks.writes.push(lock),
                LockKind::Read => locks.reads.push(lock),
                LockKind::Append => locks.appends.push(lock),
            }
        }
        locks
    }

    /// A record of this name with these locks.
    pub(crate) fn encode(&self, req_id: ReqId) -> Bytes {
        let ids = |numbers: &[u64]| numbers.iter().map(|n| LockId(*n)).collect::<Vec<_>>();
        let (writes, reads, appends) = (ids(&self.writes), ids(&self.reads), ids(&self.appends));
        let record = NewRecord {
            req_id,
            header: 0,
            computed_at: Mark::before(TransactionId(self.computed_at)),
            writes: &writes,
            reads: &reads,
            appends: &appends,
            data: &[],
        };
        let mut bytes = BytesMut::new();
        record.encode(&Limits::default(), &mut bytes).expect("within the limits");
        bytes.freeze()
    }

    /// The locks that the record changes.
    pub(crate) fn changed(&self) -> impl Iterator<Item = u64> + '_ {
        self.writes.iter().chain(&self.appends).copied()
    }

    /// The locks that must not have changed since it was computed.
    pub(crate) fn checked(&self) -> impl Iterator<Item = u64> + '_ {
        self.writes.iter().chain(&self.reads).copied()
    }
}
