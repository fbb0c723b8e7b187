//! What processes and the harness ask of the network.

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll};

use waltz_core::io::{Address, ConnectionId};
use waltz_core::wire::Frame;
use waltz_runtime::NetEvent;

use super::connection::{Connection, Side, State};
use super::engine::{Content, Engine, Host, Inbox, Key};
use super::{HostId, NetId};
use crate::fault::{Chance, Crash};

/// Calls of a process. One that was killed is unknown: its calls do nothing.
impl Engine {
    pub(super) fn open_net(&mut self, host: &Address, listens: bool) -> NetId {
        let host = self.host(host);
        self.opened_nets += 1;
        let id = NetId(self.opened_nets);
        let inbox = Inbox {
            host,
            events: Vec::new(),
            waker: None,
            connections: BTreeMap::new(),
            unflushed: BTreeSet::new(),
            accepted: 0,
        };
        self.nets.insert(id, inbox);
        if listens {
            self.hosts[host.0].listener = Some(id);
        }
        id
    }

    pub(super) fn connect(&mut self, net: NetId, conn: ConnectionId, address: &Address) {
        let to = self.host(address);
        let Some(inbox) = self.nets.get(&net) else { return };
        assert!(!inbox.connections.contains_key(&conn), "{conn:?} is dialled twice");
        let key = self.dial(Connection::dialed(inbox.host, (net, conn), to));
        let inbox = self.nets.get_mut(&net).expect("it was just looked at");
        inbox.connections.insert(conn, (key, Side::Dialer));
    }

    pub(super) fn queue(&mut self, net: NetId, conn: ConnectionId, frame: &Frame) {
        let Some(inbox) = self.nets.get_mut(&net) else { return };
        let Some(&(key, side)) = inbox.connections.get(&conn) else { return };
        inbox.unflushed.insert(conn);
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.end_mut(side).outgoing.queue(frame);
        }
    }

    pub(super) fn flush(&mut self, net: NetId) {
        let Some(inbox) = self.nets.get(&net) else { return };
        let unflushed: Vec<_> = inbox.unflushed.iter().copied().collect();
        unflushed.into_iter().for_each(|conn| self.flush_one(net, conn));
    }

    /// Sends what was queued on a connection; on one still being dialled it waits.
    fn flush_one(&mut self, net: NetId, conn: ConnectionId) {
        let Some(inbox) = self.nets.get_mut(&net) else { return };
        let Some(&(key, side)) = inbox.connections.get(&conn) else { return };
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let end = connection.end_mut(side);
        if end.state == State::Open {
            inbox.unflushed.remove(&conn);
            for segment in end.outgoing.cut(&mut self.random) {
                self.send(key, side, Content::Data(segment));
            }
        }
    }

    pub(super) fn close(&mut self, net: NetId, conn: ConnectionId) {
        self.flush_one(net, conn);
        let Some(inbox) = self.nets.get_mut(&net) else { return };
        inbox.events.retain(|event| connection_of(event) != conn);
        inbox.unflushed.remove(&conn);
        let Some((key, side)) = inbox.connections.remove(&conn) else { return };
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let end = connection.end_mut(side);
        if end.state != State::Open {
            return self.finish(key, side);
        }
        (end.state, end.owner) = (State::Lingering, None);
        let last = end.outgoing.end();
        self.record(key, side, "closed");
        self.send(key, side, Content::Data(last));
    }

    pub(super) fn poll(
        &mut self,
        net: NetId,
        cx: &Context<'_>,
        events: &mut Vec<NetEvent>,
    ) -> Poll<()> {
        let Some(inbox) = self.nets.get_mut(&net) else { return Poll::Pending };
        if inbox.events.is_empty() {
            inbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // A dial that has succeeded meanwhile lets go what was queued before.
        let opened: Vec<_> = inbox.events.iter().filter_map(opened_connection).collect();
        events.append(&mut inbox.events);
        opened.into_iter().for_each(|conn| self.flush_one(net, conn));
        Poll::Ready(())
    }

    /// A process ended by itself: its connections are reset.
    pub(super) fn end_net(&mut self, net: NetId) {
        let Some(inbox) = self.nets.remove(&net) else { return };
        let host = &mut self.hosts[inbox.host.0];
        if host.listener == Some(net) {
            host.listener = None;
        }
        for (key, side) in inbox.connections.into_values() {
            self.abandon(key, side, Crash::Process);
        }
    }
}

