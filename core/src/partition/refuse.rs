//! What clients hear who ask for a partition that is not being served.

use bytes::Bytes;

use super::server::{Outputs, PartitionOutput};
use crate::id::{ClientId, MountId, PartitionId};
use crate::io::ConnectionId;
use crate::limits::Limits;
use crate::record::RecordView;
use crate::wire::{
    AppendRefusal, ClientRequest, FetchRefusal, MountRefusal, OperatorRefusal, ServerReply,
};

/// Answers a request for a partition that is not being served.
pub(crate) fn refuse(
    conn: ConnectionId,
    client: ClientId,
    request: ClientRequest,
    payload: &[u8],
    reason: &MountRefusal,
    outputs: &mut Outputs,
) {
    let mut reply = |reply| {
        outputs.push(PartitionOutput::Reply { conn, reply, payload: Bytes::new() });
    };
    match request {
        ClientRequest::Mount { partition, mount, .. }
        | ClientRequest::Unmount { partition, mount } => {
            reply(ServerReply::Unmounted { partition, mount, reason: reason.clone() });
        }
        ClientRequest::Append { partition, mount, .. } => {
            let stale = AppendRefusal::Stale;
            refuse_appends(client, (partition, mount), payload, &stale, reply);
        }
        ClientRequest::Fetch { call, .. } | ClientRequest::Current { call, .. } => {
            reply(ServerReply::FetchRefused { call, reason: FetchRefusal::NotOwner });
        }
        ClientRequest::Operate { call, .. } => {
            reply(ServerReply::Operated { call, result: Err(OperatorRefusal::NotOwner) });
        }
        ClientRequest::Credit { .. }
        | ClientRequest::Describe
        | ClientRequest::Status { .. }
        | ClientRequest::Inspect { .. }
        | ClientRequest::Authenticate { .. } => {}
    }
}

/// Refuses each of the records that a client has sent over its mount.
pub(crate) fn refuse_appends(
    client: ClientId,
    (partition, mount): (PartitionId, MountId),
    payload: &[u8],
    reason: &AppendRefusal,
    mut reply: impl FnMut(ServerReply),
) {
    let framed = Limits { record: u32::MAX, locks: u32::MAX, ..Limits::default() };
    let mut rest = payload;
    while let Ok((record, after)) = RecordView::parse(rest, &framed) {
        rest = after;
        if record.req_id().client != client {
            continue;
        }
        let (first, last) = (record.req_id().sequence, record.req_id().sequence);
        let reason = reason.clone();
        reply(ServerReply::AppendRefused { partition, mount, first, last, reason });
    }
}
