//! The seats of a theatre: a service that keeps its state in memory.
//!
//! It is here for its tests, `tests/reservations.rs`, which show how a service is tested on a cluster
//! in the same process. Whoever keeps nothing on a disk starts with an empty memory, and reads the
//! log from its beginning.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use waltz_client::{
    CallbackError, ClientCallbacks, Json, Mark, PartitionId, PartitionLocalLock, Transaction,
    TransactionBuilder, TransactionContext, partition_of,
};

/// What the log says: who has a seat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// The seat.
    pub seat: u64,
    /// Who sits there.
    pub guest: String,
}

/// Who sits where, as one instance of the service knows it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Seating(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    guests: BTreeMap<u64, String>,
    applied: BTreeMap<PartitionId, Mark>,
}

impl Seating {
    /// Who has a seat.
    pub fn guest(&self, seat: u64) -> Option<String> {
        self.plan().guests.get(&seat).cloned()
    }

    /// All seats that are taken.
    pub fn guests(&self) -> BTreeMap<u64, String> {
        self.plan().guests.clone()
    }

    /// A context that gives a seat to a guest, if nobody has it.
    pub fn reserve(&self, seat: u64, guest: impl Into<String>) -> Reserve {
        Reserve { seating: self.clone(), reserved: Reserved { seat, guest: guest.into() } }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientCallbacks for Seating {
    async fn high_water_mark(&self, partition: PartitionId) -> Result<Mark, CallbackError> {
        Ok(self.plan().applied.get(&partition).copied().unwrap_or(Mark::NONE))
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        let Reserved { seat, guest } = transaction.data(&Json).await?;
        // Both under one lock, as a database would have them in one transaction.
        let mut plan = self.plan();
        plan.guests.insert(seat, guest);
        plan.applied.insert(transaction.partition(), Mark::at(transaction.id()));
        Ok(())
    }
}

/// Gives a seat to a guest, if nobody has it.
#[derive(Debug)]
pub struct Reserve {
    seating: Seating,
    reserved: Reserved,
}

impl TransactionContext for Reserve {
    fn partition(&self, partitions: u32) -> PartitionId {
        partition_of(format!("seat/{}", self.reserved.seat), partitions)
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        let seat = self.reserved.seat;
        if self.seating.guest(seat).is_some() {
            return Ok(false);
        }
        builder.write_lock(PartitionLocalLock::new("seat", seat)).data(&Json, &self.reserved)?;
        Ok(true)
    }
}
