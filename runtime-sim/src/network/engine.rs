//! Moves packets: each sets out, travels, arrives or is lost, and is sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Waker};
use std::time::Duration;

use waltz_core::io::{Address, ConnectionId};
use waltz_core::limits::Limits;
use waltz_core::time::{Random, Time};
use waltz_core::wire::split_frame;
use waltz_runtime::NetEvent;

use super::connection::{Connection, Side, State};
use super::link::Links;
use super::stream::Segment;
use super::{HostId, NetId};
use crate::alarm::VirtualTime;
use crate::trace::{Event as Traced, Trace};

/// A dial that has not succeeded by then fails.
const DIAL_PATIENCE: Duration = Duration::from_secs(3);
/// An end whose packet has not come through by then closes.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// A packet is sent again after up to this, then after up to twice as long, and so on.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// A connection, by the order in which they were dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u64);

/// Something on its way from one end of a connection to the other.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) connection: Key,
    pub(super) from: Side,
    pub(super) content: Content,
    first_sent: Time,
    retries: u32,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    /// The dialler would like to connect.
    Knock,
    /// The acceptor lets it in.
    Welcome,
    /// Nobody listens.
    Refusal,
    Data(Segment),
    /// The sending end knows of no such connection.
    Reset,
}

#[derive(Debug)]
enum Event {
    SetOut(Packet),
    Arrive(Packet),
    DialDeadline(Key),
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) address: Address,
    /// Whether it has power.
    pub(super) answers: bool,
    pub(super) listener: Option<NetId>,
}

/// What a process has not taken yet, and what it has not flushed yet.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) host: HostId,
    pub(super) events: Vec<NetEvent>,
    pub(super) waker: Option<Waker>,
    pub(super) connections: BTreeMap<ConnectionId, (Key, Side)>,
    pub(super) unflushed: BTreeSet<ConnectionId>,
    pub(super) accepted: u64,
}

/// The whole state of the network.
pub(super) struct Engine {
    pub(super) time: VirtualTime,
    pub(super) random: Random,
    pub(super) trace: Trace,
    pub(super) links: Links,
    pub(super) hosts: Vec<Host>,
    pub(super) nets: BTreeMap<NetId, Inbox>,
    pub(super) connections: BTreeMap<Key, Connection>,
    pub(super) names: BTreeMap<Address, HostId>,
    pub(super) opened_nets: u64,
    dialed: u64,
    agenda: BTreeMap<(Time, u64), Event>,
    scheduled: u64,
    /// The task that drives this, and when it will be woken.
    driver: Option<Waker>,
    armed: Option<Time>,
}

impl Engine {
    pub(super) fn new(time: VirtualTime, random: Random, trace: Trace) -> Self {
        Self {
            time,
            random,
            trace,
            links: Links::default(),
            hosts: Vec::new(),
            nets: BTreeMap::new(),
            connections: BTreeMap::new(),
            names: BTreeMap::new(),
            opened_nets: 0,
            dialed: 0,
            agenda: BTreeMap::new(),
            scheduled: 0,
            driver: None,
            armed: None,
        }
    }

