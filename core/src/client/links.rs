//! Connections: whom to dial and when, the hello, and whether the other side is still there.
//!
//! One connection is *home*: it is kept open whatever happens, so that somebody tells about the
//! cluster. The others lead to nodes that are wanted: owners of partitions, and nodes that are
//! asked something. A node is connected once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::NodeId;
use crate::io::{Address, ConnectionId};
use crate::time::Time;
use crate::wire::{
    ClientRequest, Frame, Hello, Message, Refusal, ServerReply, Version, Welcome, Who,
};

use super::base::Base;
use super::cluster::Cluster;
use super::config::Token;
use super::io::ClientEffect;

/// A silent peer is asked whether it is there after this long.
const PING_AFTER: Duration = Duration::from_secs(1);
/// A silent peer is given up after this long.
const SILENCE: Duration = Duration::from_secs(3);
/// How long the first pause before dialling an address again is, at most; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Links {
    links: BTreeMap<ConnectionId, Link>,
    home: Option<ConnectionId>,
    /// How many connections were dialled.
    dials: u64,
    /// Where to go on among the candidates for a home.
    candidate: usize,
    pauses: BTreeMap<Address, Pause>,
    /// What went wrong last, for people.
    problem: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    address: Address,
    expected: Option<NodeId>,
    state: LinkState,
    heard: Time,
    pinged: bool,
    /// Agreed on once it is open.
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkState {
    Dialing,
    Greeting,
    Open(NodeId),
}

/// When an address may be dialled again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    failures: u32,
    until: Time,
}

/// What a frame means to the rest of the machine.
#[derive(Debug)]
pub(super) enum Incoming {
    Nothing,
    /// The connection can be used.
    Up,
    /// A server says something.
    Reply(ServerReply, bytes::Bytes),
    /// The connection is given up.
    Lost(Option<Refusal>),
}

impl Links {
    /// The open connection to a node.
    pub(super) fn to(&self, node: NodeId) -> Option<ConnectionId> {
        self.links
            .iter()
            .find_map(|(conn, link)| (link.state == LinkState::Open(node)).then_some(*conn))
    }

    /// Any open connection, home first, but rather one whose node speaks this version.
    pub(super) fn any(&self, version: Version) -> Option<ConnectionId> {
        let home = self.home.into_iter();
        let open = home.chain(self.links.keys().copied()).filter(|conn| self.is_open(*conn));
        open.clone().find(|conn| self.version(*conn) >= version).or_else(|| open.clone().next())
    }

    /// The version that was agreed on with a node.
    pub(super) fn version(&self, conn: ConnectionId) -> Version {
        self.links.get(&conn).map_or(Version::OLDEST, |link| link.version)
    }

    fn is_open(&self, conn: ConnectionId) -> bool {
        self.links.get(&conn).is_some_and(|link| matches!(link.state, LinkState::Open(_)))
    }

    /// What went wrong last, for people.
    pub(super) fn problem(&self) -> String {
        self.problem.clone().unwrap_or_else(|| "no node has answered yet".to_owned())
    }

    /// Dials what is missing and closes what nobody wants; the answer is what was closed.
    pub(super) fn keep(
        &mut self,
        base: &mut Base,
        cluster: &Cluster,
        wanted: &BTreeSet<NodeId>,
    ) -> Vec<ConnectionId> {
        if self.home.is_none_or(|home| !self.links.contains_key(&home)) {
            self.home = self.any(Version::OLDEST);
        }
        if self.home.is_none() {
            self.dial_home(base, cluster);
        }
        for node in wanted {
            let leads_there =
                |link: &Link| link.expected == Some(*node) || link.state == LinkState::Open(*node);
            if self.links.values().any(leads_there) {
                continue;
            }
            let Some(address) = cluster.address(*node) else { continue };
            match self.pause(address, base.now) {
                None => {
                    self.dial(base, address.clone(), Some(*node));
                }
                Some(until) => base.wake_by(until),
            }
        }
        let unwanted: Vec<_> = (self.links.iter())
            .filter(|(conn, link)| Some(**conn) != self.home && !link.is_wanted(wanted))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in &unwanted {
            self.close(base, *conn, "no longer needed");
        }
        unwanted
    }

