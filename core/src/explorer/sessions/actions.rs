//! What can happen in a run, and how often it does.

use std::time::Duration;

use super::cluster::{Cluster, Loss};
use super::run::Run;
use crate::id::{Mark, NodeId, ReplicaSet, TransactionId};

/// Something that can happen, and how often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Request,
    Answer,
    Sync,
    Read,
    FailRead,
    Append,
    Confirm,
    Fetch,
    Open,
    Stop,
    Link,
    Cut,
    Crash,
    Roll,
    Wait,
    Settle,
    Strand,
    Aim,
    Trim,
    Wake,
    Rot,
}

pub(super) const WEIGHTS: [(Action, u64); 21] = [
    (Action::Request, 300),
    (Action::Answer, 300),
    (Action::Sync, 150),
    (Action::Read, 60),
    (Action::FailRead, 2),
    (Action::Append, 100),
    (Action::Confirm, 25),
    (Action::Fetch, 15),
    (Action::Open, 10),
    (Action::Stop, 2),
    (Action::Link, 40),
    (Action::Cut, 8),
    (Action::Crash, 8),
    (Action::Roll, 6),
    (Action::Wait, 20),
    (Action::Settle, 3),
    (Action::Strand, 12),
    (Action::Aim, 12),
    (Action::Trim, 6),
    (Action::Wake, 20),
    (Action::Rot, 6),
];

/// What every run needs to get anywhere is never left out.
pub(super) fn usual(action: Action) -> usize {
    use Action::{Answer, Append, Link, Open, Request, Sync};
    usize::from(matches!(action, Request | Answer | Sync | Append | Link | Open))
}

impl Run {
    pub(super) fn action(&mut self) -> Action {
        let total: u64 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.random.bits() % total;
        for (action, weight) in &self.weights {
            match drawn.checked_sub(*weight) {
                None => return *action,
                Some(rest) => drawn = rest,
            }
        }
        unreachable!("what was drawn is below the total")
    }

    /// Does this somewhere; `None` if it can be done nowhere.
    pub(super) fn act(&mut self, action: Action) -> Option<()> {
        match action {
            Action::Request => {
                let waiting = self.cluster.connections_of(|c| !c.requests.is_empty() || !c.is_up);
                let number = self.one_of(&waiting)?;
                self.cluster.deliver_request(number);
            }
            Action::Answer => {
                let waiting = self.cluster.connections_of(|c| !c.answers.is_empty());
                let number = self.one_of(&waiting)?;
                self.cluster.deliver_answer(number);
            }
            Action::Sync => {
                let unsynced = self.nodes_where(|cluster, node| cluster.unsynced(node) > 0);
                let (node, count) = (self.one_of(&unsynced)?, 1 + self.below(4));
                self.cluster.sync(node, count);
            }
            Action::Read | Action::FailRead => {
                let reading = |cluster: &Cluster, node| !cluster.nodes[&node].reads.is_empty();
                let reading = self.nodes_where(reading);
                let node = self.one_of(&reading)?;
                match action {
                    Action::Read => self.cluster.finish_read(node),
                    _ => self.cluster.fail_read(node),
                }
            }
            Action::Append
            | Action::Confirm
            | Action::Fetch
            | Action::Strand
            | Action::Aim
            | Action::Trim => return self.use_session(action),
            Action::Wake => {
                let node = self.node();
                self.cluster.wake(node);
            }
            Action::Rot => self.rot()?,
            Action::Open => self.open(None),
            Action::Stop => {
                let epoch = self.session()?;
                self.cluster.stop(epoch, Loss::AnswersOnly);
            }
            Action::Link | Action::Cut => return self.relink(action == Action::Link),
            Action::Crash => {
                let node = self.node();
                self.cluster.crash(node);
            }
            Action::Roll => {
                let node = self.node();
                self.cluster.roll(node, !self.cluster.is_old(node));
            }
            Action::Wait => {
                let pause = Duration::from_millis(self.below(600) as u64);
                self.cluster.wait(pause);
            }
            Action::Settle => {
                let mut nodes = self.nodes();
                let left_out = self.below(nodes.len());
                nodes.remove(left_out);
                assert!(self.cluster.settle(&nodes), "it never ends");
            }
        }
        Some(())
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.cluster.nodes.keys().copied().collect()
    }

