//! Where a session's log starts.
//!
//! The start moves here first; replicas are told. So that it is not forgotten with the session, it
//! moves only while a quorum of them can be told.

use bytes::Bytes;

use super::{Outputs, Phase, Sequencer, Stage};
use crate::id::{Mark, NodeId};
use crate::wire::ReplicaRequest;

impl Sequencer {
    /// Everything up to here was trimmed.
    pub fn start(&self) -> Mark {
        self.log().map_or(Mark::NONE, |log| log.start)
    }

    /// Whether the session is open and a quorum of its replicas can be told of a new start: they
    /// have joined, and speak a version of the protocol that has trims.
    pub fn can_trim(&self) -> bool {
        let can_be_told = |node: &NodeId| self.replicas[node].takes_upkeep() && self.counts(*node);
        let told = self.joined().into_iter().filter(can_be_told).count();
        self.is_open() && told >= self.quorum()
    }

    /// Moves the log's start, as far as it is committed, if it [can](Self::can_trim) now. Replicas
    /// forget what comes before.
    pub fn trim(&mut self, start: Mark, outputs: &mut Outputs) {
        if self.can_trim() {
            self.start_after(start, outputs);
        }
    }

    /// The log starts after what some replica has trimmed, or everyone is to.
    pub(super) fn start_after(&mut self, start: Mark, outputs: &mut Outputs) {
        let (Phase::Open { log, .. } | Phase::Chosen { log, .. }) = &mut self.phase else {
            return;
        };
        let start = start.min(log.last);
        if start > log.start {
            log.trim(start);
            for node in self.joined() {
                self.tell_start(node, outputs);
                self.start_over(node, outputs);
            }
        }
    }

    /// Has a replica begin anew at the log's start, once it has nothing under way, if what it was sent
    /// ends before that. Whether it does: no records may be sent to it then, as those it lacks are
    /// trimmed, and so may be a change of the replica set between them.
    pub(super) fn start_over(&mut self, node: NodeId, outputs: &mut Outputs) -> bool {
        let start = self.start();
        let progress = self.progress(node);
        let is_left_behind = progress.sent < start;
        if is_left_behind && progress.has_nothing_under_way() {
            self.adopt(node, outputs);
        }
        is_left_behind
    }

    /// Tells a joined replica how far the log is trimmed, once it was told that so much is
    /// committed. One that can't be told now is when it comes back.
    pub(super) fn tell_start(&mut self, node: NodeId, outputs: &mut Outputs) {
        let start = self.start();
        let progress = self.progress(node);
        let is_behind = progress.trimmed < start && progress.told >= start;
        if is_behind && progress.stage == Stage::Joined && progress.takes_upkeep() {
            progress.trimmed = start;
            self.ask(node, ReplicaRequest::Trim { start }, Bytes::new(), outputs);
        }
    }
}