    /// Makes another node the home, if there is another: this one's word leads nowhere.
    pub(super) fn move_home(&mut self, base: &mut Base, cluster: &Cluster) {
        if self.home.is_some_and(|home| !self.is_open(home)) {
            return;
        }
        let connected: BTreeSet<_> = self.links.values().map(|link| link.address.clone()).collect();
        if candidates(base, cluster).iter().any(|address| !connected.contains(address)) {
            self.dial_home(base, cluster);
        }
    }

    fn dial_home(&mut self, base: &mut Base, cluster: &Cluster) {
        let candidates = candidates(base, cluster);
        let mut soonest: Option<Time> = None;
        for offset in 0..candidates.len() {
            let index = (self.candidate + offset) % candidates.len();
            let address = &candidates[index];
            if self.links.values().any(|link| link.address == *address) {
                continue;
            }
            match self.pause(address, base.now) {
                None => {
                    self.candidate = index + 1;
                    let conn = self.dial(base, address.clone(), None);
                    self.home = Some(conn);
                    return;
                }
                Some(until) => soonest = Some(soonest.map_or(until, |soonest| soonest.min(until))),
            }
        }
        if let Some(soonest) = soonest {
            base.wake_by(soonest);
        }
    }

    fn dial(
        &mut self,
        base: &mut Base,
        address: Address,
        expected: Option<NodeId>,
    ) -> ConnectionId {
        self.dials += 1;
        let conn = ConnectionId::dialed(self.dials);
        base.push(ClientEffect::Connect { conn, address: address.clone() });
        let state = LinkState::Dialing;
        let (heard, version) = (base.now, Version::OLDEST);
        self.links.insert(conn, Link { address, expected, state, heard, pinged: false, version });
        base.wake_by(base.now + SILENCE);
        conn
    }