    pub(super) fn nodes_where(&self, is_wanted: impl Fn(&Cluster, NodeId) -> bool) -> Vec<NodeId> {
        let nodes = self.cluster.nodes.keys().copied();
        nodes.filter(|node| is_wanted(&self.cluster, *node)).collect()
    }

    fn node(&mut self) -> NodeId {
        let nodes = self.nodes();
        nodes[self.below(nodes.len())]
    }

    fn session(&mut self) -> Option<u64> {
        let sessions: Vec<_> = self.cluster.sessions.keys().copied().collect();
        self.one_of(&sessions)
    }

    fn relink(&mut self, is_up: bool) -> Option<()> {
        let epoch = self.session()?;
        let others = self.nodes_where(|cluster, node| cluster.is_linked(epoch, node) != is_up);
        let node = self.one_of(&others)?;
        if is_up {
            self.cluster.link(epoch, node);
        } else {
            let loss = [Loss::Everything, Loss::AnswersOnly][self.below(2)];
            self.cluster.cut(epoch, node, loss);
        }
        Some(())
    }

    fn use_session(&mut self, action: Action) -> Option<()> {
        let open = self.cluster.sessions.iter().filter(|(_, sequencer)| sequencer.is_open());
        let open: Vec<_> = open.map(|(epoch, _)| *epoch).collect();
        let epoch = self.one_of(&open)?;
        let sequencer = &self.cluster.sessions[&epoch];
        let (session, committed) = (sequencer.session(), sequencer.committed());
        self.asked += 1;
        match action {
            Action::Strand => self.strand(epoch),
            Action::Aim => self.aim(epoch),
            Action::Trim => {
                let start = self.below(committed.count() as usize + 1) as u64;
                self.cluster.trim(epoch, Mark::before(TransactionId(start)));
            }
            Action::Confirm => {
                self.oracle.asked(session, self.asked);
                self.cluster.confirm(epoch, self.asked);
            }
            Action::Fetch => {
                let last = committed.id()?;
                let first = TransactionId(self.below(last.0 as usize + 1) as u64);
                self.cluster.read(epoch, self.asked, first, committed);
            }
            _ => {
                let count = 1 + self.below(3) as u64;
                self.cluster.append(epoch, count);
            }
        }
        Some(())
    }

    /// A bit flips on the one disk that rots, where others hold the record.
    fn rot(&mut self) -> Option<()> {
        let node = self.rotting?;
        let last = self.oracle.committed().min(self.cluster.nodes[&node].replica()?.last()).id()?;
        let start = self.cluster.nodes[&node].replica()?.summary().start;
        let id = TransactionId(self.below(last.0 as usize + 1) as u64);
        if start.includes(id) || !self.oracle.is_held_by(self.cluster.nodes[&node].member, id) {
            return None;
        }
        self.cluster.rot(node, id);
        Some(())
    }

    /// A session is told to have other replicas: 1 to 5 of all nodes.
    fn aim(&mut self, epoch: u64) {
        let mut members: Vec<_> = self.cluster.nodes.values().map(|rig| rig.member).collect();
        let keep = 1 + self.below(members.len().min(5));
        while members.len() > keep {
            let gone = self.below(members.len());
            members.remove(gone);
        }
        self.cluster.aim(epoch, Some(ReplicaSet(members)));
    }

    /// A session's last records reach one replica only; then a higher one begins without it.
    fn strand(&mut self, epoch: u64) {
        let left = self.node();
        for node in self.nodes().into_iter().filter(|node| *node != left) {
            self.cluster.cut(epoch, node, Loss::Everything);
        }
        let count = 1 + self.below(3) as u64;
        self.cluster.append(epoch, count);
        for number in self.cluster.connections_of(|c| (c.epoch, c.node) == (epoch, left)) {
            self.cluster.deliver_requests(number, usize::MAX);
        }
        self.cluster.sync(left, usize::MAX);
        self.open(Some(left));
    }

    /// A server begins a higher session, whatever the others do; at most three go on at once.
    fn open(&mut self, without: Option<NodeId>) {
        self.epoch += 1;
        let server = self.node();
        self.cluster.open(self.epoch, server);
        for node in self.nodes().into_iter().filter(|node| Some(*node) != without) {
            if self.below(4) > 0 {
                self.cluster.link(self.epoch, node);
            }
        }
        if self.cluster.sessions.len() > 3 {
            let oldest = *self.cluster.sessions.keys().next().expect("there are more than three");
            self.cluster.stop(oldest, Loss::AnswersOnly);
        }
    }
}
