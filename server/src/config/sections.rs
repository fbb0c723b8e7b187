//! All keys: the one place where a key, its type, its meaning, its unit, its default and its flag
//! are written down.
//!
//! To add a key, add it to its section. To add a section, write one and name it in [`Settings`] and
//! [`SECTIONS`]. A type of its own reads itself from what people write (`values.rs`).

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;

use super::Section;
use super::key::section;
use super::values::{
    Address, ArchiveUrl, Bytes, LocalityName, LogFilter, LogFormat, Names, Period, Protocol,
    RecordBytes, Roles, TlsClients, UnknownsRole,
};
use crate::args::Coordinator;

/// The cluster that nodes form unless told another name.
pub const DEFAULT_CLUSTER: &str = "waltz";

/// Everything that a node can be told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// This node.
    pub node: NodeSettings,
    /// The cluster it is of.
    pub cluster: ClusterSettings,
    /// What secures connections to etcd or ZooKeeper.
    #[serde(default = "unset")]
    pub coordinator_tls: CoordinatorTlsSettings,
    /// As whom etcd or ZooKeeper is asked.
    #[serde(default = "unset")]
    pub coordinator_login: CoordinatorLoginSettings,
    /// What secures connections.
    pub tls: TlsSettings,
    /// Who may do what.
    pub access: AccessSettings,
    /// What is trimmed.
    pub retention: RetentionSettings,
    /// Where trimmed transactions are read from.
    #[serde(default = "unset")]
    pub archive: ArchiveSettings,
    /// What the disk is used for.
    pub storage: StorageSettings,
    /// What is refused.
    pub limits: LimitSettings,
    /// The flight recorder.
    pub recorder: RecorderSettings,
    /// The operator's log.
    pub log: LogSettings,
    /// The endpoint for health checks and metrics.
    pub health: HealthSettings,
}

/// A section of keys without defaults, none of which is set: it is nowhere then.
fn unset<T: DeserializeOwned>() -> T {
    let nothing =
        MapDeserializer::<_, serde::de::value::Error>::new(std::iter::empty::<((), ())>());
    T::deserialize(nothing).expect("its keys need not be set")
}

/// All sections, in the order in which they are shown.
pub const SECTIONS: &[Section] = &[
    NodeSettings::SECTION,
    ClusterSettings::SECTION,
    CoordinatorTlsSettings::SECTION,
    CoordinatorLoginSettings::SECTION,
    TlsSettings::SECTION,
    AccessSettings::SECTION,
    RetentionSettings::SECTION,
    ArchiveSettings::SECTION,
    StorageSettings::SECTION,
    LimitSettings::SECTION,
    RecorderSettings::SECTION,
    LogSettings::SECTION,
    HealthSettings::SECTION,
];

section! {
    /// This node: who it is, where it listens, what it does.
    "node" => NodeSettings {
        /// The node's number; each node of a cluster has another one.
        id: u32 = "1", flag "node" "N";
        /// Where to listen; port 0 takes a free one.
        listen: SocketAddr = "127.0.0.1:7400", flag "listen" "ADDR";
        /// Where others reach this node, if that is not where it listens.
        advertise: Option<Address>, such as "db1.example.com:7400", flag "advertise" "ADDR";
        /// Where the node keeps its data.
        data: PathBuf = "./waltz-data", flag "data" "DIR";
        /// What the node does: any of coordinator, server and storage. If there is none, it does
        /// everything; with a coordinator elsewhere, everything else.
        roles: Roles = "[]", flag "roles" "ROLES...";
        /// The region that the node is in: partitions can be preferred to be served there.
        region: Option<LocalityName>, such as "eu-west", flag "region" "NAME";
        /// The zone within the region, such as a data center: what fails together. Replicas of a
        /// partition are placed in as many zones as there are.
        zone: Option<LocalityName>, such as "eu-west-1a", flag "zone" "NAME";
        /// How much the node's disk is to keep; replicas are placed in proportion. Units: K, M, G, T.
        capacity: Option<Bytes>, such as "500G", flag "capacity" "BYTES";
        /// The newest version of the protocol to speak, unless it is the newest that is known; held
        /// back while a cluster is upgraded, so that the former release can still come back.
        protocol_version: Option<Protocol>, such as "1", flag "protocol-version" "N";
    }
}

