//! Why a cluster does not grant what an operator asks.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Mark, NodeId, PartitionId, SetVersion};
use crate::wire::Version;

/// Why an operator's wish is not granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum OperatorRefusal {
    /// There is no such partition.
    #[error("the cluster has no partition {partition}")]
    UnknownPartition {
        /// What was named.
        partition: PartitionId,
    },
    /// There is no such node.
    #[error("the cluster has no node {node}")]
    UnknownNode {
        /// What was named.
        node: NodeId,
    },
    /// The node keeps no logs.
    #[error("{node} has no disk for replicas; only nodes with the storage role have")]
    NoDisk {
        /// The node.
        node: NodeId,
    },
    /// A new replica, or one to recover with, would be on a node that is down.
    #[error("{node} is not running")]
    NotLive {
        /// The node.
        node: NodeId,
    },
    /// A node was named twice.
    #[error("{node} is named twice; a node keeps one replica of a partition")]
    Repeated {
        /// The node.
        node: NodeId,
    },
    /// No node was named.
    #[error("a partition needs at least one replica")]
    NoReplicas,
    /// More nodes were named than a partition may have replicas.
    #[error("{count} replicas; there may be {most}")]
    TooManyReplicas {
        /// How many were named.
        count: u32,
        /// How many there may be.
        most: u32,
    },
    /// It is so already.
    #[error("the partition's replicas are on these nodes already")]
    Unchanged,
    /// A survivor has no replica to survive with.
    #[error("{node} keeps no replica of the partition, or not with the disk that it has now")]
    NoReplica {
        /// The node.
        node: NodeId,
    },
    /// The replica set has changed since the operator looked.
    #[error("the replica set has changed since, to {newest}; look again")]
    Outdated {
        /// The newest one known.
        newest: SetVersion,
    },
    /// Another node serves the partition, or nobody does now.
    #[error("this node does not serve the partition")]
    NotOwner,
    /// What is to be trimmed is not committed.
    #[error("the log ends at {committed}: nothing after that can be trimmed")]
    BeyondLog {
        /// The high-water mark.
        committed: Mark,
    },
    /// The name is empty or too long.
    #[error("a consumer's name has 1 to {most} bytes")]
    ConsumerName {
        /// The longest there may be, in bytes.
        most: u32,
    },
    /// As many consumers are registered as may be.
    #[error("{most} consumers are registered already; remove one that is gone")]
    TooManyConsumers {
        /// How many there may be.
        most: u32,
    },
    /// There is no such consumer.
    #[error("no consumer {name:?} is registered")]
    UnknownConsumer {
        /// What was named.
        name: String,
    },
    /// The coordinator did not record it in time; perhaps it did, and the answer got lost.
    #[error("the coordinator did not answer in time; look whether it was recorded, or try again")]
    NoCoordinator,
    /// Whoever had to record it, or to carry it out, did not.
    #[error("it was refused: {reason}")]
    Refused {
        /// Why, for people.
        reason: String,
    },
    /// Too many wishes wait to be recorded.
    #[error("too many requests wait for the coordinator; try again later")]
    Busy,
    /// There is no cluster yet.
    #[error("the coordinator knows no cluster: create one, or restore the one it has lost")]
    NoCluster,
    /// There is a cluster already.
    #[error("the coordinator knows a cluster already, of {partitions} partitions")]
    ClusterExists {
        /// How many partitions it has.
        partitions: u32,
    },
    /// A cluster can't have so many partitions.
    #[error("{count} partitions: a cluster has 1 to {most}")]
    PartitionCount {
        /// How many were asked for.
        count: u32,
        /// How many there may be.
        most: u32,
    },
    /// Partitions are added, never taken away.
    #[error("{count} partitions: there are {now} already, and they can only become more")]
    NotMorePartitions {
        /// How many were asked for.
        count: u32,
        /// How many there are.
        now: u32,
    },
    /// There are too few disks for a cluster.
    #[error("{registered} storage nodes are running; {needed} replicas need as many")]
    TooFewStorages {
        /// How many run.
        registered: u32,
        /// How many are needed.
        needed: u32,
    },
    /// A disk that would be part of a new cluster belongs to another one.
    #[error(
        "the disk of {node} belongs to a cluster that the coordinator does not know: restore it"
    )]
    DiskInUse {
        /// The node.
        node: NodeId,
    },
    /// No node can serve.
    #[error("no node with the server role is running")]
    NoServer,
    /// The partitions told are not all there are, each once, with sound replica sets.
    #[error("{partition} is missing, named twice, or told without a sound replica set")]
    Incomplete {
        /// The first such partition.
        partition: PartitionId,
    },
    /// A node that is to be forgotten runs.
    #[error("{node} is running; stop it first")]
    StillLive {
        /// The node.
        node: NodeId,
    },
    /// A node that is to be forgotten has, or is to have, a replica.
    #[error("{node} is named for a replica of {partition}; move that away first")]
    StillNamed {
        /// The node.
        node: NodeId,
        /// The first such partition.
        partition: PartitionId,
    },
    /// A region's name is empty or too long.
    #[error("a region's name has 1 to {most} bytes")]
    RegionName {
        /// The longest there may be, in bytes.
        most: u32,
    },
    /// There would be more partitions than somebody who is connected can be told of.
    #[error(
        "{count} partitions take version {needed} of the protocol, and a node or client that is \
         connected speaks {spoken}: upgrade it first"
    )]
    TooOld {
        /// How many partitions there would be.
        count: u32,
        /// What that takes.
        needed: Version,
        /// What is spoken.
        spoken: Version,
    },
}

impl OperatorRefusal {
    /// The version of the protocol that has it.
    pub fn since(&self) -> Version {
        match self {
            Self::UnknownPartition { .. }
            | Self::UnknownNode { .. }
            | Self::NoDisk { .. }
            | Self::NotLive { .. }
            | Self::Repeated { .. }
            | Self::NoReplicas
            | Self::TooManyReplicas { .. }
            | Self::Unchanged
            | Self::NoReplica { .. }
            | Self::Outdated { .. }
            | Self::NotOwner
            | Self::BeyondLog { .. }
            | Self::ConsumerName { .. }
            | Self::TooManyConsumers { .. }
            | Self::UnknownConsumer { .. }
            | Self::NoCoordinator
            | Self::Refused { .. }
            | Self::Busy => Version::FIRST,
            Self::NoCluster
            | Self::ClusterExists { .. }
            | Self::PartitionCount { .. }
            | Self::NotMorePartitions { .. }
            | Self::TooFewStorages { .. }
            | Self::DiskInUse { .. }
            | Self::NoServer
            | Self::Incomplete { .. }
            | Self::StillLive { .. }
            | Self::StillNamed { .. }
            | Self::RegionName { .. } => Version::OPERATIONS,
            Self::TooOld { .. } => Version::LONG,
        }
    }
}
