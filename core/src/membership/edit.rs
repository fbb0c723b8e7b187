//! What operators and servers want recorded: a change of one key, on whatever stands there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{CreationId, Mark, NodeId, PartitionId, ReplicaSet, SetVersion};
use crate::membership::{Cluster, Consumers, Fact, Name, Operations, PartitionMeta, Target};
use crate::wire::OperatorRefusal;

/// A change of one key that the coordinator keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// A newer replica set is committed: whom to ask first from now on. An older one, or one of
    /// another creation, changes nothing.
    Committed {
        /// The partition.
        partition: PartitionId,
        /// Its creation.
        creation: CreationId,
        /// The set's version.
        version: SetVersion,
        /// The set.
        replicas: ReplicaSet,
    },
    /// An operator wants other replicas.
    Target {
        /// The partition.
        partition: PartitionId,
        /// What is wanted.
        target: Target,
    },
    /// A consumer has applied the log up to here.
    AdvanceConsumer {
        /// The partition.
        partition: PartitionId,
        /// The consumer.
        consumer: String,
        /// What it has applied.
        mark: Mark,
    },
    /// A consumer is gone.
    RemoveConsumer {
        /// The partition.
        partition: PartitionId,
        /// The consumer.
        consumer: String,
    },
    /// A cluster is made, or given back to a coordinator that lost it.
    CreateCluster(Cluster),
    /// The cluster is to have more partitions.
    AddPartitions {
        /// How many in all.
        partitions: u32,
    },
    /// An operator wants something of a node.
    Operate {
        /// The node.
        node: NodeId,
        /// What.
        operation: Operation,
    },
    /// Where an operator wants a partition served.
    Region {
        /// The partition.
        partition: PartitionId,
        /// The region; `None`: any.
        region: Option<String>,
    },
    /// How busy partitions are, instead of what was known; nothing: nobody knows.
    Loads(BTreeMap<PartitionId, u32>),
    /// A permanent record is no longer wanted.
    Delete(Name),
    /// A coordinator that lost a record gets it back. What it has learned since is not set back.
    Restore(Fact),
}

/// What operators may want of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Whether it is drained as a server.
    DrainServer(bool),
    /// Whether it is drained as a storage.
    DrainStorage(bool),
    /// Partitions it is to be preferred for.
    Prefer(Vec<PartitionId>),
    /// Partitions it is no longer to be preferred for.
    Unprefer(Vec<PartitionId>),
}

impl Edit {
    /// What it changes.
    pub(super) fn name(&self) -> Name {
        match self {
            Self::Committed { partition, .. } => Name::Partition(*partition),
            Self::Target { partition, .. } => Name::Target(*partition),
            Self::AdvanceConsumer { partition, .. } | Self::RemoveConsumer { partition, .. } => {
                Name::Consumers(*partition)
            }
            Self::CreateCluster(_) | Self::AddPartitions { .. } => Name::Cluster,
            Self::Operate { node, .. } => Name::Operations(*node),
            Self::Region { partition, .. } => Name::Region(*partition),
            Self::Loads(_) => Name::Loads,
            Self::Delete(name) => *name,
            Self::Restore(fact) => fact.name(),
        }
    }

    /// The fact after the edit; `None`: there is none.
    pub(super) fn apply(&self, current: Option<Fact>) -> Result<Option<Fact>, OperatorRefusal> {
        match (self, current) {
            (
                Self::Committed { creation, version, replicas, .. },
                Some(Fact::Partition(partition, meta)),
            ) if meta.creation == *creation && meta.version < *version => {
                let (creation, version, replicas) = (*creation, *version, replicas.clone());
                let meta = PartitionMeta { creation, version, replicas };
                Ok(Some(Fact::Partition(partition, meta)))
            }
            (Self::Committed { .. }, current) => Ok(current),
            (Self::Target { partition, target }, _) => {
                Ok(Some(Fact::Target(*partition, target.clone())))
            }
            (Self::AdvanceConsumer { partition, consumer, mark }, current) => {
                let mut consumers = consumers_of(current);
                consumers.advance(consumer, *mark)?;
                Ok(Some(Fact::Consumers(*partition, consumers)))
            }
            (Self::RemoveConsumer { partition, consumer }, current) => {
                let mut consumers = consumers_of(current);
                consumers.remove(consumer)?;
                Ok(Some(Fact::Consumers(*partition, consumers)))
            }
            (Self::CreateCluster(_), Some(Fact::Cluster(Cluster { partitions, .. }))) => {
                Err(OperatorRefusal::ClusterExists { partitions })
            }
            (Self::CreateCluster(cluster), _) => Ok(Some(Fact::Cluster(*cluster))),
            (Self::AddPartitions { partitions }, current) => {
                add_partitions(*partitions, current).map(Some)
            }
            (Self::Operate { node, operation }, current) => {
                let operations = operation.apply(operations_of(current));
                let says_something = operations != Operations::default();
                Ok(says_something.then_some(Fact::Operations(*node, operations)))
            }
            (Self::Region { partition, region }, _) => {
                Ok(region.clone().map(|region| Fact::Region(*partition, region)))
            }
            (Self::Loads(loads), _) => Ok((!loads.is_empty()).then(|| Fact::Loads(loads.clone()))),
            (Self::Delete(_), _) => Ok(None),
            (Self::Restore(fact), current) => Ok(Some(restored(fact, current))),
        }
    }
}

impl Operation {
    fn apply(&self, mut operations: Operations) -> Operations {
        match self {
            Self::DrainServer(drained) => operations.server_drained = *drained,
            Self::DrainStorage(drained) => operations.storage_drained = *drained,
            Self::Prefer(partitions) => operations.preferred.extend(partitions),
            Self::Unprefer(partitions) => {
                operations.preferred.retain(|partition| !partitions.contains(partition));
            }
        }
        operations
    }
}

fn add_partitions(count: u32, current: Option<Fact>) -> Result<Fact, OperatorRefusal> {
    match current {
        Some(Fact::Cluster(cluster)) if cluster.partitions < count => {
            Ok(Fact::Cluster(Cluster { partitions: count, ..cluster }))
        }
        Some(Fact::Cluster(Cluster { partitions: now, .. })) => {
            Err(OperatorRefusal::NotMorePartitions { count, now })
        }
        _ => Err(OperatorRefusal::NoCluster),
    }
}

/// What is restored, or what is there if that is newer.
fn restored(fact: &Fact, current: Option<Fact>) -> Fact {
    let is_newer = match (&current, fact) {
        (Some(Fact::Partition(_, now)), Fact::Partition(_, then)) => {
            now.creation == then.creation && now.version > then.version
        }
        (Some(Fact::Assignment(_, now)), Fact::Assignment(_, then)) => {
            now.generation > then.generation
        }
        (Some(Fact::Epoch(_, now)), Fact::Epoch(_, then)) => now > then,
        _ => false,
    };
    current.filter(|_| is_newer).unwrap_or_else(|| fact.clone())
}

fn operations_of(fact: Option<Fact>) -> Operations {
    match fact {
        Some(Fact::Operations(_, operations)) => operations,
        _ => Operations::default(),
    }
}

fn consumers_of(fact: Option<Fact>) -> Consumers {
    match fact {
        Some(Fact::Consumers(_, consumers)) => consumers,
        _ => Consumers::default(),
    }
}
