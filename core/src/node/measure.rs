//! What a node says of itself.

use super::{Body, CoordinatorAt, Node};
use crate::measure::Measurements;
use crate::membership::Consumers;

impl Node {
    /// Everything that can be counted of the node. It changes nothing, and is meant to be asked for
    /// between turns, now and then: it goes over everything that the node serves and keeps.
    pub fn measure(&self) -> Measurements {
        self.body.measure()
    }
}

impl Body {
    fn measure(&self) -> Measurements {
        let directory = self.agent.directory();
        let served = self.partitions.iter().map(|(partition, server)| {
            let consumers = directory.consumers(*partition);
            server.measure(consumers.into_iter().flat_map(Consumers::iter))
        });
        Measurements {
            is_registered: self.agent.is_registered(),
            is_synced: self.agent.is_synced(),
            controls: match self.config.coordinator {
                CoordinatorAt::Here(_) => self.coordinator.is_some(),
                CoordinatorAt::Remote(_) => false,
                CoordinatorAt::Outside { .. } => self.agent.controls(),
            },
            cluster_partitions: directory.partitions().count() as u64,
            is_suspect: self.storage.is_suspect(),
            is_stopped: self.stopped,
            connections: self.links.count(),
            partitions: served.collect(),
            recent_bytes: self.recent.bytes() as u64,
            replicas: self.storage.measure_replicas(),
            storage: self.storage.measure(),
        }
    }
}
