//! A client as its server sees it: what it was fed, and what it asks for.

use bytes::Bytes;

use super::world::World;
use crate::explorer::explore::Broken;
use crate::id::{ClientId, Mark, MountId, ReqId, SessionId};
use crate::io::ConnectionId;
use crate::locks::testing::Locks;
use crate::storage::testing::PARTITION;
use crate::wire::{ClientRequest, FeedMode};

/// What is known of one.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Its newest mount; each has a connection of its own.
    mount: u64,
    pub(super) session: Option<SessionId>,
    pub(super) is_ready: bool,
    pub(super) fed: Mark,
    /// The sequence of its last record.
    sequence: u64,
}

impl Client {
    pub(super) fn conn(&self, client: ClientId) -> ConnectionId {
        ConnectionId::accepted(client.0 << 32 | self.mount)
    }

    pub(super) fn is_mounted(&self) -> bool {
        self.session.is_some()
    }

    /// Its mount is over.
    pub(super) fn unmount(&mut self) {
        (self.session, self.is_ready) = (None, false);
    }
}

impl World {
    fn client(&mut self, client: ClientId) -> &mut Client {
        self.clients.get_mut(&client).expect("a client of the world")
    }

    /// A client mounts once more, after what it was fed.
    pub(super) fn mount(&mut self, client: ClientId, credit: u32) -> Result<(), Broken> {
        let generation = self.generation;
        self.oracle.mounts(client);
        let it = self.client(client);
        it.unmount();
        it.mount += 1;
        let request = ClientRequest::Mount {
            partition: PARTITION,
            generation,
            mount: MountId(it.mount),
            after: it.fed,
            mode: FeedMode::Records,
            credit,
        };
        self.ask(client, request, &Bytes::new())
    }

    /// More feed is welcome.
    pub(super) fn credit(&mut self, client: ClientId, bytes: u32) -> Result<(), Broken> {
        let mount = MountId(self.client(client).mount);
        let request = ClientRequest::Credit { partition: PARTITION, mount, bytes };
        self.ask(client, request, &Bytes::new())
    }

    /// A client that may appends a record with these locks.
    pub(super) fn append(&mut self, client: ClientId, locks: Locks) -> Result<(), Broken> {
        let generation = self.generation;
        let it = self.client(client);
        let Some(session) = it.session.filter(|_| it.is_ready) else { return Ok(()) };
        it.sequence += 1;
        let (mount, sequence) = (MountId(it.mount), it.sequence);
        let record = locks.encode(ReqId { client, generation, partition: PARTITION, sequence });
        self.oracle.appended((client, sequence), locks);
        let request = ClientRequest::Append { partition: PARTITION, mount, session, count: 1 };
        self.ask(client, request, &record)
    }
}
