//! A node's connections: who is at the other end, and whether they are still there.
//!
//! The dialler asks (server to replica, agent to coordinator), the side that accepted answers. A
//! dialled connection that ends is dialled again after a jittered pause. An idle connection is
//! pinged; a silent one is closed, so that a cut is noticed even when the network says nothing.
//!
//! Nothing is sent, or taken, that the version agreed on with a peer does not have.

mod access;
mod greeting;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::access::{AccessConfig, Identity, Rights, Role};
use crate::id::{ClientId, ClusterKey, NodeId};
use crate::io::{Address, ConnectionId, Context, Effect, Level};
use crate::measure::Connections;
use crate::time::Time;
use crate::wire::{Frame, Hello, Message, MessageError, Refusal, Version, Who};

/// Whom this node keeps a connection to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Peer {
    /// Whichever node hosts the coordinator.
    Coordinator,
    /// A storage node.
    Node(NodeId),
}

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Origin {
    /// One this node dialled: it answers.
    Peer(Peer),
    /// A node that dialled this one: it asks.
    Node(ConnectionId),
    /// A client.
    Client(ConnectionId, ClientId),
}

/// What became of a connection, or came over it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LinkEvent {
    /// A peer can be asked, in this version of the protocol.
    Up(Peer, Version),
    /// It no longer can; what was asked may be lost.
    Down(Peer),
    /// Someone who dialled this node is gone.
    Gone(ConnectionId),
    /// A message.
    Message(Origin, Message, Bytes),
}

