//! Delivery between the roles of one node, and between links and roles.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::links::{LinkEvent, Links, Origin, Peer};
use super::{Body, CoordinatorAt};
use crate::id::{NodeId, PartitionId};
use crate::io::{Caller, ConnectionId, Context, CoordinatorEvent, Effect, Level};
use crate::membership::AgentEvent;
use crate::partition::server::{Outputs, PartitionOutput, PartitionServer};
use crate::storage::StorageReply;
use crate::wire::{
    AppendRefusal, FromCoordinator, FromReplica, Message, OperatorRefusal, ServerReply,
    ToCoordinator, ToReplica, Version,
};

/// Something to deliver within the step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    /// What a connection said.
    Link(LinkEvent),
    /// To the replicas kept here.
    ToReplica(Caller, ToReplica, Bytes),
    /// To a partition served here.
    FromReplica(NodeId, FromReplica, Bytes),
    /// To the coordinator hosted here.
    ToCoordinator(Caller, ToCoordinator),
    /// To this node's agent.
    FromCoordinator(FromCoordinator),
    /// What the agent says.
    Agent(AgentEvent),
    /// What a partition wants.
    Partition(PartitionId, PartitionOutput),
}

impl Body {
    pub(super) fn run_tasks(&mut self, cx: &mut Context<'_>) {
        while let Some(task) = self.tasks.pop_front() {
            match task {
                Task::Link(event) => self.on_link(cx, event),
                Task::ToReplica(caller, request, payload) => {
                    let mut replies = Vec::new();
                    self.storage.on_request(cx, caller, request, payload, &mut replies);
                    self.answer(cx, replies);
                }
                Task::FromReplica(node, message, payload) => {
                    let partition = message.partition;
                    self.with_partition(cx, partition, |server, cx, out| {
                        server.on_answer(cx, node, message, payload, out);
                    });
                }
                Task::ToCoordinator(caller, request) => {
                    let mut replies = Vec::new();
                    match &mut self.coordinator {
                        Some(coordinator) => {
                            coordinator.on_request(cx, caller, request, &mut replies);
                        }
                        None => replies.push((caller, FromCoordinator::NotHere)),
                    }
                    self.answer_coordinator(cx, replies);
                }
                Task::FromCoordinator(message) => {
                    let mut events = Vec::new();
                    self.agent.on_message(cx, message, &mut events);
                    self.hear_agent(events);
                }
                Task::Agent(event) => self.on_agent(cx, event),
                Task::Partition(partition, output) => self.on_partition(cx, partition, output),
            }
        }
    }

