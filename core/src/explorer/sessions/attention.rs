//! For a while one session goes on with a few nodes, and nothing else happens: sessions that take
//! turns get further than those whose every message is drawn from all.

use super::actions::Action;
use super::cluster::{Cluster, Connection};
use super::run::Run;
use crate::id::NodeId;

/// What may happen meanwhile.
const MEANWHILE: [Action; 7] = [
    Action::Request,
    Action::Answer,
    Action::Sync,
    Action::Read,
    Action::Append,
    Action::Lapse,
    Action::Forge,
];

/// Whose turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// That session's, if it still goes on.
    Session(u64),
    /// The last one's that was begun, if it still goes on.
    Newest,
    /// A session's that begins then.
    New,
}

/// A session and the nodes that it is to go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) whose: Whose,
    pub(super) nodes: Vec<NodeId>,
}

/// A turn that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attention {
    epoch: u64,
    nodes: Vec<NodeId>,
    /// How many things may still happen.
    left: usize,
}

impl Run {
    /// Some session, or a new one, goes on with a bare majority.
    pub(super) fn attend(&mut self) -> Option<()> {
        let whose = match self.below(3) {
            0 => Whose::New,
            _ => Whose::Session(self.session()?),
        };
        let nodes = self.majority(|_| true);
        self.agenda = [Turn { whose, nodes }].into();
        Some(())
    }

    /// As many of the replica set's nodes as make a majority, all of a kind if there are so many.
    pub(super) fn majority(&mut self, is_wanted: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        let mut others: Vec<_> = self.oracle.replicas().nodes().collect();
        let quorum = others.len() / 2 + 1;
        let mut nodes: Vec<_> = others.extract_if(.., |node| is_wanted(*node)).collect();
        while nodes.len() > quorum {
            let gone = self.below(nodes.len());
            nodes.remove(gone);
        }
        while nodes.len() < quorum {
            let more = self.below(others.len());
            nodes.push(others.remove(more));
        }
        nodes
    }

    /// The next thing that happens to what has the attention; none when nothing has.
    pub(super) fn attended(&mut self) -> Option<Action> {
        loop {
            if self.attention.is_none() {
                let turn = self.agenda.pop_front()?;
                self.begin(turn);
            }
            let Some(attention) = &mut self.attention else { continue };
            let goes_on = self.cluster.sessions.contains_key(&attention.epoch);
            if attention.left > 0 && goes_on {
                attention.left -= 1;
                let first = self.below(MEANWHILE.len());
                let mut actions = MEANWHILE.into_iter().cycle().skip(first).take(MEANWHILE.len());
                let happened = actions.find(|action| self.go_on(*action).is_some());
                if happened.is_some() {
                    return happened;
                }
            }
            self.attention = None;
        }
    }

    fn begin(&mut self, turn: Turn) {
        let Turn { whose, nodes } = turn;
        let epoch = match whose {
            Whose::Session(epoch) => epoch,
            Whose::Newest => self.epoch,
            Whose::New => {
                self.open(&[]);
                self.epoch
            }
        };
        if !self.cluster.sessions.contains_key(&epoch) {
            return;
        }
        for node in &nodes {
            if !self.cluster.is_linked(epoch, *node) {
                self.cluster.link(epoch, *node);
            }
        }
        let left = 10 + self.below(40);
        self.attention = Some(Attention { epoch, nodes, left });
    }

    /// The session that has the attention numbers records, if it can.
    pub(super) fn append_attended(&mut self) -> Option<()> {
        let epoch = self.attention.as_ref()?.epoch;
        self.cluster.sessions.get(&epoch).filter(|sequencer| sequencer.is_open())?;
        let count = 1 + self.below(3) as u64;
        self.cluster.append(epoch, count);
        Some(())
    }

    /// Connections, of what has the attention if anything has.
    pub(super) fn connections(&self, is_wanted: impl Fn(&Connection) -> bool) -> Vec<u64> {
        let is_attended = |c: &Connection| {
            let it = self.attention.as_ref();
            it.is_none_or(|it| it.epoch == c.epoch && it.nodes.contains(&c.node))
        };
        self.cluster.connections_of(|connection| is_attended(connection) && is_wanted(connection))
    }

    /// Nodes, of those that have the attention if any have.
    pub(super) fn attended_nodes(
        &self,
        is_wanted: impl Fn(&Cluster, NodeId) -> bool,
    ) -> Vec<NodeId> {
        let mut nodes = self.nodes_where(is_wanted);
        if let Some(attention) = &self.attention {
            nodes.retain(|node| attention.nodes.contains(node));
        }
        nodes
    }
}
