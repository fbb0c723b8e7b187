//! What can happen in a run, how often it does, and the choice of where.

use std::time::Duration;

use super::attention::{Turn, Whose};
use super::cluster::{Cluster, Loss};
use super::run::Run;
use crate::explorer::draw::Draw;
use crate::id::{Mark, NodeId, ReplicaSet, TransactionId};

/// Something that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A request arrives, or a node notices that a connection is gone.
    Request,
    /// An answer arrives.
    Answer,
    /// A node's oldest entries become durable.
    Sync,
    /// A read of a journal ends.
    Read,
    /// A read of a journal fails.
    FailRead,
    /// A session numbers records.
    Append,
    /// A session is asked whether it is current.
    Confirm,
    /// Committed records are wanted.
    Fetch,
    /// A server begins a session.
    Open,
    /// A session's server dies.
    Stop,
    /// A session connects to a node.
    Link,
    /// A session's connection is lost.
    Cut,
    /// A node loses power.
    Crash,
    /// A node comes back with the other version of the protocol.
    Roll,
    /// Time passes.
    Wait,
    /// All goes well for a while, but at one node.
    Settle,
    /// A session's last records reach one replica only, and a higher session begins without it.
    Strand,
    /// A session goes on with a few nodes, and nothing else happens meanwhile.
    Attend,
    /// A node says what it will about what it is asked, and loses power before it writes.
    Lapse,
    /// Replicas and sessions come to where a lapse does most harm.
    Prepare,
    /// A session is told which replicas there should be.
    Aim,
    /// What is old is wanted no more.
    Trim,
    /// A node looks for rot.
    Wake,
    /// A bit of a stored record flips.
    Rot,
    /// A node crashes and finds that its journal lost entries.
    Smear,
    /// A request offers records that no sound server offers.
    Forge,
    /// A request trims what no sound server trims.
    ForgeTrim,
}

/// How often each is tried, beside the others.
pub(super) const WEIGHTS: [(Action, u64); 27] = [
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
    (Action::Attend, 10),
    (Action::Lapse, 12),
    (Action::Prepare, 12),
    (Action::Aim, 12),
    (Action::Trim, 6),
    (Action::Wake, 20),
    (Action::Rot, 6),
    (Action::Smear, 6),
    (Action::Forge, 40),
    (Action::ForgeTrim, 6),
];

/// What every run needs to get anywhere is never left out.
pub(super) fn usual(action: Action) -> usize {
    use Action::{Answer, Append, Link, Open, Request, Sync};
    usize::from(matches!(action, Request | Answer | Sync | Append | Link | Open))
}

impl Run {
    /// Draws what is tried next.
    pub(super) fn action(&mut self) -> Action {
        self.random.weighted(&self.weights)
    }

