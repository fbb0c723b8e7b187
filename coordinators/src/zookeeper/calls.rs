//! Calls of a member of ZooKeeper, each bounded in time.

use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::timeout;
use tokio::try_join;
use waltz_core::coordinator::{Key, LeaseId, Revision};
use zookeeper_client::{
    Acl, Acls, AddWatchMode, Client, CreateMode, CreateOptions, Error, MultiWriteResult,
    PersistentWatcher, Stat,
};

use super::envelope::{Content, Entry, Envelope};
use super::place::{LeaseName, Place, key_named};
use super::route::{Route, SHARED};

/// How long a call may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// How long a quiet session lives, and its connection. Nothing lives with this one.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// How many znodes are read at once.
const READS: usize = 64;

/// Checks only that a znode is there.
const ANY_VERSION: i32 = -1;

/// ZooKeeper takes any password, and shows what belongs to it.
const FORBIDDEN: &str =
    "not authorized: the cluster's nodes there belong to another user, or to another password";

/// A connection to a member.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    client: Client,
    place: Place,
    /// How znodes are made.
    permanent: CreateOptions<'static>,
    member: String,
}

/// Why a call failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A znode is not there.
    Missing,
    /// A znode is there, or has another version.
    Unexpected,
    /// Anything else: the connection is given up.
    Broken(String),
}

/// What a write put in a znode's place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) revision: Revision,
    pub(super) version: i32,
}

impl Calls {
    /// Connects to one of the members.
    pub(super) async fn connect(
        route: &Route,
        number: usize,
        place: Place,
    ) -> Result<Self, String> {
        let member = route.member(number);
        let connector = route
            .connector()
            .with_session_timeout(SESSION_TIMEOUT)
            .with_connection_timeout(CONNECTION_TIMEOUT)
            .with_fail_eagerly();
        let address = route.to(number).await?;
        let client = match in_time(member, connector.connect(&address)).await {
            Ok(client) => client,
            // The client hears only that there is no connection.
            Err(fault) => {
                return Err(match route.failure(number) {
                    Some(reason) => format!("ZooKeeper at {member}: {reason}"),
                    None => fault.text(),
                });
            }
        };
        let permanent = CreateMode::Persistent.with_acls(route.owners());
        let calls = Self { client, place, permanent, member: member.to_owned() };
        calls.make_directories(&route.owners_of_shared()).await.map_err(Fault::text)?;
        Ok(calls)
    }

    async fn make_directories(&self, owners: &[Acl]) -> Result<(), Fault> {
        let shared = CreateMode::Persistent.with_acls(Acls::new(owners));
        self.in_time(self.client.mkdir(SHARED, &shared)).await?;
        for directory in [self.place.keys(), self.place.leases()] {
            self.in_time(self.client.mkdir(&directory, &self.permanent)).await?;
        }
        Ok(())
    }

