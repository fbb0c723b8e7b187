//! A session of ZooKeeper with a lease's ephemeral znode, from one connection to the next.

use std::time::Duration;

use tokio::time::timeout;
use tokio::try_join;
use waltz_core::coordinator::LeaseId;
use zookeeper_client::{Client, CreateMode, CreateOptions, Error, SessionInfo};

use super::calls::PATIENCE;
use super::place::{LeaseName, Place};
use super::route::Route;

/// Why a lease that nobody ended is over.
pub(super) const OVER: &str = "its session has run out";

/// Any version will do: it is only checked that a znode is there.
const ANY_VERSION: i32 = -1;

/// Where a node's leases are kept.
#[derive(Debug)]
pub(super) struct Site {
    route: Route,
    place: Place,
    /// How the leases' znodes are made.
    ephemeral: CreateOptions<'static>,
}

/// A lease's session, connected.
#[derive(Debug, Clone)]
pub(super) struct Attached {
    pub(super) name: LeaseName,
    pub(super) path: String,
    pub(super) client: Client,
}

/// Why a session could not be attached.
#[derive(Debug)]
pub(super) enum Lapse {
    /// The session is gone, or its znode is.
    Over(String),
    /// Another attempt may do better.
    Failed(String),
}

/// One life of a lease, as far as this node keeps it. The session's time is that of the request that
/// began it.
#[derive(Debug)]
pub(super) struct LeaseSession<'a> {
    site: &'a Site,
    lease: LeaseId,
    ttl: Duration,
    session: Option<SessionInfo>,
    name: Option<LeaseName>,
}

impl Site {
    pub(super) fn new(route: Route, place: Place) -> Self {
        let ephemeral = CreateMode::Ephemeral.with_acls(route.owners());
        Self { route, place, ephemeral }
    }
}

impl<'a> LeaseSession<'a> {
    pub(super) fn new(site: &'a Site, lease: LeaseId, ttl: Duration) -> Self {
        Self { site, lease, ttl, session: None, name: None }
    }

    /// Connects: begins the session, or takes it over from the connection before.
    pub(super) async fn attach(&mut self) -> Result<Attached, Lapse> {
        let members = self.site.route.to_all().await.map_err(Lapse::Failed)?;
        let client = in_time(self.connect(&members)).await?;
        if client.session_timeout() < self.ttl {
            return Err(Lapse::Failed(format!(
                "ZooKeeper lets no session live for {:?}, only for {:?}: see its maxSessionTimeout",
                self.ttl,
                client.session_timeout()
            )));
        }
        self.session = Some(client.session().clone());
        let name = match self.name {
            None => in_time(self.claim(&client)).await?,
            Some(name) => {
                let path = self.site.place.lease(&name);
                if in_time(client.check_stat(&path)).await?.is_none() {
                    return Err(Lapse::Over("it was ended by somebody else".to_owned()));
                }
                name
            }
        };
        self.name = Some(name);
        Ok(Attached { name, path: self.site.place.lease(&name), client })
    }

    fn connect(&self, members: &str) -> impl Future<Output = Result<Client, Error>> {
        let mut connector = self
            .site
            .route
            .connector()
            .with_session_timeout(self.ttl)
            .with_fail_eagerly()
            // The lease runs out by itself if this node just stops.
            .with_detached();
        if let Some(session) = &self.session {
            connector = connector.with_session(session.clone());
        }
        connector.connect(members)
    }

    /// Makes the session's znode. It joins the lease's life if somebody else keeps it alive.
    async fn claim(&self, client: &Client) -> Result<LeaseName, Error> {
        let (place, lease) = (&self.site.place, self.lease);
        let session = client.session_id().0.cast_unsigned();
        loop {
            let others =
                leases(client, place).await?.into_iter().filter(|name| name.lease == lease);
            // One of its own may have been made without the answer being heard.
            let Some(other) = others.max_by_key(|name| name.session == session) else {
                let name = LeaseName { lease, life: session, session };
                client.create(&place.lease(&name), &[], &self.site.ephemeral).await?;
                return Ok(name);
            };
            if other.session == session {
                return Ok(other);
            }
            let name = LeaseName { session, ..other };
            let mut writer = client.new_check_writer(&place.lease(&other), Some(ANY_VERSION))?;
            writer.add_create(&place.lease(&name), &[], &self.site.ephemeral)?;
            match writer.commit().await.map_err(Error::from) {
                Ok(_) => return Ok(name),
                // The other one ended just now.
                Err(Error::RuntimeInconsistent) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The leases that are alive.
async fn leases(client: &Client, place: &Place) -> Result<Vec<LeaseName>, Error> {
    let directory = place.leases();
    let (synced, listed) = (client.sync(place.root()), client.list_children(&directory));
    let ((), names) = try_join!(synced, listed)?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Lapse> {
    match timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Error::SessionExpired)) => Err(Lapse::Over(OVER.to_owned())),
        Ok(Err(error)) => Err(Lapse::Failed(format!("ZooKeeper: {error}"))),
        Err(_) => Err(Lapse::Failed(format!("no answer for {} s", PATIENCE.as_secs()))),
    }
}