/// How connections are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkConfig {
    /// Silence after which a ping is sent.
    pub ping_after: Duration,
    /// Silence after which the connection is given up.
    pub give_up_after: Duration,
    /// The shortest pause before dialling again.
    pub redial_min: Duration,
    /// The longest.
    pub redial_max: Duration,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            ping_after: Duration::from_millis(500),
            give_up_after: Duration::from_millis(2500),
            redial_min: Duration::from_millis(20),
            redial_max: Duration::from_secs(1),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Being dialled.
    Dialing(Peer),
    /// Our hello is on its way.
    Greeting(Peer),
    /// Ours to ask.
    Ours(Peer),
    /// Accepted; its hello has not come.
    Strange,
    /// Another node's, to ask us.
    Node,
    /// A client's.
    Client(ClientId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Link {
    state: State,
    /// Agreed on; until then the one that hellos are in.
    version: Version,
    /// What the other end may ask.
    rights: Rights,
    heard: Time,
    sent: Time,
}

impl Link {
    fn new(state: State, version: Version, rights: Rights, now: Time) -> Self {
        Self { state, version, rights, heard: now, sent: now }
    }

    /// One on which no hello was answered yet.
    fn strange(state: State, now: Time) -> Self {
        Self::new(state, Version::FIRST, Rights::default(), now)
    }

    /// Whether a version was agreed on.
    fn is_greeted(&self) -> bool {
        matches!(self.state, State::Ours(_) | State::Node | State::Client(_))
    }

    /// The message in a frame, and what comes along. A long one takes up much before anything can be
    /// said of it: of clients, only operators may send any.
    fn open(&self, frame: Frame) -> Result<(Message, Bytes), MessageError> {
        let head = Message::decode(&frame.head)?.within(self.version)?;
        if let (State::Client(_), Message::Long { .. }) = (self.state, &head)
            && !self.rights.may(Role::Admin)
        {
            return Err(MessageError::NotAdmin { bytes: frame.payload.len() });
        }
        let (message, payload) = head.open(frame.payload)?;
        Ok((message.within(self.version)?, payload))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Wanted {
    address: Address,
    link: Option<ConnectionId>,
    /// The version agreed on, while it can be asked.
    up: Option<Version>,
    redial_at: Time,
    pause: Duration,
}

/// All connections of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Links {
    node: NodeId,
    cluster: ClusterKey,
    /// The newest version that it speaks; at most the newest of the program.
    newest: Version,
    /// The oldest that is enough for its cluster: no others are talked to.
    oldest: Version,
    config: LinkConfig,
    access: AccessConfig,
    links: BTreeMap<ConnectionId, Link>,
    wanted: BTreeMap<Peer, Wanted>,
    dials: u64,
    check_at: Time,
}

impl Links {
    pub(super) fn new(
        node: NodeId,
        cluster: ClusterKey,
        newest: Version,
        config: LinkConfig,
        access: AccessConfig,
    ) -> Self {
        assert!(newest.is_spoken(), "a node is held back to a version that it speaks");
        let (links, wanted) = (BTreeMap::new(), BTreeMap::new());
        let (dials, check_at) = (0, Time::ZERO);
        let oldest = Version::OLDEST;
        Self { node, cluster, newest, oldest, config, access, links, wanted, dials, check_at }
    }

    /// Keeps a connection to a peer from now on; a new address replaces the old connection.
    pub(super) fn want(
        &mut self,
        cx: &mut Context<'_>,
        peer: Peer,
        address: &Address,
    ) -> Vec<LinkEvent> {
        let mut events = Vec::new();
        match self.wanted.get_mut(&peer) {
            Some(wanted) if wanted.address == *address => return events,
            Some(wanted) => {
                wanted.address = address.clone();
                wanted.redial_at = cx.now;
                if let Some(conn) = wanted.link {
                    self.close(cx, conn, "its address changed", &mut events);
                }
            }
            None => {
                let wanted = Wanted {
                    address: address.clone(),
                    link: None,
                    up: None,
                    redial_at: cx.now,
                    pause: self.config.redial_min,
                };
                self.wanted.insert(peer, wanted);
            }
        }
        self.redial(cx);
        events
    }

    /// Keeps connections to those peers only that are still needed.
    pub(super) fn keep(
        &mut self,
        cx: &mut Context<'_>,
        is_needed: impl Fn(Peer) -> bool,
        events: &mut Vec<LinkEvent>,
    ) {
        let needless = self.wanted.keys().copied().filter(|peer| !is_needed(*peer));
        let needless: Vec<_> = needless.collect();
        for peer in needless {
            if let Some(conn) = self.wanted.get(&peer).and_then(|wanted| wanted.link) {
                self.close(cx, conn, "it is needed no more", events);
            }
            self.wanted.remove(&peer);
        }
    }

    /// Talks from now on, to whoever connects, in no older version than this.
    pub(super) fn require(&mut self, oldest: Version) {
        self.oldest = oldest;
    }

    /// The oldest version in which anyone is talked to now.
    pub(super) fn oldest_agreed(&self) -> Option<Version> {
        let greeted = self.links.values().filter(|link| link.is_greeted());
        greeted.map(|link| link.version).min()
    }

    /// The version that a peer can be asked in, if it can be.
    pub(super) fn version(&self, peer: Peer) -> Option<Version> {
        self.wanted.get(&peer)?.up
    }

    /// How many connections there are, by what they are for. One that is being dialled is none yet.
    pub(super) fn count(&self) -> Connections {
        let mut connections = Connections::default();
        for link in self.links.values() {
            match link.state {
                State::Dialing(_) => {}
                State::Greeting(_) | State::Strange => connections.strangers += 1,
                State::Ours(_) => connections.peers += 1,
                State::Node => connections.nodes += 1,
                State::Client(_) => connections.clients += 1,
            }
        }
        connections
    }

    /// Whether there is a connection over which this message can be sent.
    pub(super) fn takes(&self, conn: ConnectionId, message: &Message) -> bool {
        self.links.get(&conn).is_some_and(|link| message.since() <= link.version)
    }

    /// Sends to a peer, if it is up.
    pub(super) fn send_to(
        &mut self,
        cx: &mut Context<'_>,
        peer: Peer,
        message: &Message,
        payload: Bytes,
    ) {
        let wanted = self.wanted.get(&peer).filter(|wanted| wanted.up.is_some());
        if let Some(conn) = wanted.and_then(|wanted| wanted.link) {
            self.send_with(cx, conn, message, payload);
        }
    }

    /// Sends on a connection, if it still is.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, conn: ConnectionId, message: &Message) {
        self.send_with(cx, conn, message, Bytes::new());
    }

    /// Sends with a payload on a connection, if it still is.
    pub(super) fn send_with(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        message: &Message,
        payload: Bytes,
    ) {
        if let Some(link) = self.links.get_mut(&conn) {
            debug_assert!(message.since() <= link.version, "{:?}: {message:?}", link.version);
            link.sent = cx.now;
            let frame = message.framed(payload, link.version).unwrap_or_else(|error| {
                // Whoever is told this closes the connection.
                cx.report(Level::Error, None, format!("a peer can't be told something: {error}"));
                let (oldest, newest) = (Version::LONG, self.newest);
                Message::Refused(Refusal::Version { oldest, newest }).frame()
            });
            cx.effects.push(Effect::Send { conn, frame });
        }
    }

    pub(super) fn on_opened(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        identity: Option<&Identity>,
        events: &mut Vec<LinkEvent>,
    ) {
        let rights = self.access.of_peer(identity);
        if !conn.is_dialed() {
            let link = Link { rights, ..Link::strange(State::Strange, cx.now) };
            self.links.insert(conn, link);
            self.check_at = self.check_at.min(cx.now + self.config.ping_after);
            return;
        }
        let Some(link) = self.links.get_mut(&conn) else {
            return;
        };
        let State::Dialing(peer) = link.state else {
            return;
        };
        if !rights.may(Role::Node) {
            let text = format!("{peer:?} has no certificate with the role node");
            cx.report(Level::Error, None, text);
            return self.close(cx, conn, "it has no certificate with the role node", events);
        }
        *link = Link { rights, ..Link::strange(State::Greeting(peer), cx.now) };
        let hello = Hello {
            oldest: self.oldest,
            newest: self.newest,
            cluster: Some(self.cluster),
            who: Who::Node(self.node),
        };
        self.send(cx, conn, &Message::Hello(hello));
    }

    pub(super) fn on_closed(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        events: &mut Vec<LinkEvent>,
    ) {
        let Some(link) = self.links.remove(&conn) else {
            return;
        };
        let (State::Dialing(peer) | State::Greeting(peer) | State::Ours(peer)) = link.state else {
            events.push(LinkEvent::Gone(conn));
            return;
        };
        let Some(wanted) = self.wanted.get_mut(&peer).filter(|wanted| wanted.link == Some(conn))
        else {
            return;
        };
        wanted.link = None;
        let pause = cx.random.between(wanted.pause / 2, wanted.pause);
        wanted.redial_at = cx.now + pause;
        wanted.pause = (wanted.pause * 2).min(self.config.redial_max);
        if wanted.up.take().is_some() {
            events.push(LinkEvent::Down(peer));
        }
    }

    pub(super) fn on_received(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        frame: Frame,
        events: &mut Vec<LinkEvent>,
    ) {
        let Some(link) = self.links.get_mut(&conn) else {
            return;
        };
        link.heard = cx.now;
        let state = link.state;
        let (message, payload) = match link.open(frame) {
            Ok(opened) => opened,
            Err(error) => return self.refuse(cx, conn, &error.to_string(), events),
        };
        match (state, message) {
            (State::Strange, Message::Hello(hello)) => self.on_hello(cx, conn, hello, events),
            (State::Greeting(peer), Message::Welcome(welcome)) => {
                self.on_welcome(cx, conn, peer, welcome, events);
            }
            (State::Greeting(peer), Message::Refused(refusal)) => {
                let text = format!("refused by {peer:?}: {refusal}");
                cx.report(Level::Error, None, text);
                self.close(cx, conn, "refused", events);
            }
            (State::Strange | State::Dialing(_) | State::Greeting(_), _) => {
                self.refuse(cx, conn, "it did not begin with a hello", events);
            }
            (_, Message::Ping) => self.send(cx, conn, &Message::Pong),
            (_, Message::Pong) => {}
            (state, message) => match origin(state, conn, &message) {
                Some(origin) => events.push(LinkEvent::Message(origin, message, payload)),
                None => self.refuse(cx, conn, "it may not send such a message", events),
            },
        }
    }

    /// When [`Self::on_timer`] wants to be called.
    pub(super) fn deadline(&self) -> Option<Time> {
        let waiting = self.wanted.values().filter(|wanted| wanted.link.is_none());
        let redial = waiting.map(|wanted| wanted.redial_at).min();
        let check = (!self.links.is_empty()).then_some(self.check_at);
        redial.into_iter().chain(check).min()
    }

    pub(super) fn on_timer(&mut self, cx: &mut Context<'_>, events: &mut Vec<LinkEvent>) {
        if cx.now >= self.check_at {
            self.check_at = cx.now + self.config.ping_after / 2;
            let silent = |link: &Link| cx.now.since(link.heard) >= self.config.give_up_after;
            let silent: Vec<_> =
                self.links.iter().filter(|(_, link)| silent(link)).map(|(conn, _)| *conn).collect();
            for conn in silent {
                self.close(cx, conn, "it has been silent too long", events);
            }
            let quiet: Vec<_> = self
                .links
                .iter()
                .filter(|(_, l)| self.is_quiet(cx.now, l))
                .map(|(c, _)| *c)
                .collect();
            for conn in quiet {
                self.send(cx, conn, &Message::Ping);
            }
        }
        self.redial(cx);
    }

    fn is_quiet(&self, now: Time, link: &Link) -> bool {
        link.is_greeted() && now.since(link.heard.min(link.sent)) >= self.config.ping_after
    }

    fn redial(&mut self, cx: &mut Context<'_>) {
        for (peer, wanted) in &mut self.wanted {
            if wanted.link.is_some() || wanted.redial_at > cx.now {
                continue;
            }
            let conn = ConnectionId::dialed(self.dials);
            self.dials += 1;
            wanted.link = Some(conn);
            self.links.insert(conn, Link::strange(State::Dialing(*peer), cx.now));
            self.check_at = self.check_at.min(cx.now + self.config.ping_after);
            cx.effects.push(Effect::Connect { conn, address: wanted.address.clone() });
        }
    }

    /// Tells a peer that it broke the protocol, and closes.
    pub(super) fn refuse(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        reason: &str,
        events: &mut Vec<LinkEvent>,
    ) {
        cx.report(Level::Warning, None, format!("closing a connection: {reason}"));
        self.send(cx, conn, &Message::Refused(Refusal::Protocol));
        self.close(cx, conn, reason, events);
    }

    fn close(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        reason: &str,
        events: &mut Vec<LinkEvent>,
    ) {
        cx.effects.push(Effect::Close { conn, reason: reason.to_owned() });
        self.on_closed(cx, conn, events);
    }
}

/// Who sends this message, if whoever is at the other end may.
fn origin(state: State, conn: ConnectionId, message: &Message) -> Option<Origin> {
    match (state, message) {
        (State::Ours(peer), Message::FromReplica(_) | Message::FromCoordinator(_)) => {
            Some(Origin::Peer(peer))
        }
        (State::Node, Message::ToReplica(_) | Message::ToCoordinator(_)) => {
            Some(Origin::Node(conn))
        }
        (State::Client(client), Message::Client(_)) => Some(Origin::Client(conn, client)),
        _ => None,
    }
}

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod tests;
