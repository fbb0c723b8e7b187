//! What comes over connections, taken to the part it concerns.

use bytes::Bytes;

use crate::client::call::{Conflict, Unanswered};
use crate::client::io::Attachment;
use crate::client::links::Incoming;
use crate::client::partition::Violation;
use crate::id::PartitionId;
use crate::io::ConnectionId;
use crate::wire::{Frame, Refusal, ServerReply};

use super::ClientMachine;

impl ClientMachine {
    pub(super) fn on_received(&mut self, conn: ConnectionId, frame: Frame) {
        match self.links.on_received(&mut self.base, conn, frame) {
            Incoming::Nothing => {}
            Incoming::Up => self.stirred = true,
            Incoming::Lost(refusal) => {
                self.lost(conn);
                if let Some(refusal) = refusal {
                    self.on_turned_away(refusal);
                }
            }
            Incoming::Reply(reply, payload) => {
                if let Err(Violation(why)) = self.on_reply(conn, reply, payload) {
                    self.links.fail(&mut self.base, conn, why);
                    self.lost(conn);
                }
            }
        }
    }

    pub(super) fn lost(&mut self, conn: ConnectionId) {
        for partition in self.partitions.values_mut() {
            partition.lost(&mut self.base, conn);
        }
        self.requests.lost(conn);
        self.stirred = true;
    }

    /// A node won't talk to this client: loud while nothing is known of the cluster.
    fn on_turned_away(&mut self, refusal: Refusal) {
        if !self.cluster.is_known() {
            for describe in std::mem::take(&mut self.describes) {
                self.base.answer(describe.call, Err(Unanswered::Hello(refusal)));
            }
        }
    }

    fn on_reply(
        &mut self,
        conn: ConnectionId,
        reply: ServerReply,
        payload: Bytes,
    ) -> Result<(), Violation> {
        let base = &mut self.base;
        match reply {
            ServerReply::Cluster(view) => self.on_cluster(view),
            ServerReply::Fetched { call } => {
                return self.requests.on_fetched(base, conn, call, payload);
            }
            ServerReply::FetchRefused { call, reason } => {
                let marked = self.requests.on_refused(base, conn, call, reason);
                self.on_marked(marked);
                self.stirred = true;
            }
            ServerReply::Current { call, mark } => {
                let marked = self.requests.on_mark(conn, call, mark);
                self.on_marked(marked);
            }
            ServerReply::Status { call, status } => {
                self.requests.on_status(base, conn, call, status);
                self.stirred = true;
            }
            ServerReply::Inspected { call, inspection } => {
                self.requests.on_inspected(base, conn, call, inspection);
                self.stirred = true;
            }
            ServerReply::Operated { call, result } => {
                self.requests.on_operated(base, conn, call, result);
                self.stirred = true;
            }
            ServerReply::Denied { call, refusal } => {
                let marked = self.requests.on_denied(base, conn, call, refusal);
                self.on_marked(marked);
                self.stirred = true;
            }
            reply => return self.on_partition_reply(conn, reply, payload),
        }
        Ok(())
    }

    fn on_partition_reply(
        &mut self,
        conn: ConnectionId,
        reply: ServerReply,
        payload: Bytes,
    ) -> Result<(), Violation> {
        let Some(id) = partition_of(&reply) else { return Ok(()) };
        let Some(partition) = self.partitions.get_mut(&id) else { return Ok(()) };
        let base = &mut self.base;
        self.touched.insert(id);
        match reply {
            ServerReply::Mounted { mount, session, .. } => {
                partition.on_mounted(base, conn, mount, session)
            }
            ServerReply::Unmounted { mount, reason, .. } => {
                if partition.on_unmounted(base, conn, mount, &reason) {
                    self.attachments += 1;
                    let attachment = Attachment { partition: id, number: self.attachments };
                    partition.begin_again(base, attachment);
                }
                self.stirred = true;
                Ok(())
            }
            ServerReply::Feed { mount, first, count, .. } => {
                partition.on_feed(base, conn, mount, first, count, payload)
            }
            ServerReply::Ready { mount, session, mark, .. } => {
                partition.on_ready(base, conn, mount, session, mark)
            }
            ServerReply::Conflict { sequence, id, lock, exact, .. } => {
                partition.on_conflict(base, sequence, Conflict { id, lock, exact });
                Ok(())
            }
            ServerReply::AppendRefused { mount, first, last, reason, .. } => {
                partition.on_refused(base, conn, mount, (first, last), &reason);
                self.stirred = true;
                Ok(())
            }
            ServerReply::Cluster(_)
            | ServerReply::Fetched { .. }
            | ServerReply::FetchRefused { .. }
            | ServerReply::Current { .. }
            | ServerReply::Status { .. }
            | ServerReply::Operated { .. }
            | ServerReply::Inspected { .. }
            | ServerReply::Denied { .. } => Ok(()),
        }
    }
}

fn partition_of(reply: &ServerReply) -> Option<PartitionId> {
    match reply {
        ServerReply::Mounted { partition, .. }
        | ServerReply::Unmounted { partition, .. }
        | ServerReply::Feed { partition, .. }
        | ServerReply::Ready { partition, .. }
        | ServerReply::Conflict { partition, .. }
        | ServerReply::AppendRefused { partition, .. } => Some(*partition),
        ServerReply::Cluster(_)
        | ServerReply::Fetched { .. }
        | ServerReply::FetchRefused { .. }
        | ServerReply::Current { .. }
        | ServerReply::Status { .. }
        | ServerReply::Operated { .. }
        | ServerReply::Inspected { .. }
        | ServerReply::Denied { .. } => None,
    }
}
