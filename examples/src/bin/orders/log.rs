//! What orders and inventory write into the log, and where.

use serde::{Deserialize, Serialize};
use waltz_client::{PartitionId, PartitionLocalLock, partition_of};

/// One thing that happened to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A customer wants so many of an item.
    Placed(Order),
    /// They left the warehouse.
    Shipped(Order),
    /// There are not enough of them.
    Rejected(Order),
}

/// An order; its number is chosen by who places it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) number: i64,
    pub(crate) item: i64,
    pub(crate) quantity: i64,
}

impl Order {
    /// Whoever ships an item has to know what is left of it: all of an item is in one partition.
    pub(crate) fn partition(self, partitions: u32) -> PartitionId {
        partition_of(format!("item/{}", self.item), partitions)
    }

    /// Stands for what becomes of the order.
    pub(crate) fn lock(self) -> PartitionLocalLock {
        PartitionLocalLock::new("order", self.number.unsigned_abs())
    }

    /// Stands for what is left of the item.
    pub(crate) fn stock_lock(self) -> PartitionLocalLock {
        PartitionLocalLock::new("stock", self.item.unsigned_abs())
    }
}