/// Calls of the harness.
impl Engine {
    pub(super) fn way(&mut self, from: &Address, to: &Address) -> (HostId, HostId) {
        (self.host(from), self.host(to))
    }

    fn host(&mut self, address: &Address) -> HostId {
        if let Some(id) = self.names.get(address) {
            return *id;
        }
        let id = HostId(self.hosts.len());
        self.hosts.push(Host { address: address.clone(), answers: true, listener: None });
        self.names.insert(address.clone(), id);
        id
    }

    pub(super) fn boot(&mut self, host: &Address) {
        let host = self.host(host);
        self.hosts[host.0].answers = true;
    }

    pub(super) fn crash(&mut self, host: &Address, crash: Crash) {
        let host = self.host(host);
        self.hosts[host.0].listener = None;
        self.hosts[host.0].answers = crash == Crash::Process;
        self.nets.retain(|_, inbox| inbox.host != host);
        for (key, side) in self.ends_where(|connection, side| connection.end(side).host == host) {
            self.abandon(key, side, crash);
        }
    }

    pub(super) fn reset(&mut self, one: &Address, other: &Address, chance: Chance) {
        let (one, other) = self.way(one, other);
        let between = |connection: &Connection, side| {
            side == Side::Dialer
                && [(one, other), (other, one)].contains(&connection.way_from(side))
        };
        for (key, _) in self.ends_where(between) {
            if chance.strikes(&mut self.random) {
                self.break_connection(key);
            }
        }
    }

    pub(super) fn open_connections(&self) -> usize {
        let open = |connection: &&Connection| {
            Side::BOTH.iter().any(|side| connection.end(*side).state == State::Open)
        };
        self.connections.values().filter(open).count()
    }

    pub(super) fn most_under_way(&self) -> Option<(u64, Address, Address)> {
        let ends = self.connections.values().flat_map(|connection| {
            Side::BOTH.map(|side| {
                let taken = connection.end(side.other()).incoming.taken();
                let sent = connection.end(side).outgoing.sent();
                (sent.saturating_sub(taken), connection.way_from(side))
            })
        });
        let (bytes, (from, to)) = ends.max()?;
        let address = |host: HostId| self.hosts[host.0].address.clone();
        Some((bytes, address(from), address(to)))
    }

    fn ends_where(&self, wanted: impl Fn(&Connection, Side) -> bool) -> Vec<(Key, Side)> {
        let ends = self.connections.iter().flat_map(|(key, connection)| {
            Side::BOTH.into_iter().map(move |side| (*key, connection, side))
        });
        let wanted = ends.filter(|(_, connection, side)| wanted(connection, *side));
        wanted.map(|(key, _, side)| (key, side)).collect()
    }

    /// An end is gone with its process, perhaps with all that it still had under way.
    fn abandon(&mut self, key: Key, side: Side, crash: Crash) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let end = connection.end_mut(side);
        if matches!(end.state, State::Unborn | State::Gone) {
            return;
        }
        end.lost_tail = self.random.bits().is_multiple_of(2);
        if crash == Crash::Process {
            self.send(key, side, Content::Reset);
        }
        self.finish(key, side);
    }
}

fn connection_of(event: &NetEvent) -> ConnectionId {
    match event {
        NetEvent::Opened { conn, .. }
        | NetEvent::Received { conn, .. }
        | NetEvent::Closed { conn, .. } => *conn,
    }
}

fn opened_connection(event: &NetEvent) -> Option<ConnectionId> {
    match event {
        NetEvent::Opened { conn, .. } => Some(*conn),
        _ => None,
    }
}
