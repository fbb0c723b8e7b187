//! What a client is told once: whom to ask, what to mount, and every bound it keeps.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::id::{ClusterKey, PartitionId};
use crate::io::Address;
use crate::limits::Limits;
use crate::planted::Planted;
use crate::tls::TlsFiles;
use crate::wire::FeedMode;

/// Which partitions a client mounts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Partitions {
    /// All of them, new ones included.
    #[default]
    All,
    /// These only.
    Only(BTreeSet<PartitionId>),
}

impl Partitions {
    /// No partition: for tools that only ask.
    pub fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// Whether this one is chosen.
    pub fn contains(&self, partition: PartitionId) -> bool {
        match self {
            Self::All => true,
            Self::Only(chosen) => chosen.contains(&partition),
        }
    }
}

impl FromIterator<PartitionId> for Partitions {
    fn from_iter<I: IntoIterator<Item = PartitionId>>(chosen: I) -> Self {
        Self::Only(chosen.into_iter().collect())
    }
}

/// What a client is known by. It is not shown when the configuration is.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub(super) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(not shown)")
    }
}

/// How a client behaves. Every field has a default that suits most services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// Addresses of nodes to begin with; one that answers is enough.
    pub bootstrap: Vec<Address>,
    /// The cluster to insist on; without it, the one found first.
    pub cluster: Option<ClusterKey>,
    /// What secures connections; without it, they are plain.
    pub tls: Option<TlsFiles>,
    /// What the client is known by, where that is not its certificate.
    pub token: Option<Token>,
    /// What to mount.
    pub partitions: Partitions,
    /// Whether data rides along with the feed or is loaded when asked for.
    pub feed: FeedMode,
    /// Bytes of feed held in memory for each partition.
    pub credit_bytes: u32,
    /// Bytes of feed given to the application at once, more or less.
    pub batch_bytes: u32,
    /// Appends under way in each partition; more of them wait.
    pub max_outstanding: usize,
    /// Contexts of one partition executing at the same time.
    pub max_executing: usize,
    /// Calls that have not ended, in all; more of them are refused.
    pub max_pending: usize,
    /// Bytes of record data in calls that have not ended, in all; more of them are refused.
    pub max_pending_bytes: usize,
    /// How long to look for a cluster before connecting fails.
    pub connect_timeout: Duration,
    /// How long a call waits for its partition to be mounted.
    pub mount_timeout: Duration,
    /// How long a question (fetch, status and so on) waits for its answer.
    pub request_timeout: Duration,
    /// How long undecided appends may see no progress before the mount is renewed.
    pub nudge_interval: Duration,
    /// Limits of frames and records.
    pub limits: Limits,
    /// The rule broken on purpose, in simulations.
    pub planted: Planted,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            bootstrap: vec![Address("127.0.0.1:7400".to_owned())],
            cluster: None,
            tls: None,
            token: None,
            partitions: Partitions::All,
            feed: FeedMode::Records,
            credit_bytes: 4 << 20,
            batch_bytes: 1 << 20,
            max_outstanding: 2048,
            max_executing: 64,
            max_pending: 1 << 16,
            max_pending_bytes: 64 << 20,
            connect_timeout: Duration::from_secs(10),
            mount_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            nudge_interval: Duration::from_secs(5),
            limits: Limits::default(),
            planted: Planted::NONE,
        }
    }
}

impl ClientConfig {
    /// Begins with these addresses, everything else as by default.
    ///
    /// ```
    /// use waltz_core::client::ClientConfig;
    /// let config = ClientConfig::new(["127.0.0.1:7400", "127.0.0.1:7401"]);
    /// assert_eq!(config.bootstrap.len(), 2);
    /// ```
    pub fn new<A: Into<String>>(bootstrap: impl IntoIterator<Item = A>) -> Self {
        let bootstrap = bootstrap.into_iter().map(|address| Address(address.into())).collect();
        Self { bootstrap, ..Self::default() }
    }

    /// Insists on a cluster.
    #[must_use]
    pub fn cluster(self, cluster: ClusterKey) -> Self {
        Self { cluster: Some(cluster), ..self }
    }

    /// Secures connections: nodes have to prove who they are.
    ///
    /// ```
    /// use waltz_core::client::ClientConfig;
    /// use waltz_core::tls::TlsFiles;
    ///
    /// let files = TlsFiles::new("ca.pem").certificate("service.pem", "service.key");
    /// let config = ClientConfig::new(["node-1.example:7400"]).tls(files);
    /// assert!(config.tls.is_some());
    /// ```
    #[must_use]
    pub fn tls(self, files: TlsFiles) -> Self {
        Self { tls: Some(files), ..self }
    }

    /// Presents a token to every node. Without TLS whoever is on the way can read it.
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Self {
        Self { token: Some(Token(token.into())), ..self }
    }

    /// Chooses what to mount.
    #[must_use]
    pub fn partitions(self, partitions: Partitions) -> Self {
        Self { partitions, ..self }
    }

    /// Chooses what the feed carries.
    #[must_use]
    pub fn feed(self, feed: FeedMode) -> Self {
        Self { feed, ..self }
    }

    /// Bounds the appends under way in each partition.
    #[must_use]
    pub fn max_outstanding(self, max_outstanding: usize) -> Self {
        Self { max_outstanding, ..self }
    }

    /// Bounds the search for a cluster.
    #[must_use]
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Bounds the wait of a call for its partition.
    #[must_use]
    pub fn mount_timeout(self, mount_timeout: Duration) -> Self {
        Self { mount_timeout, ..self }
    }

    /// Bounds the wait of a question for its answer.
    #[must_use]
    pub fn request_timeout(self, request_timeout: Duration) -> Self {
        Self { request_timeout, ..self }
    }

    /// Sets the limits of frames and records.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}
