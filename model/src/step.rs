//! One action: who takes part, what that leads to, and whether the promises hold after it.

use waltz_core::id::NodeId;
use waltz_core::io::Caller;

use crate::action::{Action, Slot, nodes};
use crate::channel::{Channel, ChannelOperation, ChannelStep};
use crate::cluster::{Cluster, index};
use crate::machines::{Node, NodeOperation, NodeStep, Request, Said, Session, SessionOperation};
use crate::oracle::Broken;
use crate::shared::{Memory, Shared};
use crate::tally::{Happening, Tally};

/// What happens, for people; nothing is put in words unless someone will read it.
#[derive(Debug, Default)]
pub(crate) struct Told {
    lines: Option<Vec<String>>,
}

impl Told {
    /// A story that is written down.
    pub(crate) fn kept() -> Self {
        Self { lines: Some(Vec::new()) }
    }

    /// What was told.
    pub(crate) fn lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(line());
        }
    }
}

/// What all steps of an exploration share: what is known of the machines, and what was counted.
#[derive(Debug, Default)]
pub(crate) struct World {
    nodes: Memory<Node>,
    sessions: Memory<Session>,
    channels: Memory<Channel>,
    pub(crate) tally: Tally,
}

/// An action under way.
pub(crate) struct Step<'a> {
    cluster: Cluster,
    told: &'a mut Told,
    world: &'a World,
    /// Whether a promise may hold no longer.
    is_suspect: bool,
}

impl<'a> Step<'a> {
    pub(crate) fn new(cluster: Cluster, told: &'a mut Told, world: &'a World) -> Self {
        Self { cluster, told, world, is_suspect: false }
    }

