//! A partition while it is being served: appends are numbered or refused, mounts are fed.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::archive::Archive;
use super::counting::Admissions;
use super::mounts::{MountName, Mounts, MountsOutput};
use super::retention::Retention;
use super::server::{Outputs, PartitionOutput};
use crate::id::{Generation, PartitionId, SessionId};
use crate::io::ArchiveTicket;
use crate::limits::Limits;
use crate::locks::LockTable;
use crate::measure::PartitionCounts;
use crate::planted::{Planted, PlantedBug};
use crate::record::{RecordView, Run};
use crate::sequencer::{Sequencer, SequencerOutput};
use crate::time::Time;
use crate::wire::{AppendRefusal, ReplicaRequest, ServerReply, ToReplica};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Serving {
    pub(super) partition: PartitionId,
    pub(super) sequencer: Box<Sequencer>,
    pub(super) locks: LockTable,
    pub(super) mounts: Mounts,
    pub(super) archive: Archive,
    pub(super) retention: Retention,
    pub(super) admissions: Admissions,
    /// The partition's, while it is served.
    pub(super) counts: Box<PartitionCounts>,
    /// When feeds whose reads failed are read for once more.
    pub(super) retry_at: Option<Time>,
    /// Since when a quorum has not answered what it is waited for.
    pub(super) unanswered_since: Option<Time>,
    pub(super) planted: Planted,
}

/// Who appends, and under what names.
pub(super) struct Append {
    pub(super) name: MountName,
    pub(super) session: SessionId,
    pub(super) count: u32,
    pub(super) at: Time,
}

impl Serving {
    pub(super) fn deadline(&self, patience: Duration) -> Option<Time> {
        let unanswered = self.quorum_deadline(patience);
        let waits = [
            self.sequencer.deadline(),
            self.retry_at,
            self.archive.retry_at,
            self.retention.deadline(),
            unanswered,
        ];
        waits.into_iter().flatten().min()
    }

    pub(super) fn on_said(
        &mut self,
        now: Time,
        output: SequencerOutput,
        next: &mut Vec<SequencerOutput>,
        outputs: &mut Outputs,
    ) {
        let mut said = Vec::new();
        match output {
            SequencerOutput::Committed(run) => self.on_committed(now, &run, &mut said),
            SequencerOutput::Confirmed { round, committed } => {
                self.unanswered_since = None;
                self.mounts.confirmed(round, committed, &mut said);
            }
            SequencerOutput::Records { asked, run, done } => {
                self.mounts.records(asked, &run, done, &mut said);
            }
            SequencerOutput::ReadFailed { asked, reason } => {
                self.mounts.read_failed(asked, &reason, &mut said);
            }
            SequencerOutput::ToReplica { .. }
            | SequencerOutput::Opened { .. }
            | SequencerOutput::Reach { .. }
            | SequencerOutput::SetCommitted(_)
            | SequencerOutput::Notice(_)
            | SequencerOutput::Over { .. } => unreachable!("handled for every state"),
        }
        self.on_mounts(said, next, outputs);
    }

    fn on_committed(&mut self, now: Time, run: &Run, said: &mut Vec<MountsOutput>) {
        self.unanswered_since = None;
        self.admissions.committed(run, now, &mut self.counts);
        self.retention.committed(now, run.last(), run.bytes.len());
        if self.planted.has(PlantedBug::IgnoreInFlightLocks) {
            for record in run.records() {
                self.locks.note(record.id(), &record);
            }
        }
        if !self.planted.has(PlantedBug::FeedUncommitted) || self.mounts.is_next(run.first) {
            self.mounts.committed(run, said);
        }
    }

    /// The bug [`PlantedBug::FeedUncommitted`]: what goes to replicas goes to clients as well.
    pub(super) fn feed_early(
        &mut self,
        request: &ToReplica,
        payload: &Bytes,
        outputs: &mut Outputs,
    ) {
        let ReplicaRequest::Append { first, count, .. } = request.request else { return };
        if self.mounts.is_next(first) {
            let (session, bytes) = (request.session, payload.clone());
            let (mut said, mut next) = (Vec::new(), Vec::new());
            self.mounts.committed(&Run { session, first, count, bytes }, &mut said);
            self.on_mounts(said, &mut next, outputs);
        }
    }

    pub(super) fn on_mounts(
        &mut self,
        said: Vec<MountsOutput>,
        next: &mut Vec<SequencerOutput>,
        outputs: &mut Outputs,
    ) {
        for output in said {
            match output {
                MountsOutput::Reply { conn, reply, payload } => {
                    outputs.push(PartitionOutput::Reply { conn, reply, payload });
                }
                MountsOutput::Read { request, first, to, max_bytes } => {
                    self.sequencer.read(request, first, to, max_bytes, next);
                }
                MountsOutput::ReadArchive { request, first, to, max_bytes } => {
                    let read = self.archive.begin(request, first, to, max_bytes);
                    let (partition, session) = (self.partition, self.sequencer.session());
                    let ticket = ArchiveTicket { partition, session, request };
                    outputs.push(PartitionOutput::ReadArchive { ticket, read });
                }
                MountsOutput::Confirm { round } => self.sequencer.confirm(round, next),
            }
        }
    }

