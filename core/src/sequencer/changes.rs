//! How a session changes the replica set: one replica at a time, towards a target.
//!
//! ```text
//!  target names a new replica ─▶ it learns (copies, joins, does not count) ─▶ caught up ─▶ add
//!  target lacks a replica, nothing is to be added ─▶ remove
//! ```
//!
//! A change is an entry of the log, between two records. From the moment it is made every majority
//! is counted against the new set; what comes before it needs one of the old set, too. The next
//! one is made when this one is committed: when a quorum of the new set durably has it.
//!
//! No change is made while a replica of the new set is connected that speaks a version without
//! changes: it would be left behind. A change that is in the log already stops such a replica: it
//! gets what comes before, and the rest once its node is upgraded.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Outputs, Phase, Sequencer, SequencerOutput, Stage};
use crate::id::{Member, NodeId, Position, ReplicaSet};
use crate::log::SetChange;
use crate::planted::PlantedBug;
use crate::time::Time;
use crate::wire::ReplicaRequest;

impl Sequencer {
    /// Brings the replica set to this one, as soon as each step is safe; `None`: it stays as it
    /// is. A target of no or too many members is no target.
    pub fn aim(&mut self, target: Option<ReplicaSet>, outputs: &mut Outputs) {
        self.target = target.filter(ReplicaSet::is_sound);
        self.has_strangers = true;
        self.drop_strangers(outputs);
        let known: Vec<_> = self.replicas.keys().copied().collect();
        for node in known {
            if self.progress(node).stage == Stage::Foreign && self.learner(node).is_some() {
                self.begin_with(node, outputs);
            }
        }
        self.drive(outputs);
    }

    /// The replica on this node that catches up before it is added, if one does; its node has to
    /// speak a version that has this.
    pub(super) fn learner(&self, node: NodeId) -> Option<Member> {
        if !self.replicas.get(&node)?.takes_upkeep() {
            return None;
        }
        let wanted = self.target.iter().flat_map(|target| &target.0);
        let wanted = wanted.filter(|member| !self.set().replicas.contains(**member));
        wanted.copied().find(|member| member.node == node)
    }

    /// Makes the next change towards the target, if there is one and nothing speaks against it.
    pub(super) fn drive(&mut self, outputs: &mut Outputs) {
        let Phase::Open { pending: None, log } = &self.phase else {
            return;
        };
        let Some(target) = self.target.clone() else {
            return;
        };
        let set = log.set().replicas.clone();
        let missing: Vec<_> = target.0.iter().copied().filter(|m| !set.contains(*m)).collect();
        let surplus: Vec<_> = set.0.iter().copied().filter(|m| !target.contains(*m)).collect();
        for member in &missing {
            self.deal_with(member.node, outputs);
        }
        let ready = missing.iter().find(|member| self.is_caught_up(**member));
        if missing.is_empty() && surplus.is_empty() {
            self.target = None;
            self.has_strangers = true;
            return;
        }
        let next = match ready {
            // Where there is no room for one more, one goes first.
            Some(member) => {
                self.added(&set, *member, &surplus).or_else(|| self.removed(&set, &surplus))
            }
            None if missing.is_empty() => self.removed(&set, &surplus),
            None => None,
        };
        let can_be = |set: &ReplicaSet| self.has_quorum_of(set) && self.all_follow(set);
        if let Some(replicas) = next.filter(can_be) {
            self.change(replicas, outputs);
        }
    }

    fn added(&self, set: &ReplicaSet, member: Member, surplus: &[Member]) -> Option<ReplicaSet> {
        let with = set.with(member);
        if self.config.planted.has(PlantedBug::ReplaceInOneStep) {
            return Some(surplus.iter().fold(with, |set, gone| set.without(*gone)));
        }
        with.is_sound().then_some(with)
    }

    /// Who is lost goes first; nobody who could still repair another goes.
    fn removed(&self, set: &ReplicaSet, surplus: &[Member]) -> Option<ReplicaSet> {
        let lost = surplus.iter().find(|member| !self.is_joined(**member));
        let spare = surplus.first().filter(|_| self.is_whole());
        lost.or(spare).map(|member| set.without(*member))
    }

    fn change(&mut self, replicas: ReplicaSet, outputs: &mut Outputs) {
        self.flush(outputs);
        let (session, at) = (self.session, self.pipeline.sealed());
        let Phase::Open { pending, log } = &mut self.phase else {
            return;
        };
        let version = log.set().version.next();
        let session = Some(session);
        *pending = Some(Box::new(SetChange { version, session, at, replicas }));
        for node in self.joined() {
            self.supply(node, outputs);
        }
        self.advance(outputs);
    }

