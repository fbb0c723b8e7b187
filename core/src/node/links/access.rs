//! What the other ends of connections may ask.

use super::{LinkEvent, Links};
use crate::access::{AccessRefusal, Rights, Role};
use crate::io::{ConnectionId, Context, Level};
use crate::wire::{Message, Refusal, Version, Who};

impl Links {
    /// What the other end may ask.
    pub(in crate::node) fn rights(&self, conn: ConnectionId) -> Rights {
        self.links.get(&conn).map_or_else(Rights::default, |link| link.rights)
    }

    /// Whether whoever says this hello may, as far as can be told yet: a token may follow.
    pub(super) fn may_greet(
        &self,
        conn: ConnectionId,
        who: Who,
        version: Version,
    ) -> Result<(), AccessRefusal> {
        let rights = self.rights(conn);
        let token_may_follow = version >= Version::OPERATIONS && self.access.has_tokens();
        match who {
            Who::Node(_) if rights.may(Role::Node) => Ok(()),
            Who::Node(_) => Err(AccessRefusal::NotANode),
            Who::Client(_) if rights.is_client() || token_may_follow => Ok(()),
            Who::Client(_) => Err(AccessRefusal::Unknown),
        }
    }

    /// A client presents a token: what that may do, it may do, too.
    pub(in crate::node) fn authenticate(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        token: &str,
        events: &mut Vec<LinkEvent>,
    ) {
        let rights = self.access.of_token(token);
        if !rights.is_client() {
            return self.turn_away(cx, conn, AccessRefusal::Token, events);
        }
        if let Some(link) = self.links.get_mut(&conn) {
            link.rights = link.rights.and(rights);
        }
    }

    /// Tells whoever is at the other end that it has no business here, and closes.
    pub(in crate::node) fn turn_away(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        refusal: AccessRefusal,
        events: &mut Vec<LinkEvent>,
    ) {
        let version = self.links.get(&conn).map_or(Version::FIRST, |link| link.version);
        let told = match version >= Version::OPERATIONS {
            true => Refusal::Access(refusal),
            false => Refusal::Protocol,
        };
        cx.report(Level::Warning, None, format!("turned a peer away: {refusal}"));
        self.send(cx, conn, &Message::Refused(told));
        self.close(cx, conn, &refusal.to_string(), events);
    }
}
