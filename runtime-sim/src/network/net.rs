//! A process' view of the network.

use std::task::{Context, Poll};

use waltz_core::io::{Address, ConnectionId};
use waltz_core::wire::Frame;
use waltz_runtime::{Net, NetEvent};

use super::{NetId, Network};

/// The connections of one process. Dropping it resets them, as the end of a process does; one
/// that outlives its process' kill does nothing any more.
pub struct SimNet {
    network: Network,
    id: NetId,
}

impl SimNet {
    pub(super) fn new(network: Network, id: NetId) -> Self {
        Self { network, id }
    }
}

impl Net for SimNet {
    fn connect(&mut self, conn: ConnectionId, address: &Address) {
        self.network.lock().connect(self.id, conn, address);
    }

    fn send(&mut self, conn: ConnectionId, frame: Frame) {
        self.network.lock().queue(self.id, conn, &frame);
    }

    fn close(&mut self, conn: ConnectionId) {
        self.network.lock().close(self.id, conn);
    }

    fn flush(&mut self) {
        self.network.lock().flush(self.id);
    }

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<NetEvent>) -> Poll<()> {
        self.network.lock().poll(self.id, cx, events)
    }
}

impl Drop for SimNet {
    fn drop(&mut self) {
        self.network.lock().end_net(self.id);
    }
}
