//! A connection: two ends, each of which may believe something else about the other.

use waltz_core::io::ConnectionId;

use super::stream::{Incoming, Outgoing};
use super::{HostId, NetId};

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Dialer,
    Acceptor,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Dialer, Self::Acceptor];

    pub(super) fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Acceptor,
            Self::Acceptor => Self::Dialer,
        }
    }
}

/// What one end believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The dialler's knock has not come yet.
    Unborn,
    /// It knocked, and waits for the answer.
    Dialing,
    Open,
    /// Its process closed it; what was sent before is still delivered.
    Lingering,
    /// It answers with a reset to whatever comes.
    Gone,
}

/// One end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) host: HostId,
    /// Whom to tell, and its name for this connection.
    pub(super) owner: Option<(NetId, ConnectionId)>,
    pub(super) state: State,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    /// What it sent and did not arrive yet never will.
    pub(super) lost_tail: bool,
}

impl End {
    fn new(host: HostId, owner: Option<(NetId, ConnectionId)>, state: State) -> Self {
        let (outgoing, incoming) = (Outgoing::default(), Incoming::default());
        Self { host, owner, state, outgoing, incoming, lost_tail: false }
    }

    /// Whether its host still tries to get through what it sent.
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.state, State::Open | State::Lingering)
    }
}

/// Both ends.
#[derive(Debug)]
pub(super) struct Connection {
    dialer: End,
    acceptor: End,
}

impl Connection {
    pub(super) fn dialed(by: HostId, owner: (NetId, ConnectionId), to: HostId) -> Self {
        Self {
            dialer: End::new(by, Some(owner), State::Dialing),
            acceptor: End::new(to, None, State::Unborn),
        }
    }

    pub(super) fn end(&self, side: Side) -> &End {
        match side {
            Side::Dialer => &self.dialer,
            Side::Acceptor => &self.acceptor,
        }
    }

    pub(super) fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Dialer => &mut self.dialer,
            Side::Acceptor => &mut self.acceptor,
        }
    }

    /// The way of what this side sends.
    pub(super) fn way_from(&self, side: Side) -> (HostId, HostId) {
        (self.end(side).host, self.end(side.other()).host)
    }

    /// Whether nobody can notice it any more.
    pub(super) fn is_over(&self) -> bool {
        let over = |end: &End| matches!(end.state, State::Gone | State::Unborn);
        over(&self.dialer) && over(&self.acceptor)
    }
}