section! {
    /// The cluster that the node is of.
    "cluster" => ClusterSettings {
        /// The cluster's name; nodes and clients of others are refused.
        name: String = "waltz", flag "cluster" "NAME";
        /// The cluster's coordinator, if it is not this node: the node that is, or
        /// etcd://HOST:PORT[,HOST:PORT...], or zookeeper://HOST:PORT[,HOST:PORT...].
        coordinator: Option<Coordinator>, such as "node-1.example.com:7400",
            flag "coordinator" "ADDR";
        /// How many partitions a new cluster has, 4 if nothing is said; told to its coordinator. With
        /// one outside of the cluster only nodes that are told this or the replicas make a cluster.
        partitions: Option<u32>, such as "4", flag "partitions" "N";
        /// How many replicas each of them has, 1 if nothing is said; told to the coordinator.
        replicas: Option<u32>, such as "3", flag "replicas" "N";
        /// How many storage nodes a new cluster waits for; as many as replicas if nothing is said.
        storages: Option<u32>, such as "3", flag "storages" "N";
    }
}

section! {
    /// TLS, for connections to etcd or ZooKeeper. The files are PEM, are looked at every few seconds,
    /// and are used anew when they have changed.
    "coordinator_tls" => CoordinatorTlsSettings {
        /// The certificates of the authorities that the coordinator's members are checked against.
        /// With them TLS is spoken, without them not.
        authorities: Option<PathBuf>, such as "/etc/waltz/etcd-ca.pem",
            flag "coordinator-tls-ca" "FILE";
        /// The certificate that this node presents, followed by those between it and an authority;
        /// for members that ask for one.
        certificate: Option<PathBuf>, such as "/etc/waltz/etcd-client.pem",
            flag "coordinator-tls-cert" "FILE";
        /// The certificate's private key.
        key: Option<PathBuf>, such as "/etc/waltz/etcd-client.key",
            flag "coordinator-tls-key" "FILE";
    }
}

section! {
    /// As whom etcd or ZooKeeper is asked: a user of etcd, or an identity of ZooKeeper's scheme
    /// digest. What is made in ZooKeeper is that one's alone then. Both keys go together.
    "coordinator_login" => CoordinatorLoginSettings {
        /// The user's name, without a colon.
        user: Option<String>, such as "waltz", flag "coordinator-user" "NAME";
        /// A file whose one line is the user's password. It is read when the node starts.
        password_file: Option<PathBuf>, such as "/etc/waltz/etcd-password",
            flag "coordinator-password-file" "FILE";
    }
}

section! {
    /// TLS, for all connections of the node: to others and from them. The three files go together;
    /// they are PEM, are looked at every few seconds, and are used anew when they have changed.
    "tls" => TlsSettings {
        /// The node's certificate, followed by those between it and an authority. Both ends of
        /// connections between nodes present it.
        certificate: Option<PathBuf>, such as "/etc/waltz/node.pem", flag "tls-cert" "FILE";
        /// The certificate's private key.
        key: Option<PathBuf>, such as "/etc/waltz/node.key", flag "tls-key" "FILE";
        /// The certificates of the authorities that others are checked against.
        authorities: Option<PathBuf>, such as "/etc/waltz/ca.pem", flag "tls-ca" "FILE";
        /// Whether who connects has to have a certificate: required, or optional for clients that
        /// have a token instead.
        clients: TlsClients = "required", flag "tls-clients" "WHETHER";
    }
}

section! {
    /// Who may do what. Without any of this everyone may do everything, which is for loopback only;
    /// with some of it, nobody may do anything else. Names are those in certificates: the subject's
    /// common name, DNS names and URIs.
    "access" => AccessSettings {
        /// Who may speak as a node of the cluster.
        nodes: Names = "[]", flag "allow-node" "NAME...";
        /// Who may operate the cluster, append and read.
        admins: Names = "[]", flag "allow-admin" "NAME...";
        /// Who may append and read.
        writers: Names = "[]", flag "allow-writer" "NAME...";
        /// Who may read.
        readers: Names = "[]", flag "allow-reader" "NAME...";
        /// What everyone else may do: be a reader, writer or admin; nothing if nothing is said.
        anyone: Option<UnknownsRole>, such as "reader", flag "allow-anyone" "ROLE";
        /// A file with a line ROLE HASH for each token, as `waltz token` prints it. It is read when
        /// the node starts.
        tokens: Option<PathBuf>, such as "/etc/waltz/tokens", flag "tokens" "FILE";
        /// Listen beyond loopback although everyone could read and change everything there.
        insecure: bool = "false", flag "insecure";
    }
}

section! {
    /// What of the partitions served here is trimmed. With nothing set, nothing is.
    "retention" => RetentionSettings {
        /// Keep about so many bytes of each partition, and trim what is older. Units: K, M, G, T.
        bytes: Option<Bytes>, such as "10G", flag "retain-bytes" "BYTES";
        /// Trim what was committed this long ago. Units: ms, s, m, h, d.
        age: Option<Period>, such as "7d", flag "retain-age" "TIME";
        /// Trim what every registered consumer has applied.
        consumed: bool = "false", flag "trim-consumed";
    }
}