    /// Does what follows from all that is new of the cluster, and asks the coordinator for what should
    /// stand there.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        while self.is_directory_stale || self.agent.is_stirred() {
            if std::mem::take(&mut self.is_directory_stale) {
                self.on_directory(cx);
            }
            let (mut out, mut events) = (Vec::new(), Vec::new());
            self.agent.settle(cx, &mut out, &mut events);
            self.tell_coordinator(cx, out);
            self.hear_agent(events);
            self.run_tasks(cx);
        }
    }

    pub(super) fn with_links(&mut self, act: impl FnOnce(&mut Links, &mut Vec<LinkEvent>)) {
        let mut events = Vec::new();
        act(&mut self.links, &mut events);
        self.tasks.extend(events.into_iter().map(Task::Link));
    }

    pub(super) fn with_partition(
        &mut self,
        cx: &mut Context<'_>,
        partition: PartitionId,
        act: impl FnOnce(&mut PartitionServer, &mut Context<'_>, &mut Outputs),
    ) {
        let Some(server) = self.partitions.get_mut(&partition) else {
            return;
        };
        let mut outputs = Vec::new();
        act(server, cx, &mut outputs);
        self.touched.insert(partition);
        self.tasks.extend(outputs.into_iter().map(|output| Task::Partition(partition, output)));
    }

    /// Delivers what the replicas kept here answer.
    pub(super) fn answer(&mut self, cx: &mut Context<'_>, replies: Vec<StorageReply>) {
        for StorageReply { to, message, payload } in replies {
            match to {
                Caller::Local => {
                    self.tasks.push_back(Task::FromReplica(self.config.node, message, payload));
                }
                Caller::Peer(conn) => {
                    let message = Message::FromReplica(message);
                    // Damage is told unasked; a server that can't be told sees it when it opens.
                    if self.links.takes(conn, &message) {
                        self.links.send_with(cx, conn, &message, payload);
                    }
                }
            }
        }
    }

    /// A reply in the words of the version that the client speaks.
    pub(super) fn in_words_of(&self, conn: ConnectionId, reply: ServerReply) -> Message {
        let message = Message::Server(reply);
        match message {
            Message::Server(ServerReply::Operated { call, result: Err(ref refusal) })
                if !self.links.takes(conn, &message) =>
            {
                let reason = refusal.to_string();
                let result = Err(OperatorRefusal::Refused { reason });
                Message::Server(ServerReply::Operated { call, result })
            }
            Message::Server(ServerReply::AppendRefused {
                partition, mount, first, last, ..
            }) if !self.links.takes(conn, &message) => {
                let reason = AppendRefusal::Busy;
                Message::Server(ServerReply::AppendRefused {
                    partition,
                    mount,
                    first,
                    last,
                    reason,
                })
            }
            message => message,
        }
    }

    /// Delivers what the coordinator hosted here answers.
    pub(super) fn answer_coordinator(
        &mut self,
        cx: &mut Context<'_>,
        replies: Vec<(Caller, FromCoordinator)>,
    ) {
        for (to, message) in replies {
            match to {
                Caller::Local => self.tasks.push_back(Task::FromCoordinator(message)),
                Caller::Peer(conn) => {
                    self.links.send(cx, conn, &Message::FromCoordinator(message));
                }
            }
        }
    }

    /// Sends the agent's requests to the coordinator, wherever it is.
    pub(super) fn tell_coordinator(&mut self, cx: &mut Context<'_>, requests: Vec<ToCoordinator>) {
        for request in requests {
            match self.config.coordinator {
                CoordinatorAt::Here(_) => {
                    self.tasks.push_back(Task::ToCoordinator(Caller::Local, request));
                }
                CoordinatorAt::Remote(_) => {
                    let message = Message::ToCoordinator(request);
                    self.links.send_to(cx, Peer::Coordinator, &message, Bytes::new());
                }
                CoordinatorAt::Outside { .. } => cx.effects.push(Effect::Coordinate(request)),
            }
        }
    }

    /// Something came of a coordinator outside of the cluster.
    pub(super) fn on_coordinator(&mut self, cx: &mut Context<'_>, event: CoordinatorEvent) {
        match event {
            CoordinatorEvent::Connected => self.on_coordinator_up(cx),
            CoordinatorEvent::Message(message) => {
                self.tasks.push_back(Task::FromCoordinator(message));
            }
            CoordinatorEvent::Lost { reason } => {
                self.agent.on_disconnected();
                let text = format!("lost the coordinator: {reason}");
                cx.report(Level::Warning, None, text);
            }
        }
    }

    fn on_coordinator_up(&mut self, cx: &mut Context<'_>) {
        let mut out = Vec::new();
        self.agent.on_connected(cx, &mut out);
        self.tell_coordinator(cx, out);
    }

    pub(super) fn hear_agent(&mut self, events: Vec<AgentEvent>) {
        self.tasks.extend(events.into_iter().map(Task::Agent));
    }

    fn on_link(&mut self, cx: &mut Context<'_>, event: LinkEvent) {
        match event {
            LinkEvent::Up(Peer::Coordinator, _) => self.on_coordinator_up(cx),
            LinkEvent::Down(Peer::Coordinator) => self.agent.on_disconnected(),
            LinkEvent::Up(Peer::Node(node), version) => self.on_reachable(cx, node, Some(version)),
            LinkEvent::Down(Peer::Node(node)) => self.on_reachable(cx, node, None),
            LinkEvent::Gone(conn) => self.on_gone(conn),
            LinkEvent::Message(origin, message, payload) => {
                self.on_message(cx, origin, message, payload);
            }
        }
    }

    fn on_message(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        message: Message,
        payload: Bytes,
    ) {
        match (origin, message) {
            (Origin::Node(conn), Message::ToReplica(request)) => {
                self.tasks.push_back(Task::ToReplica(Caller::Peer(conn), request, payload));
            }
            (Origin::Node(conn), Message::ToCoordinator(request)) => {
                self.tasks.push_back(Task::ToCoordinator(Caller::Peer(conn), request));
            }
            (Origin::Peer(Peer::Node(node)), Message::FromReplica(message)) => {
                self.tasks.push_back(Task::FromReplica(node, message, payload));
            }
            (Origin::Peer(Peer::Coordinator), Message::FromCoordinator(message)) => {
                self.tasks.push_back(Task::FromCoordinator(message));
            }
            (Origin::Client(conn, client), Message::Client(request)) => {
                self.on_client(cx, conn, client, request, &payload);
            }
            // Links deliver no other pairs; a peer that answers as another role is not heard.
            _ => {}
        }
    }

    fn on_gone(&mut self, conn: ConnectionId) {
        self.storage.on_closed(Caller::Peer(conn));
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.on_closed(Caller::Peer(conn));
        }
        self.watchers.remove(&conn);
        self.forget_operator(conn);
        for server in self.partitions.values_mut() {
            server.on_gone(conn);
        }
    }

    fn on_reachable(&mut self, cx: &mut Context<'_>, node: NodeId, version: Option<Version>) {
        let partitions: Vec<_> = self.partitions.keys().copied().collect();
        for partition in partitions {
            self.with_partition(cx, partition, |server, cx, out| match version {
                Some(version) => server.on_reachable(cx, node, version, out),
                None => server.on_unreachable(cx, node, out),
            });
        }
    }

    fn on_agent(&mut self, cx: &mut Context<'_>, event: AgentEvent) {
        match event {
            AgentEvent::DirectoryChanged => self.is_directory_stale = true,
            AgentEvent::Epoch { partition, epoch } => {
                let Some(server) = self.partitions.get(&partition) else {
                    return;
                };
                let reachable = |node| Some((node, self.reachable(node)?));
                let reachable: Vec<_> = server.nodes().into_iter().filter_map(reachable).collect();
                self.with_partition(cx, partition, |server, cx, out| {
                    server.on_epoch(cx, epoch, reachable.into_iter(), out);
                });
            }
            AgentEvent::OrdersChanged { partition } => self.pass_orders(cx, partition),
            AgentEvent::Edited { edit, result } => self.on_edited(cx, edit, result),
            // The directory says it too, and is what is served by.
            AgentEvent::Assigned { .. } => {}
        }
    }

    fn on_partition(
        &mut self,
        cx: &mut Context<'_>,
        partition: PartitionId,
        output: PartitionOutput,
    ) {
        match output {
            PartitionOutput::ToReplica { node, request, payload } if self.is_here(node) => {
                self.tasks.push_back(Task::ToReplica(Caller::Local, request, payload));
            }
            PartitionOutput::ToReplica { node, request, payload } => {
                self.links.send_to(cx, Peer::Node(node), &Message::ToReplica(request), payload);
            }
            PartitionOutput::Reply { conn, reply, payload } => {
                let reply = self.in_words_of(conn, reply);
                self.links.send_with(cx, conn, &reply, payload);
            }
            PartitionOutput::Reach { node } => self.reach(cx, partition, node),
            PartitionOutput::NeedEpoch { above } => self.agent.take_epoch(partition, above),
            PartitionOutput::ReadArchive { ticket, read } => {
                cx.effects.push(Effect::ReadArchive { ticket, read });
            }
            PartitionOutput::SetCommitted(change) => self.record_set(cx, partition, change),
            PartitionOutput::Violation { conn, reason } => {
                self.with_links(|links, events| links.refuse(cx, conn, &reason, events));
            }
        }
    }
}
