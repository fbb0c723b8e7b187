//! What operators, and consumers of a log, ask of a cluster.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Mark, NodeId, PartitionId, SetVersion};

/// Something an operator wants. Any node answers but for [`Self::Trim`], which the partition's
/// server does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorRequest {
    /// Keep a partition's replicas on exactly these nodes, on the disks that they have now. The
    /// answer says that the wish is recorded; the partition's server then fulfils it, one replica
    /// at a time.
    SetReplicas {
        /// The partition.
        partition: PartitionId,
        /// The nodes.
        nodes: Vec<NodeId>,
    },
    /// Go on with these replicas alone, although they may lack committed transactions. For when a
    /// majority is lost for good.
    Recover {
        /// The partition.
        partition: PartitionId,
        /// The nodes whose replicas are left.
        survivors: Vec<NodeId>,
        /// The newest replica set that the operator has seen: nothing is forced once there is a
        /// newer one.
        version: SetVersion,
    },
    /// Forget a partition's oldest transactions.
    Trim {
        /// The partition.
        partition: PartitionId,
        /// Everything up to here.
        start: Mark,
    },
    /// A consumer has applied a partition's log up to here; a new one is registered. What a
    /// registered consumer has not applied is not trimmed by age or size.
    AdvanceConsumer {
        /// The partition.
        partition: PartitionId,
        /// The consumer's name.
        consumer: String,
        /// What it has applied.
        mark: Mark,
    },
    /// Wait for a consumer no more.
    RemoveConsumer {
        /// The partition.
        partition: PartitionId,
        /// The consumer's name.
        consumer: String,
    },
}

impl OperatorRequest {
    /// The partition that it is about.
    pub fn partition(&self) -> PartitionId {
        match self {
            Self::SetReplicas { partition, .. }
            | Self::Recover { partition, .. }
            | Self::Trim { partition, .. }
            | Self::AdvanceConsumer { partition, .. }
            | Self::RemoveConsumer { partition, .. } => *partition,
        }
    }
}

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
}
