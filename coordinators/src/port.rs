//! A node's end of the way to a coordinator.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use waltz_core::io::CoordinatorEvent;
use waltz_core::wire::ToCoordinator;
use waltz_runtime::CoordinatorPort;

use crate::address::{CoordinatorAddress, Engine};
use crate::desk::{Asked, Backend, Desk, run};
use crate::security::Security;

/// How many events wait for the node; a session with more of them stops reading.
const EVENTS: usize = 1024;

/// A node's end of the way to etcd or ZooKeeper.
#[derive(Debug)]
pub struct Port {
    asked: mpsc::UnboundedSender<Asked>,
    events: mpsc::Receiver<CoordinatorEvent>,
    finished: Option<oneshot::Receiver<()>>,
}

impl Port {
    /// Connects to a coordinator that keeps the cluster's keys under the cluster's name, in a task of
    /// the tokio runtime this is called in, and for as long as it takes. Dropping the port ends the
    /// task, and with it nothing but the connection: leases run out by themselves.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), waltz_coordinators::AddressError> {
    /// let address = "etcd://127.0.0.1:2379".parse()?;
    /// let port = waltz_coordinators::Port::connect(&address, "payments");
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(address: &CoordinatorAddress, cluster: &str) -> Self {
        Self::connect_secured(address, cluster, Security::default())
    }

    /// Connects as [`connect`](Self::connect) does, to a coordinator that is secured. Files of
    /// certificates are looked at every few seconds, and connections that are made after a change use
    /// the new ones.
    pub fn connect_secured(
        address: &CoordinatorAddress,
        cluster: &str,
        security: Security,
    ) -> Self {
        if let Some(tls) = &security.tls {
            tls.keep_watch(&Handle::current());
        }
        let members = address.members();
        match address.engine() {
            Engine::Etcd => Self::serve(crate::etcd::Etcd::new(members, cluster, security)),
            Engine::ZooKeeper => {
                Self::serve(crate::zookeeper::ZooKeeper::new(members, cluster, security))
            }
        }
    }

    fn serve(backend: impl Backend) -> Self {
        let (asked, requests) = mpsc::unbounded_channel();
        let (sender, events) = mpsc::channel(EVENTS);
        tokio::spawn(run(backend, Desk::new(requests, sender)));
        Self { asked, events, finished: None }
    }
}

impl CoordinatorPort for Port {
    fn ask(&mut self, request: ToCoordinator) {
        // A task that is gone was shut down with its runtime, and so is this node.
        let _ = self.asked.send(Asked::Request(request));
    }

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<CoordinatorEvent>) -> Poll<()> {
        match ready!(self.events.poll_recv_many(cx, events, EVENTS)) {
            // The task is gone for good, with its runtime.
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Nobody takes what is still told.
        while let Poll::Ready(Some(_)) = self.events.poll_recv(cx) {}
        let finished = self.finished.get_or_insert_with(|| {
            let (done, finished) = oneshot::channel();
            // As above.
            let _ = self.asked.send(Asked::Finish(done));
            finished
        });
        Pin::new(finished).poll(cx).map(|_| ())
    }
}
