//! What this node tells an operator's tools.

use super::Body;
use crate::id::{NodeId, PartitionId};
use crate::membership::Control;
use crate::storage::Replica;
use crate::wire::{NodeInspection, NodeRegistration, ReplicaInspection};

impl Body {
    /// The cluster's record as this node knows it, and the replicas that it keeps.
    pub(super) fn inspection(&self) -> NodeInspection {
        let directory = self.agent.directory();
        let disk = self.storage.identity().filter(|_| self.config.roles.storage);
        let nodes = directory.known_nodes();
        NodeInspection {
            node: self.config.node,
            storage: disk.map(|disk| disk.storage),
            suspect: self.storage.is_suspect(),
            coordinator: self.agent.is_synced(),
            cluster: directory.cluster(),
            controller: self.controller(),
            nodes: nodes.into_iter().map(|node| self.registration(node)).collect(),
            regions: directory
                .regions()
                .map(|(partition, region)| (partition, region.to_owned()))
                .collect(),
            generations: directory.generations().collect(),
            replicas: self.storage.replicas().map(replica).collect(),
        }
    }

    /// With an embedded coordinator only its own node knows that it controls.
    fn controller(&self) -> Option<NodeId> {
        let elected = self.agent.directory().controller();
        let is_alone = matches!(self.agent.control(), Control::Alone(_));
        elected.or_else(|| is_alone.then_some(self.config.node))
    }

    fn registration(&self, node: NodeId) -> NodeRegistration {
        let directory = self.agent.directory();
        let (live, storage) = (directory.node(node), directory.storage(node));
        NodeRegistration {
            node,
            address: directory.address(node).cloned(),
            live: live.is_some(),
            server: live.is_some_and(|record| record.server),
            storage: storage.map(|record| record.storage),
            used: storage.is_some_and(|record| record.used),
            locality: directory.locality(node).cloned().unwrap_or_default(),
            operations: directory.operations(node).cloned().unwrap_or_default(),
            preferred: live.map(|record| record.preferred.clone()).unwrap_or_default(),
        }
    }
}

fn replica((partition, replica): (PartitionId, &Replica)) -> ReplicaInspection {
    let (summary, set) = (replica.summary(), replica.summary().set());
    ReplicaInspection {
        partition,
        creation: replica.creation(),
        promise: replica.promise(),
        normal: replica.normal(),
        start: summary.start,
        last: replica.last(),
        low_water: replica.low_water(),
        version: set.version,
        members: set.replicas.clone(),
        damaged: replica.damaged_records(),
    }
}