    /// Does everything that is due; the calling task is woken for the rest.
    pub(super) fn drive(&mut self, cx: &Context<'_>) {
        if !self.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            self.driver = Some(cx.waker().clone());
            self.armed = None;
        }
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > self.time.now() {
                break;
            }
            match entry.remove() {
                Event::SetOut(packet) => self.set_out(packet),
                Event::Arrive(packet) => self.arrive(packet),
                Event::DialDeadline(key) => self.on_dial_deadline(key),
            }
        }
        if self.armed.is_some_and(|armed| armed <= self.time.now()) {
            self.armed = None;
        }
        self.arm();
    }

    /// Wakes the driver for the first event, unless it will be awake by then.
    fn arm(&mut self) {
        let Some(&(first, _)) = self.agenda.keys().next() else { return };
        let Some(driver) = &self.driver else { return };
        if self.armed.is_none_or(|armed| first < armed) {
            self.time.wake_at(first, driver);
            self.armed = Some(first);
        }
    }

    fn schedule(&mut self, delay: Duration, event: Event) {
        self.scheduled += 1;
        self.agenda.insert((self.time.now() + delay, self.scheduled), event);
        self.arm();
    }

    pub(super) fn dial(&mut self, connection: Connection) -> Key {
        self.dialed += 1;
        let key = Key(self.dialed);
        self.connections.insert(key, connection);
        self.send(key, Side::Dialer, Content::Knock);
        self.schedule(DIAL_PATIENCE, Event::DialDeadline(key));
        key
    }

    pub(super) fn send(&mut self, connection: Key, from: Side, content: Content) {
        let first_sent = self.time.now();
        self.set_out(Packet { connection, from, content, first_sent, retries: 0 });
    }

    /// A packet sets out, unless its sender no longer wants it to.
    fn set_out(&mut self, packet: Packet) {
        let Some(connection) = self.connections.get(&packet.connection) else { return };
        let sender = connection.end(packet.from);
        let wanted = match packet.content {
            Content::Knock => sender.state == State::Dialing,
            Content::Welcome | Content::Data(_) => sender.is_sending(),
            Content::Refusal | Content::Reset => true,
        };
        if !wanted {
            return;
        }
        let way = connection.way_from(packet.from);
        let quality = self.links.quality(way);
        if matches!(packet.content, Content::Data(_)) && quality.reset.strikes(&mut self.random) {
            self.break_connection(packet.connection);
        }
        if quality.duplication.strikes(&mut self.random) {
            let delay = quality.latency.draw(&mut self.random);
            self.schedule(delay, Event::Arrive(packet.clone()));
        }
        match self.links.travel(way, self.time.now(), &mut self.random) {
            Some(delay) => self.schedule(delay, Event::Arrive(packet)),
            None => self.send_again(packet),
        }
    }

    /// A packet, or word of its arrival, was lost: its sender tries again, or gives up.
    fn send_again(&mut self, mut packet: Packet) {
        if matches!(packet.content, Content::Refusal | Content::Reset) {
            return;
        }
        // A dial has a deadline of its own.
        let is_knock = matches!(packet.content, Content::Knock);
        if !is_knock && self.time.now().since(packet.first_sent) >= SEND_PATIENCE {
            let (key, side) = (packet.connection, packet.from);
            return self.end(key, side, "timed out: the peer does not acknowledge");
        }
        let longest = FIRST_RETRY.saturating_mul(1 << packet.retries.min(10)).min(LONGEST_RETRY);
        let delay = self.random.between(longest / 2, longest);
        packet.retries += 1;
        self.schedule(delay, Event::SetOut(packet));
    }

    fn arrive(&mut self, packet: Packet) {
        let Some(connection) = self.connections.get(&packet.connection) else { return };
        let way = connection.way_from(packet.from);
        if connection.end(packet.from).lost_tail && !matches!(packet.content, Content::Reset) {
            return;
        }
        if self.links.is_cut(way, self.time.now()) || !self.hosts[way.1.0].answers {
            return self.send_again(packet);
        }
        let (key, to) = (packet.connection, packet.from.other());
        match packet.content {
            Content::Knock => self.on_knock(key),
            Content::Welcome => self.on_welcome(key),
            Content::Refusal => self.end(key, to, "connection refused"),
            Content::Reset => self.end(key, to, "connection reset by peer"),
            Content::Data(_) => self.on_data(packet),
        }
    }

    fn on_knock(&mut self, key: Key) {
        let end = self.connections[&key].end(Side::Acceptor);
        if end.state != State::Unborn {
            return;
        }
        let Some(net) = self.hosts[end.host.0].listener else {
            return self.send(key, Side::Acceptor, Content::Refusal);
        };
        let inbox = self.nets.get_mut(&net).expect("a listener lives as long as its host says");
        inbox.accepted += 1;
        let conn = ConnectionId::accepted(inbox.accepted);
        inbox.connections.insert(conn, (key, Side::Acceptor));
        self.open(key, Side::Acceptor, (net, conn));
        self.send(key, Side::Acceptor, Content::Welcome);
    }

    fn on_welcome(&mut self, key: Key) {
        let end = self.connections[&key].end(Side::Dialer);
        match (end.state, end.owner) {
            (State::Dialing, Some(owner)) => self.open(key, Side::Dialer, owner),
            (State::Gone, _) => self.send(key, Side::Dialer, Content::Reset),
            _ => {}
        }
    }

    fn open(&mut self, key: Key, side: Side, owner: (NetId, ConnectionId)) {
        let end = self.connections.get_mut(&key).expect("it was just looked at").end_mut(side);
        (end.state, end.owner) = (State::Open, Some(owner));
        self.record(key, side, "opened");
        self.tell(owner.0, NetEvent::Opened { conn: owner.1, identity: None });
    }

    fn on_dial_deadline(&mut self, key: Key) {
        let dialer = self.connections.get(&key).map(|connection| connection.end(Side::Dialer));
        if dialer.is_some_and(|end| end.state == State::Dialing) {
            self.end(key, Side::Dialer, "timed out: the dialled host does not answer");
        }
    }

    fn on_data(&mut self, packet: Packet) {
        let Content::Data(segment) = &packet.content else { return };
        let (key, side) = (packet.connection, packet.from.other());
        let connection = self.connections.get_mut(&key).expect("it was just looked at");
        let end = connection.end_mut(side);
        match end.state {
            State::Open => {}
            State::Unborn | State::Dialing => return self.send_again(packet),
            State::Lingering | State::Gone => {
                self.finish(key, side);
                return self.send(key, side, Content::Reset);
            }
        }
        end.incoming.take_in(segment.clone());
        self.take_frames(key, side);
        let Some(connection) = self.connections.get(&key) else { return };
        if connection.end(side).incoming.ended && connection.end(side).state == State::Open {
            self.end(key, side, "closed by peer");
            self.finish(key, packet.from);
            return;
        }
        let way_back = connection.way_from(side);
        if self.links.travel(way_back, self.time.now(), &mut self.random).is_none() {
            self.send_again(packet);
        }
    }

    /// Hands the whole frames in an end's buffer to its process.
    fn take_frames(&mut self, key: Key, side: Side) {
        loop {
            let Some(connection) = self.connections.get_mut(&key) else { return };
            let end = connection.end_mut(side);
            let Some((net, conn)) = end.owner else { return };
            match split_frame(&mut end.incoming.buffer, &Limits::default()) {
                Ok(None) => return,
                Ok(Some(frame)) => {
                    let (here, there) = self.ends(key, side);
                    let event = Traced::received(key.0, (there, here), &frame);
                    self.trace.record(self.time.now(), event);
                    self.tell(net, NetEvent::Received { conn, frame });
                }
                Err(error) => {
                    self.end(key, side, &error.to_string());
                    return self.send(key, side, Content::Reset);
                }
            }
        }
    }

    /// Both ends are told that the other is gone. One that the word does not reach stays open.
    pub(super) fn break_connection(&mut self, key: Key) {
        for from in Side::BOTH {
            self.send(key, from, Content::Reset);
        }
    }

    /// An end learns that its connection is over, and its process with it.
    fn end(&mut self, key: Key, side: Side, reason: &str) {
        let Some(connection) = self.connections.get(&key) else { return };
        let end = connection.end(side);
        if let (State::Open | State::Dialing, Some((net, conn))) = (end.state, end.owner) {
            self.record(key, side, reason);
            if let Some(inbox) = self.nets.get_mut(&net) {
                inbox.connections.remove(&conn);
                inbox.unflushed.remove(&conn);
            }
            self.tell(net, NetEvent::Closed { conn, reason: reason.to_owned() });
        }
        self.finish(key, side);
    }

    /// An end is gone, without a word to its process.
    pub(super) fn finish(&mut self, key: Key, side: Side) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let end = connection.end_mut(side);
        (end.state, end.owner) = (State::Gone, None);
        end.outgoing = Default::default();
        end.incoming.forget();
        if connection.is_over() {
            self.connections.remove(&key);
        }
    }

    fn tell(&mut self, net: NetId, event: NetEvent) {
        let Some(inbox) = self.nets.get_mut(&net) else { return };
        inbox.events.push(event);
        if let Some(waker) = &inbox.waker {
            waker.wake_by_ref();
        }
    }

    pub(super) fn record(&self, key: Key, side: Side, what: &str) {
        let (here, there) = self.ends(key, side);
        let text = format_args!("#{} {what}", key.0);
        self.trace.record(self.time.now(), Traced::between(here, there, text));
    }

    /// Where this end is, and the other.
    fn ends(&self, key: Key, side: Side) -> (&Address, &Address) {
        let (here, there) = self.connections[&key].way_from(side);
        (&self.hosts[here.0].address, &self.hosts[there.0].address)
    }
}