    /// The state it ends in.
    pub(crate) fn finish(mut self) -> Cluster {
        if self.is_suspect && self.cluster.broken.is_none() {
            let Cluster { history, nodes, .. } = &self.cluster;
            if let Err(broken) = history.holds(nodes.each_ref()) {
                self.break_promise(broken);
            }
        }
        self.cluster
    }

    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Request(slot, node) => {
                self.deliver(slot, node, ChannelOperation::TakeRequest);
            }
            Action::Late(slot, node, index) => {
                self.deliver(slot, node, ChannelOperation::TakeLate(index));
            }
            Action::Answer(slot, node) => self.answer(slot, node),
            Action::Sync(node) => self.at_node(node, NodeOperation::Sync),
            Action::Read(node) => self.at_node(node, NodeOperation::Read),
            Action::Append(slot) => {
                self.cluster.left.appends[slot.index()] -= 1;
                self.at_session(slot, SessionOperation::Append);
            }
            Action::Confirm(slot) => {
                self.cluster.left.rounds[slot.index()] -= 1;
                let session = self.cluster.session(slot).id();
                self.cluster.history.change(|history| history.asked(session));
                self.at_session(slot, SessionOperation::Confirm);
            }
            Action::Wait(slot) => self.at_session(slot, SessionOperation::Wait),
            Action::Reset(slot, node) => {
                self.cluster.left.resets -= 1;
                self.lose(slot, node);
                self.at_session(slot, SessionOperation::Unreachable(node));
            }
            Action::Notice(slot, node) => {
                self.lose(slot, node);
                self.at_session(slot, SessionOperation::Unreachable(node));
            }
            Action::Link(slot, node) => {
                self.on_channel(slot, node, ChannelOperation::Connect);
                self.at_session(slot, SessionOperation::Reachable(node));
            }
            Action::Crash(node, keep) => {
                self.cluster.left.crashes -= 1;
                self.at_node(node, NodeOperation::Crash { keep });
                for slot in Slot::BOTH {
                    self.on_channel(slot, node, ChannelOperation::Die);
                }
            }
        }
    }

    fn on_channel(
        &mut self,
        slot: Slot,
        node: NodeId,
        operation: ChannelOperation,
    ) -> std::sync::Arc<ChannelStep> {
        let channel = &mut self.cluster.channels[slot.index()][index(node)];
        self.world.channels.apply(channel, operation)
    }

    /// The session has its connection to a node no longer.
    fn lose(&mut self, slot: Slot, node: NodeId) {
        if let ChannelStep::Closed(caller) = *self.on_channel(slot, node, ChannelOperation::Lose) {
            self.at_node(node, NodeOperation::Closed(caller));
        }
    }

    /// What was taken from a channel reaches the node.
    fn deliver(&mut self, slot: Slot, node: NodeId, take: ChannelOperation) {
        match &*self.on_channel(slot, node, take) {
            ChannelStep::Request(caller, request) => self.request(node, *caller, request),
            ChannelStep::LastRequest(caller, request) => {
                self.request(node, *caller, request);
                self.at_node(node, NodeOperation::Closed(*caller));
            }
            other => unreachable!("a request is taken, not {other:?}"),
        }
    }

    fn request(&mut self, node: NodeId, caller: Caller, request: &Shared<Request>) {
        self.told.tell(|| format!("  {} -> {node} {}", request.session(), request.text()));
        self.at_node(node, NodeOperation::Request(caller, request.clone()));
    }

    fn answer(&mut self, slot: Slot, node: NodeId) {
        let taken = self.on_channel(slot, node, ChannelOperation::TakeAnswer);
        let ChannelStep::Answer(answer) = &*taken else {
            unreachable!("an answer is taken, not {taken:?}")
        };
        let session = self.cluster.session(slot);
        self.told.tell(|| format!("  {node} -> {} {}", session.name(), answer.text()));
        if answer.is_copied() {
            self.world.tally.count(Happening::CaughtUp);
        }
        self.at_session(slot, SessionOperation::Answer(node, answer.clone()));
    }

    /// Does something at a node: sends what it answers, and notes what it reports.
    fn at_node(&mut self, node: NodeId, operation: NodeOperation) {
        self.is_suspect = true;
        let came = self.world.nodes.apply(&mut self.cluster.nodes[index(node)], operation);
        let NodeStep { answers, wrote, alarms } = &*came;
        for head in wrote {
            self.told.tell(|| format!("  {node} writes {}", head.text()));
            if head.is_cut() {
                self.world.tally.count(Happening::Cut);
            }
        }
        for (to, answer) in answers {
            for slot in Slot::BOTH {
                if self.cluster.channel(slot, node).is_live(*to) {
                    let operation = ChannelOperation::Answer(*to, answer.clone());
                    self.on_channel(slot, node, operation);
                }
            }
        }
        if let Some(alarm) = alarms.first() {
            self.break_promise(Broken::alarm(format!("{node} reports: {alarm}")));
        }
    }

    /// Does something with a session: sends what it asks, and judges what it says.
    fn at_session(&mut self, slot: Slot, operation: SessionOperation) {
        let session = &mut self.cluster.sessions[slot.index()];
        let came = self.world.sessions.apply(session, operation);
        for (node, request) in &came.requests {
            self.on_channel(slot, *node, ChannelOperation::Ask(request.clone()));
        }
        for (said, words) in &came.said {
            self.told.tell(|| format!("  {} {words}", self.cluster.session(slot).name()));
            self.judge(slot, said, words);
        }
        if self.cluster.session(slot).is_over() {
            nodes().for_each(|node| self.lose(slot, node));
        }
    }

    fn judge(&mut self, slot: Slot, said: &Said, words: &str) {
        self.is_suspect = true;
        let id = self.cluster.session(slot).id();
        match said {
            Said::Opened { .. } => self.world.tally.count(Happening::Opened),
            Said::Committed { .. } => self.world.tally.count(Happening::Committed),
            Said::Over { is_contradiction: true, .. } => {
                self.break_promise(Broken::alarm(format!("{id} {words}")));
                return;
            }
            Said::Over { fenced: true, .. } => self.world.tally.count(Happening::Fenced),
            Said::Over { .. } | Said::Confirmed { .. } | Said::Other => {}
        }
        let Cluster { history, nodes, .. } = &mut self.cluster;
        let heard = history.change(|history| history.heard(id, said, nodes.each_ref()));
        if let Err(broken) = heard {
            self.break_promise(broken);
        }
    }

    fn break_promise(&mut self, broken: Broken) {
        self.told.tell(|| format!("  broken: {broken}"));
        self.cluster.broken.get_or_insert(Box::new(broken));
    }
}
