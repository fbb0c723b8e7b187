//! Keeps one lease: a session of ZooKeeper with an ephemeral znode.
//!
//! The client keeps its session alive by itself, as long as this process runs. So a lease that nobody
//! asks to prolong is ended here, and a node that hangs loses it. While nobody can ask, as there is no
//! session that serves the node, it is ZooKeeper alone that ends it.
//!
//! The session outlives connections: its client reconnects at once, and where that does not succeed
//! soon, another client takes the session over. A client tries less and less often by itself, and a
//! lease would run out after a cut of half its time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use waltz_core::coordinator::LeaseId;
use zookeeper_client::{Client, SessionState};

use super::calls::PATIENCE;
use super::lease_session::{Attached, Lapse, LeaseSession, OVER, Site};
use super::place::LeaseName;

/// How long a client has to reconnect before another takes over.
const RECONNECT: Duration = Duration::from_millis(300);

/// How long it is to the next attempt after a failure.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// What a keeper is asked for.
#[derive(Debug)]
pub(super) enum Order {
    /// To keep the lease for this long from now on.
    Prolong(Duration),
    /// To keep it until further notice: nobody can ask.
    Pause,
    /// To keep it as long as it was asked for last, from now on: it can be asked again.
    Resume,
    /// To give up a znode that is gone.
    Bury(LeaseName),
}

/// Whether a lease is held.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// It is not, or not for the moment: why.
    Not(String),
    Attached(Attached),
}

/// Keeps a lease, life after life, until nobody asks any more. It runs out by itself then.
pub(super) async fn keep(
    site: Arc<Site>,
    lease: LeaseId,
    mut orders: mpsc::UnboundedReceiver<Order>,
    held: watch::Sender<Held>,
) {
    while let Some(order) = orders.recv().await {
        if let Order::Prolong(ttl) = order
            && live(&site, lease, ttl, &mut orders, &held).await == Life::Abandoned
        {
            return;
        }
    }
}

/// How a lease's life went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Over,
    /// Nobody asks any more.
    Abandoned,
}

async fn live(
    site: &Site,
    lease: LeaseId,
    ttl: Duration,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    held: &watch::Sender<Held>,
) -> Life {
    let mut ends = Some(Instant::now() + ttl);
    let mut ttl = ttl;
    let session = hold(LeaseSession::new(site, lease, ttl), held);
    tokio::pin!(session);
    loop {
        tokio::select! {
            reason = &mut session => {
                held.send_replace(Held::Not(reason));
                return Life::Over;
            }
            order = orders.recv() => match order {
                None => return Life::Abandoned,
                Some(Order::Prolong(longer)) => {
                    ttl = longer;
                    ends = Some(Instant::now() + ttl);
                }
                Some(Order::Pause) => ends = None,
                Some(Order::Resume) => ends = Some(Instant::now() + ttl),
                Some(Order::Bury(name)) => {
                    if attached(held).is_some_and(|attached| attached.name == name) {
                        held.send_replace(Held::Not("it was ended by somebody else".to_owned()));
                        return Life::Over;
                    }
                }
            },
            () = reached(ends) => {
                let last = attached(held);
                held.send_replace(Held::Not("nobody kept it alive".to_owned()));
                if let Some(Attached { path, client, .. }) = last {
                    // Where this fails, the session runs out by itself: it is kept no longer.
                    let _ = timeout(PATIENCE, client.delete(&path, None)).await;
                }
                return Life::Over;
            }
        }
    }
}

async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn attached(held: &watch::Sender<Held>) -> Option<Attached> {
    match &*held.borrow() {
        Held::Attached(attached) => Some(attached.clone()),
        Held::Not(_) => None,
    }
}

/// Holds a session until it is over; why it is.
async fn hold(session: LeaseSession<'_>, held: &watch::Sender<Held>) -> String {
    let mut session = session;
    loop {
        match session.attach().await {
            Ok(attached) => {
                let client = attached.client.clone();
                held.send_replace(Held::Attached(attached));
                if lost(&client).await.is_terminated() {
                    return OVER.to_owned();
                }
                held.send_replace(Held::Not("the connection is lost".to_owned()));
            }
            Err(Lapse::Over(reason)) => return reason,
            Err(Lapse::Failed(reason)) => {
                held.send_replace(Held::Not(reason));
                sleep(PAUSE).await;
            }
        }
    }
}

/// Waits until a client needs another one in its place.
async fn lost(client: &Client) -> SessionState {
    let mut states = client.state_watcher();
    loop {
        match client.state() {
            SessionState::Disconnected => {
                if timeout(RECONNECT, states.changed()).await.is_err() {
                    return SessionState::Disconnected;
                }
            }
            state if state.is_terminated() => return state,
            _ => drop(states.changed().await),
        }
    }
}
