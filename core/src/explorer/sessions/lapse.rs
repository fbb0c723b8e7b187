//! Nodes that lose power right after they answered, when those who know of the answer go on, or
//! those who don't.

use super::attention::{Turn, Whose};
use super::cluster::Loss;
use super::faults::Trouble;
use super::run::Run;
use crate::id::NodeId;
use crate::wire::ReplicaRequest;

/// Of which answers a run has its node lose what they rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lapse {
    /// Of any, most of all of those that a session asks for once.
    Any,
    /// Of promises.
    Promises,
    /// Of joins.
    Joins,
}

impl Lapse {
    pub(super) const DRAWN: [Self; 4] = [Self::Any, Self::Any, Self::Promises, Self::Joins];

    /// Whether an answer to this is worth waiting for.
    fn is_about(self, request: &ReplicaRequest) -> bool {
        match request {
            ReplicaRequest::Open { .. } => self != Self::Joins,
            ReplicaRequest::Join { .. } => self != Self::Promises,
            _ => false,
        }
    }
}

impl Run {
    /// A node says what it will about all that it is asked on a connection, and loses power before
    /// any of it is durable. Then others go on.
    pub(super) fn lapse(&mut self) -> Option<()> {
        let node = self.troubled;
        // What was begun goes on undisturbed.
        if self.trouble != Trouble::Lapse || !self.agenda.is_empty() {
            return None;
        }
        let asked = self.connections(|c| c.node == node && c.is_up && !c.requests.is_empty());
        let is_grave = |number: &u64| {
            let mut requests = self.cluster.connections[number].requests.iter();
            requests.any(|(request, _)| self.lapse.is_about(&request.request))
        };
        let grave: Vec<_> = asked.iter().copied().filter(is_grave).collect();
        let any = if self.lapse == Lapse::Any { asked } else { Vec::new() };
        let number = self.one_of(&grave).or_else(|| self.one_of(&any))?;
        self.lapse_on(number);
        Some(())
    }

    /// The troubled node does so on this connection.
    fn lapse_on(&mut self, number: u64) {
        let epoch = self.cluster.connections[&number].epoch;
        let turns = match self.lapse {
            Lapse::Any => self.afterwards(epoch),
            Lapse::Promises => self.after_a_promise(epoch),
            Lapse::Joins => self.after_a_join(epoch),
        };
        self.cluster.deliver_requests(number, usize::MAX);
        self.cluster.deliver_answers(number, usize::MAX);
        self.cluster.crash(self.troubled);
        if !turns.is_empty() {
            (self.attention, self.agenda) = (None, turns.into());
        }
    }

    /// Those who know of the answer go on, or those who don't.
    fn afterwards(&mut self, epoch: u64) -> Vec<Turn> {
        let node = self.troubled;
        let others: Vec<_> = self.cluster.sessions.keys().copied().collect();
        let others: Vec<_> = others.into_iter().filter(|other| *other != epoch).collect();
        let other = self.one_of(&others).unwrap_or(epoch);
        let with = self.majority(|member| member == node);
        let without = self.majority(|member| member != node);
        match self.below(4) {
            0 => Vec::new(),
            1 => vec![turn(Whose::Session(other), with), turn(Whose::Session(epoch), without)],
            _ => {
                let alone = self.one_of(&without).into_iter().collect();
                vec![turn(Whose::Session(epoch), alone), turn(Whose::New, with)]
            }
        }
    }

    /// The session that was promised to has its vote, and no more from the node. A lower one goes
    /// on, with the node that has forgotten and all who have not promised; then it goes on itself.
    fn after_a_promise(&mut self, epoch: u64) -> Vec<Turn> {
        let Some((&lower, _)) = self.cluster.sessions.range(..epoch).next_back() else {
            return Vec::new();
        };
        let (near, far) = self.halves(epoch);
        let everyone = [&near[..], &far[..]].concat();
        let with = [&[self.troubled][..], &far[..]].concat();
        vec![
            turn(Whose::Session(epoch), near),
            turn(Whose::Session(lower), with),
            turn(Whose::Session(epoch), everyone),
        ]
    }

    /// The session that was joined goes on with the others that it has; then a new one begins, with
    /// the node that has forgotten and all the others.
    fn after_a_join(&mut self, epoch: u64) -> Vec<Turn> {
        let (near, far) = self.halves(epoch);
        let with = [&[self.troubled][..], &far[..]].concat();
        vec![turn(Whose::Session(epoch), near), turn(Whose::New, with)]
    }

    /// The replica set but for the troubled node in two halves, either of which makes a majority
    /// with it: in the first, those that the session is connected to.
    fn halves(&mut self, epoch: u64) -> (Vec<NodeId>, Vec<NodeId>) {
        let node = self.troubled;
        let mut near: Vec<_> = self.oracle.replicas().nodes().filter(|it| *it != node).collect();
        near.sort_by_key(|node| !self.cluster.is_linked(epoch, *node));
        let far = near.split_off(near.len() / 2);
        (near, far)
    }

    /// Brings a replica set of three to where a lapse does most harm.
    pub(super) fn prepare(&mut self, epoch: u64) -> Option<()> {
        let node = self.troubled;
        let others: Vec<_> = self.oracle.replicas().nodes().filter(|it| *it != node).collect();
        let first = self.one_of(&others).filter(|_| others.len() == 2)?;
        let second = others.into_iter().find(|it| *it != first)?;
        match self.lapse {
            Lapse::Any => return None,
            Lapse::Promises => self.contend(first),
            Lapse::Joins => self.divide(epoch, first, second),
        }
        Some(())
    }

    /// A higher session has one replica's vote and asks the troubled node, which lapses.
    fn contend(&mut self, first: NodeId) {
        self.open(&[]);
        self.vote(first);
        let (higher, node) = (self.epoch, self.troubled);
        self.cluster.link(higher, node);
        for number in self.cluster.connections_of(|c| (c.epoch, c.node) == (higher, node)) {
            self.lapse_on(number);
        }
    }

    /// One replica has a session's last records, another one is the only one to join a later
    /// session, which lacks them; then a session begins with the first and with the troubled node,
    /// which has neither.
    fn divide(&mut self, epoch: u64, first: NodeId, second: NodeId) {
        self.leave_alone(epoch, first);
        self.cluster.sync(first, usize::MAX);
        self.open(&[]);
        self.vote(self.troubled);
        self.vote(second);
        self.cluster.cut(self.epoch, self.troubled, Loss::Everything);
        assert!(self.cluster.settle(&[second]), "it never ends");
        self.agenda = [turn(Whose::New, vec![first, self.troubled])].into();
    }

    /// The newest session gets a node's vote.
    fn vote(&mut self, voter: NodeId) {
        let epoch = self.epoch;
        self.cluster.link(epoch, voter);
        for number in self.cluster.connections_of(|c| (c.epoch, c.node) == (epoch, voter)) {
            self.cluster.deliver_requests(number, usize::MAX);
            self.cluster.sync(voter, usize::MAX);
            self.cluster.deliver_answers(number, usize::MAX);
        }
    }
}

fn turn(whose: Whose, nodes: Vec<NodeId>) -> Turn {
    Turn { whose, nodes }
}
