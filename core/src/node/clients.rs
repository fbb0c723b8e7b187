//! Clients' requests: to the partition they name, or answered here.

use bytes::Bytes;

use super::Body;
use crate::id::{ClientId, Member};
use crate::io::{ConnectionId, Context};
use crate::partition::refuse::refuse;
use crate::partition::server::PartitionServer;
use crate::wire::{
    ClientRequest, Message, MountRefusal, NodeStatus, OperatorRequest, PartitionStatus, ServerReply,
};

impl Body {
    pub(super) fn on_client(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        client: ClientId,
        request: ClientRequest,
        payload: &Bytes,
    ) {
        let Some(request) = self.admit(cx, conn, client, request, payload) else { return };
        let partition = match &request {
            // It was taken in when it was admitted.
            ClientRequest::Authenticate { .. } => return,
            ClientRequest::Describe => {
                self.watchers.insert(conn);
                let reply = ServerReply::Cluster(self.agent.directory().view());
                self.links.send(cx, conn, &Message::Server(reply));
                return;
            }
            ClientRequest::Status { call } => {
                let reply = ServerReply::Status { call: *call, status: self.status() };
                self.links.send(cx, conn, &Message::Server(reply));
                return;
            }
            ClientRequest::Inspect { call } => {
                let (call, inspection) = (*call, self.inspection());
                let reply = ServerReply::Inspected { call, inspection };
                self.links.send(cx, conn, &Message::Server(reply));
                return;
            }
            ClientRequest::Operate { request: OperatorRequest::Trim { partition, .. }, .. } => {
                *partition
            }
            ClientRequest::Operate { call, request } => {
                return self.on_operator(cx, conn, *call, request.clone());
            }
            ClientRequest::Mount { partition, .. }
            | ClientRequest::Credit { partition, .. }
            | ClientRequest::Unmount { partition, .. }
            | ClientRequest::Append { partition, .. }
            | ClientRequest::Fetch { partition, .. }
            | ClientRequest::Current { partition, .. } => *partition,
        };
        if self.partitions.contains_key(&partition) {
            self.with_partition(cx, partition, |server, cx, out| {
                server.on_request(cx, conn, client, request, payload, out);
            });
            return;
        }
        let mut outputs = Vec::new();
        refuse(conn, client, request, payload, &MountRefusal::NotOwner, &mut outputs);
        self.tasks
            .extend(outputs.into_iter().map(|output| super::Task::Partition(partition, output)));
    }

    fn status(&self) -> NodeStatus {
        NodeStatus {
            node: self.config.node,
            cluster: self.agent.directory().view(),
            partitions: self.partitions.values().map(|server| self.partition(server)).collect(),
            coordinator: self.agent.is_synced(),
        }
    }

    /// A partition as its server sees it, and what is registered of its disks and consumers.
    fn partition(&self, server: &PartitionServer) -> PartitionStatus {
        let (directory, mut status) = (self.agent.directory(), server.status());
        for replica in &mut status.replicas {
            let wiped =
                |member: &Member| member.node == replica.node && directory.is_replaced(*member);
            replica.wiped = status.members.0.iter().any(wiped);
        }
        if let Some(consumers) = directory.consumers(status.partition) {
            let consumers = consumers.iter().map(|(name, mark)| (name.to_owned(), mark));
            status.consumers = consumers.collect();
        }
        status
    }
}