    pub(super) fn on_opened(&mut self, base: &mut Base, conn: ConnectionId) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.state = LinkState::Greeting;
        link.heard = base.now;
        let hello = Hello {
            oldest: Version::OLDEST,
            newest: Version::NEWEST,
            cluster: base.cluster,
            who: Who::Client(base.id),
        };
        base.send(conn, &Message::Hello(hello));
        base.wake_by(base.now + PING_AFTER);
    }

    /// A connection ended by itself. Whether it was known.
    pub(super) fn on_closed(&mut self, base: &mut Base, conn: ConnectionId, why: String) -> bool {
        let Some(link) = self.links.remove(&conn) else { return false };
        self.pause_after(base, &link, why);
        true
    }

    pub(super) fn on_received(
        &mut self,
        base: &mut Base,
        conn: ConnectionId,
        frame: Frame,
    ) -> Incoming {
        let Some(link) = self.links.get_mut(&conn) else { return Incoming::Nothing };
        link.heard = base.now;
        link.pinged = false;
        let opened = Message::decode(&frame.head).and_then(|message| message.open(frame.payload));
        let (message, payload) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.fail(base, conn, error.to_string()),
        };
        match (link.state, message) {
            (LinkState::Greeting, Message::Welcome(welcome)) => {
                self.on_welcome(base, conn, &welcome)
            }
            (LinkState::Greeting, Message::Refused(refusal)) => {
                self.fail(base, conn, refusal.to_string());
                Incoming::Lost(Some(refusal))
            }
            (LinkState::Open(_), Message::Server(reply)) => Incoming::Reply(reply, payload),
            (LinkState::Open(_), Message::Pong) => Incoming::Nothing,
            (LinkState::Open(_), Message::Ping) => {
                base.send(conn, &Message::Pong);
                Incoming::Nothing
            }
            (LinkState::Open(_), Message::Refused(refusal)) => {
                self.fail(base, conn, refusal.to_string());
                Incoming::Lost(Some(refusal))
            }
            _ => self.fail(base, conn, "a message that has no place here".to_owned()),
        }
    }

    fn on_welcome(&mut self, base: &mut Base, conn: ConnectionId, welcome: &Welcome) -> Incoming {
        if base.cluster.is_some_and(|cluster| cluster != welcome.cluster) {
            let refusal = Refusal::Cluster(welcome.cluster);
            self.fail(base, conn, refusal.to_string());
            return Incoming::Lost(Some(refusal));
        }
        if !welcome.version.is_spoken() {
            let text = format!("the node wants to speak version {}", welcome.version);
            return self.fail(base, conn, text);
        }
        if let Some(open) = self.to(welcome.node) {
            if self.home == Some(conn) {
                self.home = Some(open);
            }
            self.close(base, conn, "this node is connected already");
            return Incoming::Nothing;
        }
        let Some(link) = self.links.get_mut(&conn) else { return Incoming::Nothing };
        if link.expected.is_some_and(|expected| expected != welcome.node) {
            let text = format!("node {} answers at {}", welcome.node, link.address);
            return self.fail(base, conn, text);
        }
        link.state = LinkState::Open(welcome.node);
        link.version = welcome.version;
        self.pauses.remove(&link.address);
        base.cluster = Some(welcome.cluster);
        if let Some(Token(token)) = base.config.token.clone()
            && welcome.version >= Version::OPERATIONS
        {
            base.ask(conn, ClientRequest::Authenticate { token });
        }
        base.ask(conn, ClientRequest::Describe);
        Incoming::Up
    }

    /// Asks silent peers whether they are there; the connections given up.
    pub(super) fn on_timer(&mut self, base: &mut Base) -> Vec<ConnectionId> {
        let mut silent = Vec::new();
        for (conn, link) in &mut self.links {
            let quiet = base.now.since(link.heard);
            if quiet >= SILENCE {
                silent.push(*conn);
                continue;
            }
            if matches!(link.state, LinkState::Open(_)) && quiet >= PING_AFTER && !link.pinged {
                link.pinged = true;
                base.push(ClientEffect::Send { conn: *conn, frame: Message::Ping.frame() });
            }
            let next = if quiet < PING_AFTER { PING_AFTER } else { SILENCE };
            base.wake_by(link.heard + next);
        }
        for conn in &silent {
            self.fail(base, *conn, "no sign of life".to_owned());
        }
        silent
    }

    /// Gives a connection up: the peer is silent, or misbehaves.
    pub(super) fn fail(&mut self, base: &mut Base, conn: ConnectionId, why: String) -> Incoming {
        let Some(link) = self.links.remove(&conn) else { return Incoming::Nothing };
        base.push(ClientEffect::Close { conn, reason: why.clone() });
        self.pause_after(base, &link, why);
        Incoming::Lost(None)
    }

    pub(super) fn close_all(&mut self, base: &mut Base) {
        while let Some((conn, _)) = self.links.first_key_value() {
            self.close(base, *conn, "the client was closed");
        }
    }

    fn close(&mut self, base: &mut Base, conn: ConnectionId, why: &str) {
        self.links.remove(&conn);
        base.push(ClientEffect::Close { conn, reason: why.to_owned() });
    }

    /// How long an address is not to be dialled, if it is not.
    fn pause(&self, address: &Address, now: Time) -> Option<Time> {
        self.pauses.get(address).map(|pause| pause.until).filter(|until| *until > now)
    }

    fn pause_after(&mut self, base: &mut Base, link: &Link, why: String) {
        let failures = self.pauses.get(&link.address).map_or(0, |pause| pause.failures);
        let until = base.now + base.pause_after(failures, FIRST_PAUSE, LONGEST_PAUSE);
        let pause = Pause { failures: failures + 1, until };
        self.pauses.insert(link.address.clone(), pause);
        self.problem = Some(format!("{}: {why}", link.address));
        base.wake_by(until);
    }
}

impl Link {
    fn is_wanted(&self, wanted: &BTreeSet<NodeId>) -> bool {
        match (self.state, self.expected) {
            (LinkState::Open(node), _) | (_, Some(node)) => wanted.contains(&node),
            // A home that was moved before it said who it is.
            (_, None) => false,
        }
    }
}

/// Where a home may be: the addresses configured, then those the cluster tells.
fn candidates(base: &Base, cluster: &Cluster) -> Vec<Address> {
    let mut candidates = base.config.bootstrap.clone();
    for address in cluster.addresses() {
        if !candidates.contains(address) {
            candidates.push(address.clone());
        }
    }
    candidates
}
