//! The leases that a node holds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use waltz_core::coordinator::{LONGEST_LEASE, LeaseId};

use super::calls::PATIENCE;
use super::keeper::{Held, Order, PAUSE, keep};
use super::lease_session::{Attached, Site};
use super::place::{LeaseName, Place};
use super::route::Route;

/// Who keeps each lease. What is dropped without being let go runs out by itself.
#[derive(Debug)]
pub(super) struct Leases {
    site: Arc<Site>,
    keepers: HashMap<LeaseId, Keeper>,
}

/// The way to a lease's keeper.
#[derive(Debug, Clone)]
struct Keeper {
    orders: mpsc::UnboundedSender<Order>,
    held: watch::Receiver<Held>,
}

impl Leases {
    pub(super) fn new(route: Route, place: Place) -> Self {
        Self { site: Arc::new(Site::new(route, place)), keepers: HashMap::new() }
    }

    /// Starts or prolongs a lease, in bounded time.
    pub(super) fn keep_alive(
        &mut self,
        lease: LeaseId,
        ttl: Duration,
    ) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let keeper = self.keepers.entry(lease).or_insert_with(|| {
            let (orders, taken) = mpsc::unbounded_channel();
            let (told, held) = watch::channel(Held::Not("ZooKeeper has not answered".to_owned()));
            tokio::spawn(keep(self.site.clone(), lease, taken, told));
            Keeper { orders, held }
        });
        keeper.clone().keep_alive(ttl.min(LONGEST_LEASE))
    }

    /// The znode of a lease that was started here.
    pub(super) fn name(&self, lease: LeaseId) -> Option<LeaseName> {
        match &*self.keepers.get(&lease)?.held.borrow() {
            Held::Attached(attached) => Some(attached.name),
            Held::Not(_) => None,
        }
    }

    /// The node can be heard from now on: who does not prolong its leases loses them.
    pub(super) fn resume(&self) {
        self.order_all(|| Order::Resume);
    }

    /// The node can't be heard: it keeps its leases meanwhile.
    pub(super) fn pause(&self) {
        self.order_all(|| Order::Pause);
    }

    fn order_all(&self, order: impl Fn() -> Order) {
        for keeper in self.keepers.values() {
            // A keeper ends with its runtime only.
            let _ = keeper.order(order());
        }
    }

    /// Keeps a lease no longer.
    pub(super) fn let_go(&mut self, lease: LeaseId) {
        self.keepers.remove(&lease);
    }
}

impl Keeper {
    async fn keep_alive(mut self, ttl: Duration) -> Result<(), String> {
        match timeout(PATIENCE, self.confirmed(ttl)).await {
            Ok(kept) => kept,
            Err(_) => Err(match &*self.held.borrow() {
                Held::Not(reason) => format!("the lease can't be kept alive: {reason}"),
                Held::Attached(_) => {
                    format!("ZooKeeper did not answer for a lease for {} s", PATIENCE.as_secs())
                }
            }),
        }
    }

    /// Waits until ZooKeeper has answered in the lease's session, which then lives on.
    async fn confirmed(&mut self, ttl: Duration) -> Result<(), String> {
        loop {
            self.order(Order::Prolong(ttl))?;
            let held = self.held.borrow_and_update().clone();
            tokio::select! {
                is_there = is_there(&held) => {
                    if is_there {
                        return Ok(());
                    }
                    let Held::Attached(attached) = held else { continue };
                    self.order(Order::Bury(attached.name))?;
                    self.held.changed().await.map_err(|_| let_go())?;
                }
                changed = self.held.changed() => changed.map_err(|_| let_go())?,
            }
        }
    }

    fn order(&self, order: Order) -> Result<(), String> {
        self.orders.send(order).map_err(|_| let_go())
    }
}

/// Asks for the lease's znode until it is answered. The client may lose its connection and find
/// another one meanwhile.
async fn is_there(held: &Held) -> bool {
    let Held::Attached(Attached { path, client, .. }) = held else {
        return std::future::pending().await;
    };
    loop {
        if let Ok(found) = client.check_stat(path).await {
            return found.is_some();
        }
        sleep(PAUSE).await;
    }
}

fn let_go() -> String {
    "the lease is not kept any more".to_owned()
}