    /// Does this somewhere; `None` if it can be done nowhere.
    pub(super) fn act(&mut self, action: Action) -> Option<()> {
        match action {
            Action::Request | Action::Answer | Action::Sync | Action::Read | Action::FailRead => {
                return self.go_on(action);
            }
            Action::Append
            | Action::Confirm
            | Action::Fetch
            | Action::Strand
            | Action::Prepare
            | Action::Aim
            | Action::Trim => return self.use_session(action),
            Action::Attend => return self.attend(),
            Action::Lapse => return self.lapse(),
            Action::Rot => return self.rot(),
            Action::Smear => return self.smear(),
            Action::Forge => return self.forge(),
            Action::ForgeTrim => return self.forge_trim(),
            Action::Wake => {
                let node = self.node();
                self.cluster.wake(node);
            }
            Action::Open => {
                let nodes = self.nodes();
                self.open(&nodes);
            }
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

    /// Something goes on, of what has the attention if anything has.
    pub(super) fn go_on(&mut self, action: Action) -> Option<()> {
        match action {
            Action::Request => {
                let waiting = self.connections(|c| !c.requests.is_empty() || !c.is_up);
                let number = self.one_of(&waiting)?;
                self.cluster.deliver_request(number);
            }
            Action::Answer => {
                let waiting = self.connections(|c| !c.answers.is_empty());
                let number = self.one_of(&waiting)?;
                self.cluster.deliver_answer(number);
            }
            Action::Append => return self.append_attended(),
            Action::Lapse => return self.lapse(),
            Action::Forge => return self.forge(),
            Action::Sync => {
                let unsynced = self.attended_nodes(|cluster, node| cluster.unsynced(node) > 0);
                let (node, count) = (self.one_of(&unsynced)?, 1 + self.below(4));
                self.cluster.sync(node, count);
            }
            _ => {
                let reading = |cluster: &Cluster, node| !cluster.nodes[&node].reads.is_empty();
                let reading = self.attended_nodes(reading);
                let node = self.one_of(&reading)?;
                match action {
                    Action::Read => self.cluster.finish_read(node),
                    _ => self.cluster.fail_read(node),
                }
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

    pub(super) fn node(&mut self) -> NodeId {
        let nodes = self.nodes();
        nodes[self.below(nodes.len())]
    }

    pub(super) fn session(&mut self) -> Option<u64> {
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
            Action::Prepare => return self.prepare(epoch),
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

    /// A session is told to have other replicas: 1 to 5 of all nodes. A server that begins later may
    /// know none of them.
    fn aim(&mut self, epoch: u64) {
        let mut first: Vec<_> = self.cluster.set.nodes().collect();
        let quorum = self.cluster.set.quorum();
        while first.len() > quorum {
            let gone = self.below(first.len());
            first.remove(gone);
        }
        let mut members: Vec<_> = self.cluster.nodes.values().map(|rig| rig.member).collect();
        let keep = 1 + self.below(members.len().min(5));
        while members.len() > keep {
            let gone = self.below(members.len());
            members.remove(gone);
        }
        self.cluster.aim(epoch, Some(ReplicaSet(members)));
        let (now, nodes) = (Whose::Session(epoch), self.nodes());
        let begun = Turn { whose: Whose::New, nodes: first };
        match self.below(4) {
            0 => self.agenda = [Turn { whose: now, nodes }, begun].into(),
            // All of the change comes about before the other server begins.
            1 => {
                assert!(self.cluster.settle(&nodes), "it never ends");
                self.agenda = [begun].into();
            }
            _ => {}
        }
    }

    /// A session's last records reach one replica only, and may not be durable there; then a higher
    /// one begins without it.
    fn strand(&mut self, epoch: u64) {
        let left = self.node();
        self.leave_alone(epoch, left);
        if self.below(2) == 0 {
            self.cluster.sync(left, usize::MAX);
        }
        let others: Vec<_> = self.nodes().into_iter().filter(|node| *node != left).collect();
        self.open(&others);
        let without = self.majority(|node| node != left);
        let (with, whose) = (self.majority(|node| node == left), self.below(3));
        let whose = [Whose::Newest, Whose::New][whose.min(1)];
        if self.below(2) == 0 {
            let now = Turn { whose: Whose::Newest, nodes: without };
            self.agenda = [now, Turn { whose, nodes: with }].into();
        }
    }

    /// A session numbers records that reach this node only.
    pub(super) fn leave_alone(&mut self, epoch: u64, left: NodeId) {
        for node in self.nodes().into_iter().filter(|node| *node != left) {
            self.cluster.cut(epoch, node, Loss::Everything);
        }
        for _ in 0..1 + self.below(3) {
            let count = 1 + self.below(3) as u64;
            self.cluster.append(epoch, count);
        }
        for number in self.cluster.connections_of(|c| (c.epoch, c.node) == (epoch, left)) {
            self.cluster.deliver_requests(number, usize::MAX);
        }
    }

    /// A server begins a higher session with some of these nodes, whatever the others do; at most
    /// three go on at once.
    pub(super) fn open(&mut self, nodes: &[NodeId]) {
        self.epoch += 1;
        let server = self.node();
        self.cluster.open(self.epoch, server);
        for node in nodes {
            if self.below(4) > 0 {
                self.cluster.link(self.epoch, *node);
            }
        }
        if self.cluster.sessions.len() > 3 {
            let oldest = *self.cluster.sessions.keys().next().expect("there are more than three");
            self.cluster.stop(oldest, Loss::AnswersOnly);
        }
    }
}
