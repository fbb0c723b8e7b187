//! etcd as a coordinator.
//!
//! A key's revision is that of etcd's last change of it, a lease is a lease of etcd, and a
//! compare-and-set one transaction. A watch begins with a range that was read at a revision and goes
//! on with the changes after it, so that none is missed; a member that lost its leader ends it.

mod api;
mod calls;
mod channel;
mod engine;
mod keys;
mod requests;
mod token;

use calls::Calls;
use engine::EtcdSession;
use keys::Keys;

use crate::desk::{Backend, Desk, Ended};
use crate::security::Security;
use crate::session::serve;

/// One cluster's keys in etcd.
#[derive(Debug)]
pub(crate) struct Etcd {
    members: Vec<String>,
    /// Which member to try next.
    next: usize,
    keys: Keys,
    security: Security,
}

impl Etcd {
    pub(crate) fn new(members: &[String], cluster: &str, security: Security) -> Self {
        Self { members: members.to_vec(), next: 0, keys: Keys::new(cluster), security }
    }
}

impl Backend for Etcd {
    type Session = Calls;

    async fn connect(&mut self) -> Result<Calls, String> {
        let member = &self.members[self.next % self.members.len()];
        // Whatever ends the session, another member may do better.
        self.next += 1;
        Calls::connect(member, &self.security).await
    }

    async fn serve(&mut self, calls: Calls, desk: &mut Desk) -> Ended {
        serve(EtcdSession::new(calls, self.keys.clone()), desk).await
    }
}
