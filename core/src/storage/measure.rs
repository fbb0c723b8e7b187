//! What a storage node says of itself.

use super::Storage;
use super::replica::Replica;
use crate::measure::{StorageMeasurements, StoredReplica};

impl Storage {
    /// What is done for all replicas.
    pub fn measure(&self) -> StorageMeasurements {
        let (scrub_rounds, scrub_bytes) = self.scrub.progress();
        StorageMeasurements {
            checkpoints: self.checkpoints.begun(),
            scrub_rounds,
            scrub_bytes,
            moved_bytes: self.moves.bytes(),
            is_full: self.is_full,
        }
    }

    /// Every replica, ascending by partition.
    pub fn measure_replicas(&self) -> Vec<StoredReplica> {
        self.replicas().map(|(_, replica)| measured(replica)).collect()
    }
}

fn measured(replica: &Replica) -> StoredReplica {
    StoredReplica {
        partition: replica.partition(),
        last: replica.last(),
        low_water: replica.low_water(),
        damaged: replica.damaged_records(),
    }
}
