//! The keys and what their values say.
//!
//! A value is a version byte and the postcard encoding of that version. A key that no [`Name`]
//! has, and a value of a later version, are left alone.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::coordinator::Key;
use crate::id::{
    CreationId, Epoch, Generation, NodeId, PartitionId, ReplicaSet, SetVersion, StorageId,
};
use crate::io::Address;
use crate::membership::{Consumers, Locality, Operations};
use crate::wire::Version;

/// The most partitions of a cluster: what is told of all of them must fit one long message.
pub const MAX_PARTITIONS: u32 = 10_240;
/// The most that everyone can be told of: with more, all have to know [`Version::LONG`].
pub const MAX_SHORT_PARTITIONS: u32 = 2048;
/// The most replicas of a partition.
pub const MAX_REPLICAS: u32 = 7;

const VERSION: u8 = 1;

/// What a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Name {
    /// The cluster's figures.
    Cluster,
    /// A live node.
    Node(NodeId),
    /// A node's disk.
    Storage(NodeId),
    /// A partition.
    Partition(PartitionId),
    /// A partition's server.
    Assignment(PartitionId),
    /// A partition's epoch counter.
    Epoch(PartitionId),
    /// The replicas a partition should have.
    Target(PartitionId),
    /// A partition's registered consumers.
    Consumers(PartitionId),
    /// Who controls, where that is elected.
    Controller,
    /// What operators want of a node.
    Operations(NodeId),
    /// Where a node stands.
    Locality(NodeId),
    /// The region a partition is to be served in.
    Region(PartitionId),
    /// How busy partitions are.
    Loads,
}

impl Name {
    /// The key.
    pub fn key(self) -> Key {
        match self {
            Self::Cluster => "cluster".to_owned(),
            Self::Node(node) => format!("nodes/{}", node.0),
            Self::Storage(node) => format!("storages/{}", node.0),
            Self::Partition(partition) => format!("partitions/{}", partition.0),
            Self::Assignment(partition) => format!("assignments/{}", partition.0),
            Self::Epoch(partition) => format!("epochs/{}", partition.0),
            Self::Target(partition) => format!("targets/{}", partition.0),
            Self::Consumers(partition) => format!("consumers/{}", partition.0),
            Self::Controller => "controller".to_owned(),
            Self::Operations(node) => format!("operations/{}", node.0),
            Self::Locality(node) => format!("localities/{}", node.0),
            Self::Region(partition) => format!("regions/{}", partition.0),
            Self::Loads => "loads".to_owned(),
        }
    }

    /// The name that has exactly this key, if one has.
    pub fn parse(key: &str) -> Option<Self> {
        let name = match key.split_once('/') {
            None if key == "controller" => Self::Controller,
            None if key == "loads" => Self::Loads,
            None => Self::Cluster,
            Some((kind, number)) => {
                let number = number.parse().ok()?;
                match kind {
                    "nodes" => Self::Node(NodeId(number)),
                    "storages" => Self::Storage(NodeId(number)),
                    "partitions" => Self::Partition(PartitionId(number)),
                    "assignments" => Self::Assignment(PartitionId(number)),
                    "epochs" => Self::Epoch(PartitionId(number)),
                    "targets" => Self::Target(PartitionId(number)),
                    "consumers" => Self::Consumers(PartitionId(number)),
                    "operations" => Self::Operations(NodeId(number)),
                    "localities" => Self::Locality(NodeId(number)),
                    "regions" => Self::Region(PartitionId(number)),
                    _ => return None,
                }
            }
        };
        // "nodes/07" is not how node 7 is written.
        (name.key() == key).then_some(name)
    }
}

/// The cluster's figures. Partitions are added, and never taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// How many partitions.
    pub partitions: u32,
    /// How many replicas each has when it is created.
    pub replicas: u32,
}

impl Cluster {
    /// The oldest version of the protocol that can tell of so many partitions.
    pub fn needs(partitions: u32) -> Version {
        if partitions > MAX_SHORT_PARTITIONS { Version::LONG } else { Version::OLDEST }
    }
}

/// A live node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Where it listens, if it does.
    pub address: Option<Address>,
    /// Its disk, if it keeps logs.
    pub storage: Option<StorageId>,
    /// Whether it serves partitions.
    pub server: bool,
    /// The partitions it would rather serve than others.
    pub preferred: BTreeSet<PartitionId>,
}

/// A node's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageRecord {
    /// The disk.
    pub storage: StorageId,
    /// Where its node listened when it registered.
    pub address: Option<Address>,
    /// Whether it belongs to a cluster that was formed.
    pub used: bool,
}

