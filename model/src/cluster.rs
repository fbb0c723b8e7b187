//! A state: two sessions, three nodes, everything on its way between them, and what was promised.

use waltz_core::id::NodeId;
use waltz_core::planted::Planted;

use crate::action::{Action, Slot, nodes};
use crate::channel::Channel;
use crate::machines::{NODES, Node, Session, SessionOperation};
use crate::oracle::{Broken, History, Promise};
use crate::shared::{Machine, Shared};
use crate::step::{Step, Told, World};

/// How much of what is bounded may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    /// Records that the lower and the higher session number.
    pub(crate) appends: [u8; 2],
    /// Quorum rounds of the two.
    pub(crate) rounds: [u8; 2],
    /// Nodes that lose power.
    pub(crate) crashes: u8,
    /// Connections that are lost.
    pub(crate) resets: u8,
}

/// A state of everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Cluster {
    pub(crate) nodes: [Shared<Node>; NODES],
    pub(crate) sessions: [Shared<Session>; 2],
    pub(crate) channels: [[Shared<Channel>; NODES]; 2],
    pub(crate) history: Shared<History>,
    pub(crate) left: Budget,
    pub(crate) broken: Option<Box<Broken>>,
}

/// Connections of a session to each node, made for the first time, and the session's requests.
fn connected(session: &mut Session) -> [Shared<Channel>; NODES] {
    let epoch = session.id().epoch.0;
    let mut nodes = nodes();
    std::array::from_fn(|_| {
        let node = nodes.next().expect("a channel for each node");
        let mut channel = Channel::new(epoch * 10_000 + u64::from(node.0) * 100);
        channel.apply(crate::channel::ChannelOperation::Connect);
        for (_, request) in session.apply(SessionOperation::Reachable(node)).requests {
            channel.apply(crate::channel::ChannelOperation::Ask(request));
        }
        Shared::new(channel)
    })
}

impl Cluster {
    /// Nodes that never heard of the partition, and sessions 1 and 2, whose first requests are on
    /// their way to all of them.
    pub(crate) fn new(planted: Planted) -> Self {
        let mut sessions = [1, 2].map(|epoch| Session::new(epoch, planted));
        let channels = sessions.each_mut().map(connected);
        let node = |index| Shared::new(Node::new(NodeId(index as u32 + 1), planted));
        Self {
            nodes: std::array::from_fn(node),
            sessions: sessions.map(Shared::new),
            channels,
            history: Shared::new(History::default()),
            left: Budget::default(),
            broken: None,
        }
    }

    /// The lower session is gone with all that it sent; the higher one is the lower one from now
    /// on, and one of a new epoch, above both, reaches all nodes. Nothing of the lower session may
    /// wait for an answer.
    pub(crate) fn succeed(&mut self, epoch: u64, planted: Planted) {
        let mut session = Session::new(epoch, planted);
        let channels = connected(&mut session);
        self.sessions.swap(0, 1);
        self.channels.swap(0, 1);
        self.sessions[1] = Shared::new(session);
        self.channels[1] = channels;
    }

    /// What is broken here, if anything.
    pub(crate) fn broken(&self) -> Option<&Broken> {
        self.broken.as_deref()
    }

    pub(crate) fn node(&self, node: NodeId) -> &Node {
        &self.nodes[index(node)]
    }

    pub(crate) fn session(&self, slot: Slot) -> &Session {
        &self.sessions[slot.index()]
    }

    pub(crate) fn channel(&self, slot: Slot, node: NodeId) -> &Channel {
        &self.channels[slot.index()][index(node)]
    }

    /// The state after an action that is [enabled](Self::enabled).
    pub(crate) fn after(&self, action: Action, told: &mut Told, world: &World) -> Self {
        told.tell(|| format!("> {}", self.command(action)));
        let mut step = Step::new(self.clone(), told, world);
        step.act(action);
        step.finish()
    }

    /// This state, in which a machine gave up.
    pub(crate) fn panicked(&self, what: String) -> Self {
        let broken = Some(Box::new(Broken { promise: Promise::NoPanic, what }));
        Self { broken, ..self.clone() }
    }
}

pub(crate) fn index(node: NodeId) -> usize {
    node.0 as usize - 1
}
