//! ZooKeeper as a coordinator.
//!
//! A key is a permanent znode with its value in an envelope, its revision ZooKeeper's number of the
//! znode's last change, and a compare-and-set a write that names the version that was read. A lease
//! is not the connection: it has a session of its own, and an ephemeral znode that lives with it. A
//! key that is tied to a lease is there as long as the lease's znode is, and whatever changes it checks
//! that in the same transaction.
//!
//! One recursive watch tells which znodes changed, and each is read then. So a change that another one
//! follows at once may not be told by itself; the last one always is.

mod calls;
mod engine;
mod envelope;
mod keeper;
mod lease_session;
mod leases;
mod peer;
mod place;
mod route;
mod sets;
mod tunnel;
mod view;

use calls::Calls;
use engine::{Opened, ZooKeeperSession};
use leases::Leases;
use place::Place;
use route::Route;

use crate::desk::{Backend, Desk, Ended};
use crate::security::Security;
use crate::session::serve;

/// One cluster's keys in ZooKeeper.
#[derive(Debug)]
pub(crate) struct ZooKeeper {
    route: Route,
    /// Which member to try next.
    next: usize,
    place: Place,
    /// They outlive sessions: a lost connection ends no lease.
    leases: Leases,
}

impl ZooKeeper {
    pub(crate) fn new(members: &[String], cluster: &str, security: Security) -> Self {
        let (place, route) = (Place::new(cluster), Route::new(members, security));
        let leases = Leases::new(route.clone(), place.clone());
        Self { route, next: 0, place, leases }
    }
}

impl Backend for ZooKeeper {
    type Session = Opened;

    async fn connect(&mut self) -> Result<Opened, String> {
        let number = self.next;
        // Whatever ends the session, another member may do better.
        self.next += 1;
        Opened::open(Calls::connect(&self.route, number, self.place.clone()).await?).await
    }

    async fn serve(&mut self, opened: Opened, desk: &mut Desk) -> Ended {
        self.leases.resume();
        let ended = serve(ZooKeeperSession::new(opened, &mut self.leases), desk).await;
        self.leases.pause();
        ended
    }
}