/// A partition: its creation, and the newest replica set that a server has told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionMeta {
    /// Names its creation.
    pub creation: CreationId,
    /// The version of `replicas`; grows.
    pub version: SetVersion,
    /// Whom to ask first; the set that counts is in the log.
    pub replicas: ReplicaSet,
}

/// The replicas that an operator wants a partition to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The replicas, each with its very disk.
    pub members: ReplicaSet,
    /// A forced recovery: `members` are the survivors, and the partition opens over them alone
    /// for as long as no replica set newer than this one is known.
    pub force_above: Option<SetVersion>,
}

/// Who serves a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The server.
    pub server: NodeId,
    /// Grows whenever the server changes.
    pub generation: Generation,
}

/// What a key and its value say together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// The cluster's figures.
    Cluster(Cluster),
    /// A live node.
    Node(NodeId, NodeRecord),
    /// A node's disk.
    Storage(NodeId, StorageRecord),
    /// A partition.
    Partition(PartitionId, PartitionMeta),
    /// A partition's server.
    Assignment(PartitionId, Assignment),
    /// The last epoch handed out in a partition.
    Epoch(PartitionId, Epoch),
    /// The replicas a partition should have.
    Target(PartitionId, Target),
    /// A partition's registered consumers.
    Consumers(PartitionId, Consumers),
    /// The node that controls, for as long as its lease lives.
    Controller(NodeId),
    /// What operators want of a node.
    Operations(NodeId, Operations),
    /// Where a node stands.
    Locality(NodeId, Locality),
    /// The region a partition is to be served in.
    Region(PartitionId, String),
    /// How busy partitions are, as measured last: any unit, the same for all.
    Loads(BTreeMap<PartitionId, u32>),
}

/// Why a value can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// There is none.
    #[error("the value is empty")]
    Empty,
    /// A later program wrote it.
    #[error("the value has version {0}; this program reads version {VERSION}: upgrade this node")]
    Version(u8),
    /// It is no value of its version.
    #[error("the value can't be decoded: {0}")]
    Malformed(String),
}

impl Fact {
    /// What it is about.
    pub fn name(&self) -> Name {
        match self {
            Self::Cluster(_) => Name::Cluster,
            Self::Node(node, _) => Name::Node(*node),
            Self::Storage(node, _) => Name::Storage(*node),
            Self::Partition(partition, _) => Name::Partition(*partition),
            Self::Assignment(partition, _) => Name::Assignment(*partition),
            Self::Epoch(partition, _) => Name::Epoch(*partition),
            Self::Target(partition, _) => Name::Target(*partition),
            Self::Consumers(partition, _) => Name::Consumers(*partition),
            Self::Controller(_) => Name::Controller,
            Self::Operations(node, _) => Name::Operations(*node),
            Self::Locality(node, _) => Name::Locality(*node),
            Self::Region(partition, _) => Name::Region(*partition),
            Self::Loads(_) => Name::Loads,
        }
    }

    /// The value that says it.
    pub fn value(&self) -> Bytes {
        match self {
            Self::Cluster(cluster) => encode(cluster),
            Self::Node(_, record) => encode(record),
            Self::Storage(_, record) => encode(record),
            Self::Partition(_, meta) => encode(meta),
            Self::Assignment(_, assignment) => encode(assignment),
            Self::Epoch(_, epoch) => encode(epoch),
            Self::Target(_, target) => encode(target),
            Self::Consumers(_, consumers) => encode(consumers),
            Self::Controller(node) => encode(node),
            Self::Operations(_, operations) => encode(operations),
            Self::Locality(_, locality) => encode(locality),
            Self::Region(_, region) => encode(region),
            Self::Loads(loads) => encode(loads),
        }
    }

    /// What a value says under a name.
    ///
    /// # Errors
    /// When it is of a later version or no value at all.
    pub fn decode(name: Name, value: &[u8]) -> Result<Self, SchemaError> {
        Ok(match name {
            Name::Cluster => Self::Cluster(checked(decode(value)?)?),
            Name::Node(node) => Self::Node(node, decode(value)?),
            Name::Storage(node) => Self::Storage(node, decode(value)?),
            Name::Partition(partition) => Self::Partition(partition, decode(value)?),
            Name::Assignment(partition) => Self::Assignment(partition, decode(value)?),
            Name::Epoch(partition) => Self::Epoch(partition, decode(value)?),
            Name::Target(partition) => Self::Target(partition, decode(value)?),
            Name::Consumers(partition) => Self::Consumers(partition, decode(value)?),
            Name::Controller => Self::Controller(decode(value)?),
            Name::Operations(node) => Self::Operations(node, decode(value)?),
            Name::Locality(node) => Self::Locality(node, decode(value)?),
            Name::Region(partition) => Self::Region(partition, decode(value)?),
            Name::Loads => Self::Loads(decode(value)?),
        })
    }
}

