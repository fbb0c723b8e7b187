//! What a partition's server is told beside requests of clients: the replicas that an operator
//! wants, what consumers have applied, and what is to be trimmed.

use std::collections::BTreeSet;

use super::server::{Outputs, PartitionOutput, PartitionServer, State};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{Mark, NodeId, ReplicaSet};
use crate::io::{ConnectionId, Context};
use crate::log::SetChange;
use crate::membership::Target;
use crate::sequencer::Sequencer;
use crate::wire::{OperatorRefusal, OperatorRequest, PartitionStatus, ServerReply};

/// What the cluster's record says of a partition beside who serves it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Orders {
    /// The replicas that an operator wants, if one has said so.
    pub target: Option<Target>,
    /// What every registered consumer has applied, if there is one.
    pub consumed: Option<Mark>,
}

impl PartitionServer {
    /// Takes in what the cluster's record says now. A newer replica set than the one known is
    /// asked first by the next session.
    pub fn on_orders(
        &mut self,
        cx: &mut Context<'_>,
        hint: SetChange,
        orders: Orders,
        outputs: &mut Outputs,
    ) {
        if hint.version > self.hint.version {
            self.hint = hint;
        }
        if self.orders == orders {
            return;
        }
        let forced = self.survivors();
        self.orders = orders;
        if let State::Serving(serving) = &mut self.state {
            serving.retention.consumed(self.orders.consumed);
        }
        if matches!(self.state, State::Opening(_)) && self.survivors() != forced {
            let reason = "an operator has decided how it is recovered".to_owned();
            return self.over(cx, None, reason, outputs);
        }
        let aim = self.aim();
        self.with_sequencer(cx, outputs, |sequencer, said| sequencer.aim(aim, said));
    }

    /// The replicas to bring the set to. Those of a recovery by force are none to aim at: where a
    /// quorum is left, it goes on.
    pub(super) fn aim(&self) -> Option<ReplicaSet> {
        let target = self.orders.target.as_ref()?;
        target.force_above.is_none().then(|| target.members.clone())
    }

    /// The nodes that an operator recovers the partition with, by force. It stands for the set
    /// that the operator knew: not for a newer one.
    pub(super) fn survivors(&self) -> Option<BTreeSet<NodeId>> {
        let target = self.orders.target.as_ref()?;
        let forced = target.force_above.is_some_and(|version| self.hint.version <= version);
        forced.then(|| target.members.nodes().collect())
    }

    pub(super) fn on_set_committed(&mut self, change: SetChange, outputs: &mut Outputs) {
        if change.version > self.hint.version {
            self.hint = change.clone();
            outputs.push(PartitionOutput::SetCommitted(change));
        }
    }

    /// An operator asks the partition's server itself.
    pub(super) fn on_operator(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        call: u64,
        request: &OperatorRequest,
        outputs: &mut Outputs,
    ) {
        let committed = self.sequencer().map_or(Mark::NONE, Sequencer::committed);
        let result = match request {
            OperatorRequest::Trim { start, .. } if *start > committed => {
                Err(OperatorRefusal::BeyondLog { committed })
            }
            OperatorRequest::Trim { .. } if !self.can_trim() => {
                let reason = "too few of the partition's replicas can be told of it now: they are \
                              away, or speak a version of the protocol without trims";
                Err(OperatorRefusal::Refused { reason: reason.to_owned() })
            }
            OperatorRequest::Trim { start, .. } => {
                self.trim(cx, *start, outputs);
                Ok(())
            }
            _ => Err(OperatorRefusal::NotOwner),
        };
        let reply = ServerReply::Operated { call, result };
        outputs.push(PartitionOutput::Reply { conn, reply, payload: Bytes::new() });
    }

    /// Trims what the configuration lets go by now.
    pub(super) fn trim_due(&mut self, cx: &mut Context<'_>, outputs: &mut Outputs) {
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        let due = serving.retention.due(cx.now, serving.locks.floor());
        if due > serving.sequencer.start() && serving.sequencer.can_trim() {
            self.trim(cx, due, outputs);
        }
    }

    fn can_trim(&self) -> bool {
        self.sequencer().is_some_and(Sequencer::can_trim)
    }

    /// Moves the log's start: for replicas, for the lock table and for whoever reads.
    fn trim(&mut self, cx: &mut Context<'_>, start: Mark, outputs: &mut Outputs) {
        self.with_sequencer(cx, outputs, |sequencer, said| sequencer.trim(start, said));
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        let start = serving.sequencer.start();
        serving.locks.trim(start);
        serving.retention.trimmed(start);
        let mut said = Vec::new();
        serving.mounts.trimmed(start, &mut said);
        self.settle_mounts(cx, said, outputs);
    }

    /// The nodes that the partition has or will have to do with.
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        let target = self.orders.target.iter().flat_map(|target| target.members.nodes());
        let session = self.sequencer().into_iter().flat_map(Sequencer::nodes);
        self.hint.replicas.nodes().chain(target).chain(session).collect()
    }

    /// The partition, for people. Of its consumers and of wiped disks it knows nothing.
    pub fn status(&self) -> PartitionStatus {
        let sequencer = self.sequencer();
        PartitionStatus {
            partition: self.partition,
            session: sequencer.map(Sequencer::session),
            open: matches!(self.state, State::Serving(_)),
            committed: sequencer.map_or(Mark::NONE, Sequencer::committed),
            start: sequencer.map_or(Mark::NONE, Sequencer::start),
            version: self.newest_set().version,
            members: self.newest_set().replicas.clone(),
            target: self.orders.target.as_ref().map(|target| target.members.clone()),
            replicas: sequencer.map_or_else(Vec::new, Sequencer::replicas),
            consumers: Vec::new(),
        }
    }

    /// The newest replica set known, committed or not.
    fn newest_set(&self) -> &SetChange {
        let heard = self.sequencer().map(Sequencer::set);
        heard.filter(|set| set.version > self.hint.version).unwrap_or(&self.hint)
    }
}