    /// The next change that this replica was not sent, and where it belongs.
    pub(super) fn next_change(&self, node: NodeId) -> Option<&SetChange> {
        let sent = self.replicas.get(&node)?.sent_version;
        let pending = match &self.phase {
            Phase::Open { pending, .. } => pending.as_deref(),
            _ => None,
        };
        let committed = self.log().and_then(|log| log.change_after(sent));
        let next = committed.or(pending.filter(|pending| pending.version > sent));
        // If it was trimmed, the replica is behind the log's start and has to start over.
        next.filter(|change| change.version == sent.next())
    }

    /// Sends the change that is next for a replica, if it was sent all records before it and can be
    /// told.
    pub(super) fn send_change(&mut self, node: NodeId, outputs: &mut Outputs) -> bool {
        let progress = self.progress(node);
        let (sent, takes) = (progress.sent, progress.takes_upkeep());
        let next = self.next_change(node).filter(|change| takes && change.at == sent);
        let Some(change) = next.cloned() else {
            return false;
        };
        self.progress(node).sent_version = change.version;
        self.ask(node, ReplicaRequest::Change(change), Bytes::new(), outputs);
        true
    }

    pub(super) fn on_changed(
        &mut self,
        now: Time,
        node: NodeId,
        at: Position,
        outputs: &mut Outputs,
    ) {
        let progress = self.progress(node);
        if !matches!(progress.stage, Stage::Copying | Stage::Joined) {
            return;
        }
        if at.version > progress.sent_version || !progress.on_acknowledged(at.last) {
            self.rest(now, node);
            return;
        }
        progress.version = progress.version.max(at.version);
        match progress.stage {
            Stage::Copying => self.copy_or_join(node, outputs),
            _ => {
                self.advance(outputs);
                self.supply(node, outputs);
            }
        }
    }

    /// Commits the pending change if a quorum of its set durably has it, and every record before.
    pub(super) fn commit_change(&mut self, outputs: &mut Outputs) -> bool {
        let unchecked = self.config.planted.has(PlantedBug::ChangeBeforeCommitted);
        let Phase::Open { pending: Some(change), log } = &self.phase else {
            return false;
        };
        let has = |node: &NodeId| {
            let progress = &self.replicas[node];
            progress.stage == Stage::Joined
                && progress.version >= change.version
                && self.counts(*node)
        };
        let held = self.replicas.keys().filter(|node| has(node)).count();
        if log.last != change.at || held < self.quorum() && !unchecked {
            return false;
        }
        let Phase::Open { pending, log } = &mut self.phase else {
            unreachable!("checked above");
        };
        let change = *pending.take().expect("checked above");
        log.change(change.clone());
        outputs.push(SequencerOutput::SetCommitted(change));
        self.has_strangers = true;
        true
    }

    /// Forgets nodes that neither the target names nor a set that majorities are counted against.
    pub(super) fn drop_strangers(&mut self, outputs: &mut Outputs) {
        let Phase::Open { log, pending } = &self.phase else {
            return;
        };
        if !std::mem::take(&mut self.has_strangers) {
            return;
        }
        let sets = pending.iter().map(|change| &change.replicas);
        let sets = sets.chain([&log.set().replicas]).chain(&self.target);
        let named: BTreeSet<_> = sets.flat_map(ReplicaSet::nodes).collect();
        let gone: Vec<_> =
            self.replicas.keys().copied().filter(|node| !named.contains(node)).collect();
        if gone.is_empty() {
            return;
        }
        for node in gone {
            self.replicas.remove(&node);
            self.reads.abandon(node);
            self.reads.end_for(node);
        }
        // What was being read from one of them is read from another.
        self.assign_waiting_reads(outputs);
    }

    fn is_joined(&self, member: Member) -> bool {
        self.replicas.get(&member.node).is_some_and(|progress| {
            progress.stage == Stage::Joined && progress.storage == Some(member.storage)
        })
    }

    fn is_caught_up(&self, member: Member) -> bool {
        let sealed = self.pipeline.sealed().count();
        self.is_joined(member) && {
            let progress = &self.replicas[&member.node];
            !progress.reading
                && progress.takes_upkeep()
                && progress.damaged.is_empty()
                && sealed - progress.last.count() <= self.config.learner_lag
        }
    }

    /// Whether no replica is known to be damaged.
    fn is_whole(&self) -> bool {
        self.replicas.values().all(|progress| progress.damaged.is_empty())
    }

    /// Whether no replica of a set would be left behind by a change, for the version it speaks.
    fn all_follow(&self, replicas: &ReplicaSet) -> bool {
        let mut dealt_with = replicas.nodes().filter_map(|node| self.replicas.get(&node));
        dealt_with.all(|progress| progress.takes_upkeep() || !progress.follows_changes())
    }

    fn has_quorum_of(&self, replicas: &ReplicaSet) -> bool {
        let joined = replicas.0.iter().filter(|member| self.is_joined(**member)).count();
        joined >= replicas.quorum()
    }
}
