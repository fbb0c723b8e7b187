//! What a storage node says of itself.

use super::Storage;
use super::decide::Hosted;
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
        self.hosted.values().map(|hosted| measured(hosted)).collect()
    }
}

fn measured(hosted: &Hosted) -> StoredReplica {
    let replica = &hosted.replica;
    StoredReplica {
        partition: replica.partition(),
        last: replica.last(),
        low_water: replica.low_water(),
        damaged: replica.damaged_records(),
        bytes: replica.stored_bytes(),
        is_over_quota: hosted.is_over_quota(),
    }
}
