//! What can happen, and where it can.

use waltz_core::id::NodeId;

use crate::cluster::Cluster;
use crate::machines::NODES;

/// One of the two competing sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Slot {
    /// The lower one.
    Lower,
    /// The higher one.
    Higher,
}

impl Slot {
    /// Both.
    pub(crate) const BOTH: [Self; 2] = [Self::Lower, Self::Higher];

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Lower => 0,
            Self::Higher => 1,
        }
    }
}

/// One step of a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// The next request on its way from a session to a node arrives.
    Request(Slot, NodeId),
    /// The next request of a lost connection arrives.
    Late(Slot, NodeId, usize),
    /// The next answer on its way from a node to a session arrives.
    Answer(Slot, NodeId),
    /// What a node gave to its journal becomes durable. (That only a part of it does is as if the
    /// rest had been asked later; what a crash leaves of it is another matter.)
    Sync(NodeId),
    /// A node's oldest read ends.
    Read(NodeId),
    /// A session numbers a record and sends it.
    Append(Slot),
    /// A session begins a quorum round.
    Confirm(Slot),
    /// As much time passes as a session waits for.
    Wait(Slot),
    /// A session loses its connection to a node.
    Reset(Slot, NodeId),
    /// A session notices that a node went down.
    Notice(Slot, NodeId),
    /// A session connects to a node anew.
    Link(Slot, NodeId),
    /// A node loses power and starts again; so many of its entries had become durable without its
    /// knowing.
    Crash(NodeId, usize),
}

/// All nodes.
pub(crate) fn nodes() -> impl Iterator<Item = NodeId> {
    (1..=NODES as u32).map(NodeId)
}

impl Cluster {
    /// What can happen next, always in the same order.
    pub(crate) fn enabled(&self, actions: &mut Vec<Action>) {
        for slot in Slot::BOTH {
            nodes().for_each(|node| self.enabled_between(slot, node, actions));
            self.enabled_at_session(slot, actions);
        }
        for node in nodes() {
            let machine = self.node(node);
            let unsynced = machine.unsynced();
            actions.extend((unsynced > 0).then_some(Action::Sync(node)));
            actions.extend(machine.is_reading().then_some(Action::Read(node)));
            if self.left.crashes > 0 {
                actions.extend((0..=unsynced).map(|keep| Action::Crash(node, keep)));
            }
        }
    }

    fn enabled_between(&self, slot: Slot, node: NodeId, actions: &mut Vec<Action>) {
        let channel = self.channel(slot, node);
        actions.extend((0..channel.late()).map(|index| Action::Late(slot, node, index)));
        if self.session(slot).is_over() {
            return;
        }
        let Some(connection) = channel.connection() else {
            actions.push(Action::Link(slot, node));
            return;
        };
        let (has_request, has_answer) =
            (!connection.requests.is_empty(), !connection.answers.is_empty());
        actions.extend(has_request.then_some(Action::Request(slot, node)));
        actions.extend(has_answer.then_some(Action::Answer(slot, node)));
        if connection.is_dead {
            actions.push(Action::Notice(slot, node));
        } else if self.left.resets > 0 {
            actions.push(Action::Reset(slot, node));
        }
    }

    fn enabled_at_session(&self, slot: Slot, actions: &mut Vec<Action>) {
        let (session, left) = (self.session(slot), self.left);
        if session.is_open() {
            actions.extend((left.appends[slot.index()] > 0).then_some(Action::Append(slot)));
            actions.extend((left.rounds[slot.index()] > 0).then_some(Action::Confirm(slot)));
        }
        actions.extend(session.is_waiting().then_some(Action::Wait(slot)));
    }

    /// An action as a command of a transcript.
    pub(crate) fn command(&self, action: Action) -> String {
        let name = |slot| self.session(slot).name();
        match action {
            Action::Request(slot, node) => format!("deliver {} {node}", name(slot)),
            Action::Late(slot, node, _) => format!("deliver late {} {node}", name(slot)),
            Action::Answer(slot, node) => format!("deliver {node} {}", name(slot)),
            Action::Sync(node) => format!("sync {node}"),
            Action::Read(node) => format!("finish read {node}"),
            Action::Append(slot) => format!("append {} 1", name(slot)),
            Action::Confirm(slot) => format!("confirm {} 1", name(slot)),
            Action::Wait(slot) => format!("wait {}", name(slot)),
            Action::Reset(slot, node) => format!("reset {} {node}", name(slot)),
            Action::Notice(slot, node) => format!("notice {} {node}", name(slot)),
            Action::Link(slot, node) => format!("link {} {node}", name(slot)),
            Action::Crash(node, 0) => format!("crash {node}"),
            Action::Crash(node, keep) => format!("crash {node} keeping {keep}"),
        }
    }
}