section! {
    /// Where transactions are read from that were trimmed and had been archived before, as `waltz admin
    /// partition trim --archive` does. Every node that serves partitions should have the same. The
    /// variables AWS_* say how S3 is reached.
    "archive" => ArchiveSettings {
        /// A directory, or s3://BUCKET/FOLDER. Without one, what is trimmed can't be read any more.
        url: Option<ArchiveUrl>, such as "s3://backups/waltz", flag "archive" "URL";
    }
}

section! {
    /// How much of its disk a node may use for the records that it keeps.
    "storage" => StorageSettings {
        /// How many bytes the journal may take beside twice those of the records in it. Where it
        /// takes more, records of its oldest segments are written again at its end. At least 256M.
        /// Units: K, M, G, T.
        slack: Bytes = "512M";
        /// How many bytes of records are written again in a second, unless more comes from elsewhere
        /// in that time. Units: K, M, G.
        moved_bytes_per_second: Bytes = "32M";
        /// How many bytes of records each partition may have here. One that has more takes no appends
        /// before it is trimmed, as long as that holds for too many of its replicas. Units: K, M, G, T.
        partition_quota: Option<Bytes>, such as "50G";
        /// A checkpoint is written whenever the journal has grown by so many bytes; a restart reads
        /// about twice as much. Units: K, M, G.
        checkpoint_every: Bytes = "128M";
    }
}

section! {
    /// What is too much.
    "limits" => LimitSettings {
        /// The largest record to take, in bytes with its header and locks; 256 to 8M.
        record: RecordBytes = "1M", flag "max-record" "BYTES";
        /// How many connections the node accepts at the same time; more are closed at once.
        connections: NonZeroU32 = "10000";
        /// How many of them may come from one address.
        connections_per_address: NonZeroU32 = "2000";
        /// How many TLS handshakes may be under way; more connections wait to be accepted.
        handshakes: NonZeroU32 = "128";
        /// How many bytes of what came may wait for the node in all; beyond that it reads nothing
        /// more until it has caught up. Half of it is for messages longer than 32K that have not
        /// come as a whole; clients wait for room there. Units: K, M, G.
        incoming: Bytes = "256M";
        /// How many bytes of the newest committed records of all partitions served here are kept in
        /// memory, for clients and replicas that are a little behind. Units: K, M, G.
        recent: Bytes = "256M";
        /// How many bytes a client may send on a connection in a second; the connection is read no
        /// faster, so that the client waits. At least 1M and the largest record. Nodes of the cluster
        /// are not bound. Units: K, M, G.
        bytes_per_second: Option<Bytes>, such as "16M";
        /// How many messages a client may send on a connection in a second; the connection is read no
        /// faster. One message may append many records. Nodes of the cluster are not bound.
        messages_per_second: Option<NonZeroU32>, such as "5000";
    }
}

section! {
    /// The flight recorder: the node's last inputs, kept in memory and written to a file when the
    /// node panics, has to stop, or gets SIGUSR1; `waltz replay` shows what it did.
    "recorder" => RecorderSettings {
        /// The directory that recordings are written to; without one nothing is recorded.
        directory: Option<PathBuf>, such as "/var/lib/waltz/recordings",
            flag "flight-recorder" "DIR";
        /// How many bytes of inputs a recording has at least, once so many came. Units: K, M, G.
        bytes: Bytes = "8M", flag "flight-recorder-bytes" "BYTES";
    }
}

section! {
    /// The operator's log, on standard error.
    "log" => LogSettings {
        /// How lines are written: text for people, or json with a value a line.
        format: LogFormat = "text", flag "log-format" "FORMAT";
        /// What is logged: error, warn, info, debug, trace or off, or directives such as
        /// info,waltz_coordinators=debug. The variable WALTZ_LOG sets it, too.
        filter: LogFilter = "info", flag "log-filter" "FILTER";
    }
}

section! {
    /// The endpoint for health checks and metrics: /livez, /readyz and /metrics over HTTP. It asks
    /// nobody who they are, so let only those reach it who may see it.
    "health" => HealthSettings {
        /// Where to listen; port 0 takes a free one. Without an address there is no endpoint.
        listen: Option<SocketAddr>, such as "127.0.0.1:7480", flag "health" "ADDR";
        /// How long the node's loop may take to answer before it counts as hanging. Units: ms, s, m.
        patience: Period = "2s";
    }
}
