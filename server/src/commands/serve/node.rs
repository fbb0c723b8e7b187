//! A node's settings as its machine takes them.

use std::net::SocketAddr;
use std::sync::Arc;

use waltz_core::id::NodeId;
use waltz_core::io::Address;
use waltz_core::journal::DEFAULT_SEGMENT_BYTES;
use waltz_core::limits::Limits;
use waltz_core::membership::{ControllerConfig, Locality};
use waltz_core::node::{CoordinatorAt, NodeConfig, Roles};
use waltz_core::partition::retention::RetentionConfig;
use waltz_core::storage::{SpaceConfig, StorageConfig};
use waltz_core::wire::Version;

use super::{coordinator, rates, security};
use crate::args::Coordinator;
use crate::commands::connect::cluster_key;
use crate::config::{
    ClusterSettings, LimitSettings, LocalityName, NodeSettings, Role, Settings, StorageSettings,
};

/// Settings that don't go together, each of which could be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Conflict(String);

impl Conflict {
    pub(super) fn new(reason: impl std::fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

/// How many reads of the archive a partition has under way at most.
const ARCHIVE_READS: usize = 4;

/// What bounds a node's frames and records.
pub fn limits(settings: &LimitSettings) -> Limits {
    Limits { record: settings.record.0, ..Limits::default() }
}

/// The configuration of a node that listens here.
///
/// # Errors
/// When settings don't go together.
pub fn node_config(settings: &Settings, listen: SocketAddr) -> Result<NodeConfig, Conflict> {
    let (node, retention) = (&settings.node, &settings.retention);
    if node.advertise.is_none() && listen.ip().is_unspecified() {
        return Err(Conflict::new(format_args!(
            "other machines can't reach {listen}; say with --advertise (node.advertise) how they can"
        )));
    }
    security::check(settings, listen)?;
    rates::check(&settings.limits)?;
    coordinator::check(settings)?;
    let address = node.advertise.as_ref().map_or_else(|| listen.to_string(), |to| to.0.clone());
    let (id, cluster) = (NodeId(node.id), cluster_key(&settings.cluster.name));
    let coordinator = coordinator_at(settings)?;
    let mut config = NodeConfig::new(id, cluster, Address(address), coordinator)
        .with_limits(limits(&settings.limits));
    config.recent_bytes = usize::try_from(settings.limits.recent.0).unwrap_or(usize::MAX);
    config.storage = storage_config(&settings.storage)?;
    config.partition.retention = RetentionConfig {
        bytes: retention.bytes.map(|bytes| bytes.0),
        age: retention.age.map(|age| age.0),
        consumed: retention.consumed,
    };
    if settings.archive.url.is_some() {
        Arc::make_mut(&mut config.partition.mounts).archive_reads = ARCHIVE_READS;
    }
    config.locality = locality(node)?;
    config.newest = node.protocol_version.map_or(Version::NEWEST, |version| version.0);
    config.roles =
        Roles { server: has(settings, Role::Server), storage: has(settings, Role::Storage) };
    Ok(config)
}

/// What the node uses its disk for.
fn storage_config(settings: &StorageSettings) -> Result<StorageConfig, Conflict> {
    let least = 8 * u64::from(DEFAULT_SEGMENT_BYTES);
    let slack_bytes = settings.slack.0;
    if slack_bytes < least {
        return Err(Conflict::new(format_args!(
            "storage.slack is {slack_bytes} bytes; at least {least} are needed, eight segments"
        )));
    }
    let every_bytes = settings.checkpoint_every.0;
    if every_bytes < u64::from(DEFAULT_SEGMENT_BYTES) {
        return Err(Conflict::new(format_args!(
            "storage.checkpoint_every is {every_bytes} bytes; at least {DEFAULT_SEGMENT_BYTES} are \
             needed, a segment"
        )));
    }
    let bytes_per_second = u32::try_from(settings.moved_bytes_per_second.0).unwrap_or(u32::MAX);
    if bytes_per_second == 0 {
        return Err(Conflict::new("storage.moved_bytes_per_second is 0; old segments would stay"));
    }
    let mut config = StorageConfig::default();
    config.checkpoints.every_bytes = every_bytes;
    let quota_bytes = settings.partition_quota.map_or(u64::MAX, |quota| quota.0);
    if quota_bytes == 0 {
        return Err(Conflict::new(
            "storage.partition_quota is 0; no partition could take anything",
        ));
    }
    let segment_bytes = DEFAULT_SEGMENT_BYTES;
    config.space = SpaceConfig { segment_bytes, slack_bytes, bytes_per_second, quota_bytes };
    Ok(config)
}

/// Where the node stands.
fn locality(settings: &NodeSettings) -> Result<Locality, Conflict> {
    let name = |name: &Option<LocalityName>| name.as_ref().map(|name| name.0.clone());
    let (region, zone) = (name(&settings.region), name(&settings.zone));
    let capacity = settings.capacity.map(|bytes| bytes.0);
    let locality = Locality { region, zone, capacity };
    match locality.check() {
        Ok(()) => Ok(locality),
        Err(error) => Err(Conflict::new(format_args!("{error}; see [node] in the configuration"))),
    }
}

/// Whether a node has a role: by its list, or because there is none.
fn has(settings: &Settings, role: Role) -> bool {
    let roles = &settings.node.roles.0;
    match roles.is_empty() {
        true => role != Role::Coordinator || settings.cluster.coordinator.is_none(),
        false => roles.contains(&role),
    }
}

fn coordinator_at(settings: &Settings) -> Result<CoordinatorAt, Conflict> {
    let cluster = &settings.cluster;
    match (&cluster.coordinator, has(settings, Role::Coordinator)) {
        (Some(_), true) => Err(Conflict::new(
            "this node is the coordinator by --roles (node.roles); leave --coordinator out, or \
             that role",
        )),
        (None, false) => Err(Conflict::new(
            "--roles (node.roles) leaves the coordinator out; name it with --coordinator \
             (cluster.coordinator)",
        )),
        (Some(Coordinator::Node(address)), false) => {
            Ok(CoordinatorAt::Remote(Address(address.clone())))
        }
        (Some(Coordinator::Outside(_)), false) => {
            let is_told = cluster.partitions.is_some() || cluster.replicas.is_some();
            let bootstrap = is_told.then(|| new_cluster(cluster)).transpose()?;
            Ok(CoordinatorAt::Outside { bootstrap })
        }
        (None, true) => Ok(CoordinatorAt::Here(new_cluster(cluster)?)),
    }
}

/// The cluster to make, if there is none yet.
fn new_cluster(settings: &ClusterSettings) -> Result<ControllerConfig, Conflict> {
    let (partitions, replicas) = (settings.partitions.unwrap_or(4), settings.replicas.unwrap_or(1));
    let storages = settings.storages.unwrap_or(replicas);
    ControllerConfig::new(partitions, replicas, storages).map_err(Conflict::new)
}
