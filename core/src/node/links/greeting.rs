//! How a connection opens: a hello is answered, and a version of the protocol agreed on. Nothing
//! else is said over it before.

use super::{Link, LinkEvent, Links, Peer, State};
use crate::io::{ConnectionId, Context, Effect, Level};
use crate::wire::{Hello, Message, Refusal, Welcome, Who, agree};

impl Links {
    pub(super) fn on_hello(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        hello: Hello,
        events: &mut Vec<LinkEvent>,
    ) {
        let foreign = hello.cluster.is_some_and(|cluster| cluster != self.cluster);
        let foreign = foreign.then_some(Refusal::Cluster(self.cluster));
        let version = foreign.map_or_else(|| agree(&hello, self.oldest, self.newest), Err);
        match version {
            Ok(version) => {
                let rights = self.rights(conn);
                let state = match hello.who {
                    Who::Node(_) => State::Node,
                    Who::Client(client) => State::Client(client),
                };
                self.links.insert(conn, Link::new(state, version, rights, cx.now));
                if let Err(refusal) = self.may_greet(conn, hello.who, version) {
                    return self.turn_away(cx, conn, refusal, events);
                }
                if state == State::Node {
                    cx.effects.push(Effect::LiftBounds { conn });
                }
                let welcome = Welcome { version, cluster: self.cluster, node: self.node };
                self.send(cx, conn, &Message::Welcome(welcome));
            }
            Err(refusal) => {
                self.send(cx, conn, &Message::Refused(refusal));
                self.close(cx, conn, &refusal.to_string(), events);
            }
        }
    }

    pub(super) fn on_welcome(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        peer: Peer,
        welcome: Welcome,
        events: &mut Vec<LinkEvent>,
    ) {
        if let Peer::Node(node) = peer
            && node != welcome.node
        {
            let text = format!("{node} was expected where {} answers", welcome.node);
            cx.report(Level::Warning, None, text);
            self.close(cx, conn, "another node answers", events);
            return;
        }
        let version = welcome.version;
        if version < self.oldest || version > self.newest {
            let text = format!("{peer:?} wants to speak version {version} of the protocol");
            cx.report(Level::Error, None, text);
            self.close(cx, conn, "it wants to speak a version that was not offered", events);
            return;
        }
        let Some(wanted) = self.wanted.get_mut(&peer).filter(|wanted| wanted.link == Some(conn))
        else {
            return;
        };
        wanted.up = Some(version);
        wanted.pause = self.config.redial_min;
        let rights = self.rights(conn);
        self.links.insert(conn, Link::new(State::Ours(peer), version, rights, cx.now));
        events.push(LinkEvent::Up(peer, version));
    }
}
