//! Hosts driven by the test itself, step by step.

use std::future::pending;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use madsim::time::sleep;
use waltz_core::io::{Address, ConnectionId};
use waltz_core::wire::Frame;
use waltz_runtime::{Net, NetEvent};
use waltz_runtime_sim::{SimHost, SimNet, SimWorld};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn address(name: &str) -> Address {
    Address(name.to_owned())
}

/// Boots a host whose process does nothing by itself.
pub(crate) fn boot(world: &SimWorld, name: &str) -> SimHost {
    let mut booted = None;
    let process = |host| {
        booted = Some(host);
        pending::<()>()
    };
    drop(world.start(&address(name), process));
    booted.expect("the process was started")
}

/// Something a process was told, for comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Opened,
    Text(String),
    Closed(String),
}

/// A process with one connection that matters: its newest.
pub(crate) struct Peer {
    pub(crate) host: SimHost,
    pub(crate) net: SimNet,
    pub(crate) conn: Option<ConnectionId>,
    dials: u64,
}

impl Peer {
    pub(crate) fn listening(world: &SimWorld, name: &str) -> Self {
        let host = boot(world, name);
        let net = host.listener();
        Self { host, net, conn: None, dials: 0 }
    }

    pub(crate) fn dial(&mut self, name: &str) {
        self.dials += 1;
        let conn = ConnectionId::dialed(self.dials);
        self.conn = Some(conn);
        self.net.connect(conn, &address(name));
    }

    pub(crate) fn say(&mut self, text: &str) {
        let payload = Bytes::copy_from_slice(text.as_bytes());
        let frame = Frame { head: Bytes::from_static(b"head"), payload };
        self.net.send(self.conn.expect("there is a connection"), frame);
        self.net.flush();
    }

    pub(crate) fn close(&mut self) {
        self.net.close(self.conn.take().expect("there is a connection"));
    }

    /// What this process was told since it was last asked.
    pub(crate) fn seen(&mut self) -> Vec<Seen> {
        let mut events = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while self.net.poll(&mut cx, &mut events).is_ready() {}
        events.into_iter().map(|event| self.take_in(event)).collect()
    }

    /// What this process is told in the coming while.
    pub(crate) async fn sees_within(&mut self, span: Duration) -> Vec<Seen> {
        sleep(span).await;
        self.seen()
    }

    fn take_in(&mut self, event: NetEvent) -> Seen {
        match event {
            NetEvent::Opened { conn, .. } => {
                self.conn = Some(conn);
                Seen::Opened
            }
            NetEvent::Received { frame, .. } => {
                Seen::Text(String::from_utf8(frame.payload.to_vec()).expect("peers send text"))
            }
            NetEvent::Closed { reason, .. } => Seen::Closed(reason),
        }
    }
}

/// Two processes with a connection between them, dialled by the first.
pub(crate) async fn connected(world: &SimWorld) -> (Peer, Peer) {
    let (mut dialer, mut acceptor) = (Peer::listening(world, "a"), Peer::listening(world, "b"));
    dialer.dial("b");
    assert_eq!(dialer.sees_within(Duration::from_millis(10)).await, [Seen::Opened]);
    assert_eq!(acceptor.seen(), [Seen::Opened]);
    (dialer, acceptor)
}

pub(crate) fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}
