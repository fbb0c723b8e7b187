//! What clients ask, against what they may ask.

use bytes::Bytes;

use super::Body;
use crate::access::{AccessRefusal, Role};
use crate::id::ClientId;
use crate::io::{ConnectionId, Context};
use crate::partition::refuse::refuse_appends;
use crate::wire::{AppendRefusal, ClientRequest, Message, ServerReply};

impl Body {
    /// The request, if whoever asks may ask it. Otherwise it is answered here: what a client lacks
    /// one role for is refused alone, and one without any role is turned away.
    pub(super) fn admit(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        client: ClientId,
        request: ClientRequest,
        payload: &Bytes,
    ) -> Option<ClientRequest> {
        if let ClientRequest::Authenticate { token } = &request {
            self.with_links(|links, events| links.authenticate(cx, conn, token, events));
            return None;
        }
        let rights = self.links.rights(conn);
        let needed = Role::needed_for(&request)?;
        if rights.may(needed) {
            return Some(request);
        }
        let refusal = match rights.is_client() {
            true => AccessRefusal::Role { needed },
            false => AccessRefusal::Unknown,
        };
        let mut replies = Vec::new();
        match request {
            ClientRequest::Append { partition, mount, .. } if rights.is_client() => {
                let (to, reason) = ((partition, mount), AppendRefusal::Access(refusal));
                refuse_appends(client, to, payload, &reason, |reply| replies.push(reply));
            }
            ClientRequest::Operate { call, .. } if rights.is_client() => {
                replies.push(ServerReply::Denied { call, refusal });
            }
            _ => {}
        }
        let replies: Vec<_> = replies.into_iter().map(Message::Server).collect();
        if replies.is_empty() || !replies.iter().all(|reply| self.links.takes(conn, reply)) {
            self.with_links(|links, events| links.turn_away(cx, conn, refusal, events));
            return None;
        }
        for reply in replies {
            self.links.send(cx, conn, &reply);
        }
        None
    }
}
