//! Between the opening of a session and its service: the lock table is rebuilt from the log's end.

use std::sync::Arc;

use super::archive::Archive;
use super::counting::Admissions;
use super::mounts::Mounts;
use super::patience::Opening;
use super::retention::Retention;
use super::server::{Outputs, PartitionConfig, PartitionServer, State};
use super::serving::Serving;
use crate::id::{Mark, TransactionId};
use crate::io::{Context, Level};
use crate::locks::LockTable;
use crate::planted::PlantedBug;
use crate::record::Run;
use crate::sequencer::SequencerOutput;

/// The bytes read at once to rebuild the lock table.
const REBUILD_READ_BYTES: u32 = 1 << 20;

impl PartitionServer {
    /// The session is open: reads the log's tail to know which locks were changed when.
    pub(super) fn rebuild(
        &mut self,
        cx: &mut Context<'_>,
        committed: Mark,
        next: &mut Vec<SequencerOutput>,
        outputs: &mut Outputs,
    ) {
        let State::Opening(sequencer) = std::mem::replace(&mut self.state, State::Seeking) else {
            unreachable!("a session opens once");
        };
        let planted = self.config.planted;
        let set = sequencer.set().clone();
        let first = LockTable::rebuild_from(committed, self.config.locks);
        let (first, floor) = match planted.has(PlantedBug::ForgetLocks) {
            true => (committed.next(), Mark::NONE),
            false => {
                let first = first.max(sequencer.start().next());
                (first, Mark::before(first))
            }
        };
        let locks = LockTable::new(self.config.locks, floor).with_planted(planted);
        self.state = State::Rebuilding { sequencer, locks: Box::new(locks) };
        self.opening = Opening::default();
        // The log is committed, and so is the set it ends with, whoever changed it.
        self.on_set_committed(set, outputs);
        self.rebuild_on(cx, first, next);
    }

    fn rebuild_on(
        &mut self,
        cx: &mut Context<'_>,
        first: TransactionId,
        next: &mut Vec<SequencerOutput>,
    ) {
        let State::Rebuilding { sequencer, .. } = &mut self.state else {
            return;
        };
        let committed = sequencer.committed();
        if committed.includes(first) {
            sequencer.read(0, first, committed, REBUILD_READ_BYTES, next);
            return;
        }
        let State::Rebuilding { sequencer, locks } =
            std::mem::replace(&mut self.state, State::Seeking)
        else {
            unreachable!("checked above");
        };
        self.counted().sessions_opened += 1;
        let session = sequencer.session();
        let text = format!("session {session} is open at {committed}");
        cx.report(Level::Info, Some(self.partition), text);
        let PartitionConfig { ref mounts, retention, planted, .. } = *self.config;
        let start = sequencer.start();
        let mounts =
            Mounts::new(Arc::clone(mounts), self.partition, self.generation, session, committed);
        let mut retention = Retention::new(retention, cx.now, committed);
        retention.consumed(self.orders.consumed);
        let serving = Serving {
            partition: self.partition,
            sequencer,
            locks: *locks,
            mounts: mounts.with_start(start).with_planted(planted),
            archive: Archive::new(self.creation),
            retention,
            admissions: Admissions::default(),
            counts: self.counts.take().unwrap_or_default(),
            retry_at: None,
            unanswered_since: None,
            planted,
        };
        self.state = State::Serving(Box::new(serving));
    }

    pub(super) fn on_rebuild_records(
        &mut self,
        cx: &mut Context<'_>,
        run: &Run,
        done: bool,
        next: &mut Vec<SequencerOutput>,
    ) {
        if let State::Rebuilding { locks, .. } = &mut self.state {
            for record in run.records() {
                locks.note(record.id(), &record);
            }
        }
        self.opening = Opening::default();
        if done {
            self.rebuild_on(cx, run.last().next(), next);
        }
    }
}
