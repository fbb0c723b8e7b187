//! Flushes: everything called before is decided, and the application has applied what a quorum
//! confirms after that.

use std::collections::BTreeMap;

use crate::id::{Mark, PartitionId};

use super::base::Base;
use super::call::{Answer, CallId, Unanswered};
use super::partition::Partition;
use super::requests::{Purpose, Requests};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flush {
    call: CallId,
    stages: BTreeMap<PartitionId, Stage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Earlier calls are not decided yet.
    Deciding,
    /// The newest mark is asked for.
    Asking,
    /// It is to be applied.
    Applying(Mark),
}

impl Flush {
    pub(super) fn new(call: CallId, partitions: impl Iterator<Item = PartitionId>) -> Self {
        Self { call, stages: partitions.map(|partition| (partition, Stage::Deciding)).collect() }
    }

    pub(super) fn call(&self) -> CallId {
        self.call
    }

    pub(super) fn marked(&mut self, partition: PartitionId, mark: Mark) {
        if let Some(stage) = self.stages.get_mut(&partition) {
            *stage = Stage::Applying(mark);
        }
    }

    /// Looks how far it is; `true` once it has ended. Partitions no longer mounted don't count; one
    /// that can't be mounted at all ends it.
    pub(super) fn advance(
        &mut self,
        base: &mut Base,
        partitions: &BTreeMap<PartitionId, Partition>,
        requests: &mut Requests,
    ) -> bool {
        let call = self.call;
        let broken = self
            .stages
            .keys()
            .find_map(|id| Some(Unanswered::Broken(*id, partitions.get(id)?.broken()?.clone())));
        if let Some(broken) = broken {
            base.answer(call, Err(broken));
            return true;
        }
        self.stages.retain(|id, stage| {
            let Some(partition) = partitions.get(id) else { return false };
            match *stage {
                Stage::Deciding if !partition.has_older(call) => {
                    requests.mark(base, *id, Purpose::Flush(call));
                    *stage = Stage::Asking;
                    true
                }
                Stage::Deciding | Stage::Asking => true,
                Stage::Applying(mark) => partition.applied().is_none_or(|applied| applied < mark),
            }
        });
        if self.stages.is_empty() {
            base.answer(call, Ok(Answer::Done));
        }
        self.stages.is_empty()
    }

    pub(super) fn fail(self, base: &mut Base, why: Unanswered) {
        base.answer(self.call, Err(why));
    }
}