fn encode(value: &impl Serialize) -> Bytes {
    // The schema holds only types that postcard can encode.
    postcard::to_extend(value, vec![VERSION]).expect("the schema's values serialize").into()
}

fn decode<T: for<'de> Deserialize<'de>>(value: &[u8]) -> Result<T, SchemaError> {
    match value.split_first() {
        None => Err(SchemaError::Empty),
        Some((&VERSION, rest)) => match postcard::take_from_bytes(rest) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => {
                Err(SchemaError::Malformed(format!("{} bytes are left over", rest.len())))
            }
            Err(error) => Err(SchemaError::Malformed(error.to_string())),
        },
        Some((&version, _)) => Err(SchemaError::Version(version)),
    }
}

fn checked(cluster: Cluster) -> Result<Cluster, SchemaError> {
    if (1..=MAX_PARTITIONS).contains(&cluster.partitions)
        && (1..=MAX_REPLICAS).contains(&cluster.replicas)
    {
        return Ok(cluster);
    }
    let Cluster { partitions, replicas } = cluster;
    Err(SchemaError::Malformed(format!("{partitions} partitions of {replicas} replicas")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TransactionId;

    fn facts() -> Vec<Fact> {
        let partition = PartitionId(7);
        let replicas =
            ReplicaSet(vec![crate::id::Member { node: NodeId(2), storage: StorageId(u64::MAX) }]);
        let mut consumers = Consumers::default();
        consumers.advance("audit", TransactionId(7).mark()).expect("there is room");
        vec![
            Fact::Cluster(Cluster { partitions: 4, replicas: 3 }),
            Fact::Node(
                NodeId(3),
                NodeRecord {
                    address: Some(Address("host:1".to_owned())),
                    storage: None,
                    server: true,
                    preferred: [partition].into(),
                },
            ),
            Fact::Storage(
                NodeId(3),
                StorageRecord { storage: StorageId(5), address: None, used: true },
            ),
            Fact::Partition(
                partition,
                PartitionMeta {
                    creation: CreationId(9),
                    version: SetVersion(3),
                    replicas: replicas.clone(),
                },
            ),
            Fact::Target(partition, Target { members: replicas, force_above: Some(SetVersion(4)) }),
            Fact::Consumers(partition, consumers),
            Fact::Assignment(
                partition,
                Assignment { server: NodeId(1), generation: Generation(2) },
            ),
            Fact::Epoch(partition, Epoch(11)),
            Fact::Controller(NodeId(3)),
            Fact::Operations(
                NodeId(3),
                Operations {
                    server_drained: true,
                    storage_drained: false,
                    preferred: [partition].into(),
                },
            ),
            Fact::Locality(
                NodeId(3),
                Locality {
                    region: Some("eu".to_owned()),
                    zone: Some("eu-1".to_owned()),
                    capacity: Some(1 << 40),
                },
            ),
            Fact::Region(partition, "eu".to_owned()),
            Fact::Loads([(partition, 7)].into()),
        ]
    }

    #[test]
    fn facts_survive_the_way_through_key_and_value() {
        for fact in facts() {
            let key = fact.name().key();
            let name = Name::parse(&key).expect("a name's key parses");
            assert_eq!(Fact::decode(name, &fact.value()), Ok(fact), "{key}");
        }
    }

    #[test]
    fn keys_of_no_name_are_none() {
        for key in
            ["", "nodes", "nodes/", "nodes/07", "nodes/+7", "nodes/1/2", "nodes/4294967296", "x/1"]
        {
            assert_eq!(Name::parse(key), None, "{key}");
        }
    }

    #[test]
    fn values_of_no_version_are_refused() {
        let name = Name::Epoch(PartitionId(0));
        assert_eq!(Fact::decode(name, &[]), Err(SchemaError::Empty));
        assert_eq!(Fact::decode(name, &[2, 1]), Err(SchemaError::Version(2)));
        for value in [&[1][..], &[1, 5, 0]] {
            assert!(matches!(Fact::decode(name, value), Err(SchemaError::Malformed(_))));
        }
    }

    #[test]
    fn impossible_figures_are_refused() {
        for (partitions, replicas) in [(0, 3), (4, 0), (MAX_PARTITIONS + 1, 3), (u32::MAX, 3)] {
            let value = Fact::Cluster(Cluster { partitions, replicas }).value();
            let decoded = Fact::decode(Name::Cluster, &value);
            assert!(matches!(decoded, Err(SchemaError::Malformed(_))), "{partitions} {replicas}");
        }
    }
}
