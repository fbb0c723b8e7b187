//! What operations want in the log, and how long they are waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use waltz_client::{AppendRequest, LockId, LockKind, Mark, TransactionBuilder};

use crate::operations::Number;

/// What an operation wants in the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    pub(crate) header: u32,
    pub(crate) locks: Vec<(LockKind, LockId)>,
    pub(crate) body: Vec<u8>,
}

impl Wish {
    pub(crate) fn lock(mut self, kind: LockKind, name: &str, number: u64) -> Self {
        self.locks.push((kind, LockId::new(name, number)));
        self
    }

    /// The data: the operation's number, then the body.
    pub(super) fn data(&self, number: Number) -> Vec<u8> {
        [&number.0.to_le_bytes(), &self.body[..]].concat()
    }

    /// Asks for it in an append that was computed at this mark.
    pub(super) fn request(&self, data: Vec<u8>, computed_at: Mark) -> AppendRequest {
        let request = AppendRequest::new(data).header(self.header).at(computed_at);
        self.locks.iter().fold(request, |request, (kind, lock)| match kind {
            LockKind::Write => request.write_lock(*lock),
            LockKind::Read => request.read_lock(*lock),
            LockKind::Append => request.append_lock(*lock),
        })
    }

    /// Asks for it in a context that executes.
    pub(super) fn build(&self, data: Vec<u8>, builder: &mut TransactionBuilder) {
        builder.header(self.header).data_bytes(data);
        for (kind, lock) in &self.locks {
            match kind {
                LockKind::Write => builder.write_lock(*lock),
                LockKind::Read => builder.read_lock(*lock),
                LockKind::Append => builder.append_lock(*lock),
            };
        }
    }
}

/// How long an instance waits for what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// To the end.
    Endless,
    /// Its client is told to give up then.
    Until(Duration),
    /// It drops the handle then.
    Withdrawn(Duration),
}

/// Numbers operations across all instances.
#[derive(Clone, Default)]
pub(crate) struct Numbers(Arc<AtomicU64>);

impl Numbers {
    pub(super) fn next(&self) -> Number {
        Number(self.0.fetch_add(1, Ordering::Relaxed))
    }
}