    /// Numbers the records of one frame, or says of each why not.
    pub(super) fn append(
        &mut self,
        append: &Append,
        payload: &[u8],
        generation: Generation,
        limits: &Limits,
        outputs: &mut Outputs,
    ) {
        let Append { name, session, count, .. } = *append;
        let MountName { conn, client, mount } = name;
        let admitted = self.mounts.admits(name, session);
        let violation = |reason: String| PartitionOutput::Violation { conn, reason };
        // The frame bounds what is parsed; the record limit is then applied to each record, so
        // that one too large is refused by its name and the others are not harmed.
        let framed = Limits { record: limits.frame_payload, locks: u32::MAX, ..*limits };
        let (mut rest, mut held) = (payload, 0);
        while !rest.is_empty() {
            let (record, after) = match RecordView::parse(rest, &framed) {
                Ok(parsed) => parsed,
                Err(error) => return outputs.push(violation(error.to_string())),
            };
            rest = after;
            held += 1;
            let req_id = record.req_id();
            if req_id.client != client || req_id.partition != self.partition {
                return outputs.push(violation(format!("{req_id} is not the sender's")));
            }
            if admitted && !self.mounts.is_new(client, req_id.sequence) {
                return outputs.push(violation(format!("{req_id} comes out of turn")));
            }
            let refusal = if !admitted || req_id.generation != generation {
                Some(AppendRefusal::Stale)
            } else {
                self.refusal(&record, limits)
            };
            match refusal {
                Some(reason) => {
                    self.count_refusal(&reason);
                    let partition = req_id.partition;
                    let (first, last) = (req_id.sequence, req_id.sequence);
                    let reply =
                        ServerReply::AppendRefused { partition, mount, first, last, reason };
                    outputs.push(PartitionOutput::Reply { conn, reply, payload: Bytes::new() });
                }
                None => self.sequence(append, &record, outputs),
            }
        }
        if held != count {
            outputs.push(violation(format!("a frame of {count} records holds {held}")));
        }
    }

    /// Why a record of an admitted mount is not numbered, whatever its locks say. Locks are checked
    /// for changes after the mark it names, so a mark beyond what is committed would pass them all.
    fn refusal(&self, record: &RecordView<'_>, limits: &Limits) -> Option<AppendRefusal> {
        let (computed_at, log) = (record.computed_at(), self.sequencer.committed());
        if let Some(error) = over_limit(record, limits) {
            Some(AppendRefusal::Limit(error))
        } else if computed_at > log {
            Some(AppendRefusal::Ahead { computed_at, log })
        } else if self.sequencer.is_full() {
            Some(AppendRefusal::Full)
        } else if !self.sequencer.has_room() {
            Some(AppendRefusal::Busy)
        } else {
            None
        }
    }

    fn count_refusal(&mut self, reason: &AppendRefusal) {
        let refused = &mut self.counts.refused;
        match reason {
            AppendRefusal::Stale => refused.stale += 1,
            AppendRefusal::Limit(_) => refused.limit += 1,
            AppendRefusal::Ahead { .. } => refused.ahead += 1,
            AppendRefusal::Busy => refused.busy += 1,
            AppendRefusal::Full => refused.full += 1,
            // Who may not append is refused before it comes to a partition.
            AppendRefusal::Access(_) => {}
        }
    }

    fn sequence(&mut self, append: &Append, record: &RecordView<'_>, outputs: &mut Outputs) {
        let mut said = Vec::new();
        let mut next = Vec::new();
        match self.locks.check(record) {
            Ok(()) => {
                let id = self.sequencer.append(record, &mut next);
                self.counts.appended += 1;
                self.admissions.admitted(id, append.at);
                if !self.planted.has(PlantedBug::IgnoreInFlightLocks) {
                    self.locks.note(id, record);
                }
            }
            Err(conflict) => {
                let sequence = record.req_id().sequence;
                match conflict.exact {
                    true => self.counts.conflicts += 1,
                    false => self.counts.cautious_conflicts += 1,
                }
                self.mounts.conflict(append.name, sequence, conflict, &mut said);
            }
        }
        // A full run leaves at once: all it can say is what to send to replicas.
        for output in next {
            if let SequencerOutput::ToReplica { node, request, payload } = output {
                outputs.push(PartitionOutput::ToReplica { node, request, payload });
            }
        }
        let mut next = Vec::new();
        self.on_mounts(said, &mut next, outputs);
        debug_assert!(next.is_empty(), "a conflict asks nothing of the session");
    }
}

fn over_limit(record: &RecordView<'_>, limits: &Limits) -> Option<String> {
    let (bytes, locks) = (record.bytes().len(), record.lock_count());
    if bytes > limits.record as usize {
        return Some(format!("{bytes} bytes; the server takes {}", limits.record));
    }
    (locks > limits.locks as usize)
        .then(|| format!("{locks} locks; the server takes {}", limits.locks))
}