    pub(super) fn member(&self) -> &str {
        &self.member
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Watches everything of the cluster.
    pub(super) async fn watch(&self) -> Result<PersistentWatcher, Fault> {
        let root = self.place.root();
        self.in_time(self.client.watch(root, AddWatchMode::PersistentRecursive)).await
    }

    /// Reads a key, no older than what this session was told.
    pub(super) async fn read(&self, key: &str) -> Result<Option<Entry>, Fault> {
        let path = self.place.key(key);
        match self.in_time(self.client.get_data(&path)).await {
            Ok((bytes, stat)) => Ok(Some(Entry {
                revision: revision(&stat),
                version: stat.version,
                content: Content::decode(bytes),
            })),
            Err(Fault::Missing) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Reads a key, no older than this call.
    pub(super) async fn read_latest(&self, key: &str) -> Result<Option<Entry>, Fault> {
        let synced = self.sync();
        let ((), entry) = try_join!(synced, self.read(key))?;
        Ok(entry)
    }

    /// Reads all keys under a prefix, each no older than this call.
    pub(super) async fn load(&self, prefix: &str) -> Result<Vec<(Key, Entry)>, Fault> {
        let names = self.list(&self.place.keys()).await?;
        let keys = names.into_iter().filter_map(|name| key_named(&name));
        let keys = keys.filter(|key| key.starts_with(prefix));
        let reads = keys.map(|key| async {
            let entry = self.read(&key).await?;
            Ok(entry.map(|entry| (key, entry)))
        });
        let found: Vec<_> = stream::iter(reads).buffer_unordered(READS).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The leases that are alive.
    pub(super) async fn leases(&self) -> Result<Vec<LeaseName>, Fault> {
        let names = self.list(&self.place.leases()).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Ends a lease, whoever holds it.
    pub(super) async fn end(&self, lease: LeaseId) -> Result<(), Fault> {
        for name in self.leases().await?.into_iter().filter(|name| name.lease == lease) {
            let path = self.place.lease(&name);
            match self.in_time(self.client.delete(&path, None)).await {
                Ok(()) | Err(Fault::Missing) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Writes a key's znode of a version, or makes it, while leases are alive.
    pub(super) async fn write(
        &self,
        key: &str,
        envelope: &Envelope,
        version: Option<i32>,
        alive: &[LeaseName],
    ) -> Result<Written, Fault> {
        let (path, bytes) = (self.place.key(key), envelope.encode());
        let version = match version {
            Some(version) => version,
            None => self.create(&path).await?,
        };
        let stat = if alive.is_empty() {
            self.in_time(self.client.set_data(&path, &bytes, Some(version))).await?
        } else {
            self.in_time(self.write_while_alive(&path, &bytes, version, alive)).await?
        };
        Ok(Written { revision: revision(&stat), version: stat.version })
    }

    /// Makes a znode that says that its key is not there: what a transaction creates has no number in
    /// some versions of ZooKeeper. Returns its version.
    async fn create(&self, path: &str) -> Result<i32, Fault> {
        let empty = Envelope::default().encode();
        match self.in_time(self.client.create(path, &empty, &self.permanent)).await {
            Ok((stat, _)) => Ok(stat.version),
            Err(Fault::Missing) => {
                Err(Fault::Broken(format!("{} is gone from ZooKeeper", self.place.keys())))
            }
            Err(fault) => Err(fault),
        }
    }

    async fn write_while_alive(
        &self,
        path: &str,
        bytes: &[u8],
        version: i32,
        alive: &[LeaseName],
    ) -> Result<Stat, Error> {
        let mut writer = self.client.new_multi_writer();
        for name in alive {
            writer.add_check_version(&self.place.lease(name), ANY_VERSION)?;
        }
        writer.add_set_data(path, bytes, Some(version))?;
        match writer.commit().await?.pop() {
            Some(MultiWriteResult::SetData { stat }) => Ok(stat),
            _ => Err(Error::UnexpectedError("a write was not answered".to_owned())),
        }
    }

    /// The names in a directory, no older than this call.
    async fn list(&self, directory: &str) -> Result<Vec<String>, Fault> {
        let synced = self.sync();
        let ((), names) = try_join!(synced, self.in_time(self.client.list_children(directory)))?;
        Ok(names)
    }

    /// Has the member catch up before what is asked of it next: it does one thing after the other.
    /// It is asked at once, before what this returns is waited for.
    fn sync(&self) -> impl Future<Output = Result<(), Fault>> {
        self.in_time(self.client.sync(self.place.root()))
    }

    fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Fault>> {
        in_time(&self.member, call)
    }
}

async fn in_time<T>(
    member: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Fault> {
    match timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Error::NoNode)) => Err(Fault::Missing),
        Ok(Err(Error::NodeExists | Error::BadVersion)) => Err(Fault::Unexpected),
        Ok(Err(Error::NoAuth)) => Err(Fault::Broken(format!("ZooKeeper at {member}: {FORBIDDEN}"))),
        Ok(Err(error)) => Err(Fault::Broken(format!("ZooKeeper at {member}: {error}"))),
        Err(_) => Err(Fault::Broken(format!(
            "ZooKeeper at {member} did not answer for {} s",
            PATIENCE.as_secs()
        ))),
    }
}

impl Fault {
    pub(super) fn text(self) -> String {
        match self {
            Self::Missing => "a directory is gone from ZooKeeper".to_owned(),
            Self::Unexpected => "ZooKeeper refused what it should not".to_owned(),
            Self::Broken(reason) => reason,
        }
    }
}

fn revision(stat: &Stat) -> Revision {
    Revision(stat.mzxid.cast_unsigned())
}
