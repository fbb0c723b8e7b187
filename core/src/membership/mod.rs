//! Who is in the cluster and who serves what: a typed schema over the coordinator's keys.
//!
//! ```text
//! cluster            how many partitions and replicas         permanent
//! nodes/{node}       address, disk, whether it serves         lives with the node's lease
//! storages/{node}    the disk a node has and its address      permanent
//! partitions/{p}     creation and newest known replica set    permanent
//! assignments/{p}    the server and its generation            permanent
//! epochs/{p}         the last epoch handed out                permanent
//! targets/{p}        the replicas that an operator wants      permanent
//! consumers/{p}      who reads it, and up to where            permanent
//! controller         who controls, where that is elected      lives with the node's lease
//! localities/{node}  region, zone, capacity                   permanent
//! operations/{node}  drained, preferred: as operators want    permanent
//! regions/{p}        where operators want it served           permanent
//! ```
//!
//! Every node has an [`Agent`]: it registers the node, keeps its lease alive, mirrors the keys in a
//! [`Directory`] and hands out epochs. One of them also controls: it creates the partitions and
//! assigns them by [`assign`]. With the embedded coordinator that is the agent of the node that hosts
//! it; with another one the nodes elect it, by whose lease the controller's key lives.
//!
//! What operators and servers want recorded is an [`Edit`]: any agent takes it, and writes it for as
//! long as it takes. The replica sets told here are hints: the set that counts is in the log.
//!
//! All of it is written by compare-and-set, so two controllers at once, or a request of a former
//! life that arrives late, can't do harm. While the coordinator is away the directory stays as it
//! was: stale, and used. No safety rests on any of it; an epoch that was handed out is not handed
//! out again unless the coordinator's state itself is set back.

mod agent;
mod assign;
mod consumers;
mod controller;
mod directory;
mod edit;
mod edits;
mod mirror;
mod operations;
mod orders;
mod placement;
mod schema;

#[cfg(test)]
mod tests;

pub use agent::{Agent, AgentConfig, AgentEvent, LEASE_TTL};
pub use assign::assign;
pub use consumers::{Consumers, MAX_CONSUMER_NAME, MAX_CONSUMERS};
pub use controller::{Control, ControllerConfig, ControllerConfigError};
pub use directory::Directory;
pub use edit::{Edit, Operation};
pub use edits::EditId;
pub use operations::{Locality, LocalityError, MAX_LOCALITY_NAME, Operations, is_locality_name};
pub use orders::edits_of;
pub use placement::{Placed, PlacementError, PlacementStorage, PlacementWish, place, relieve};
pub use schema::{
    Assignment, Cluster, Fact, MAX_PARTITIONS, MAX_REPLICAS, MAX_SHORT_PARTITIONS, Name,
    NodeRecord, PartitionMeta, SchemaError, StorageRecord, Target,
};
