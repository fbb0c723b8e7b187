//! What operators want of a node, and where nodes stand.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::PartitionId;

/// The longest name of a region or zone, in bytes.
pub const MAX_LOCALITY_NAME: usize = 64;

/// What operators want of a node. Unlike its registration it is there until an operator takes it
/// back, whether the node runs or not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Operations {
    /// Whether it serves nothing while another node can.
    pub server_drained: bool,
    /// Whether it gets no new replicas.
    pub storage_drained: bool,
    /// The partitions it is to serve rather than others, beside those it prefers by itself.
    pub preferred: BTreeSet<PartitionId>,
}

/// Where a node stands, and how much it can keep. Permanent, so that the place of a dead node's
/// replicas is known.
///
/// ```
/// use waltz_core::membership::Locality;
/// let locality = Locality { zone: Some("eu-1a".to_owned()), ..Locality::default() };
/// assert!(locality.check().is_ok());
/// assert!(Locality { region: Some(String::new()), ..locality }.check().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Locality {
    /// The region.
    pub region: Option<String>,
    /// The zone within the region: what fails together.
    pub zone: Option<String>,
    /// How much its disk is to keep, in bytes; replicas are spread in proportion.
    pub capacity: Option<u64>,
}

/// A region or zone can't have this name, or a disk this capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LocalityError {
    /// The name is empty or too long.
    #[error("the name of a region or zone has 1 to {MAX_LOCALITY_NAME} bytes")]
    Name,
    /// Nothing can be kept.
    #[error("a disk's capacity is at least one byte")]
    Capacity,
}

impl Locality {
    /// Whether it can be registered.
    ///
    /// # Errors
    /// What can't be.
    pub fn check(&self) -> Result<(), LocalityError> {
        let mut names = self.region.iter().chain(&self.zone);
        if !names.all(|name| is_locality_name(name)) {
            return Err(LocalityError::Name);
        }
        match self.capacity {
            Some(0) => Err(LocalityError::Capacity),
            _ => Ok(()),
        }
    }
}

/// Whether a region or zone may have this name.
pub fn is_locality_name(name: &str) -> bool {
    (1..=MAX_LOCALITY_NAME).contains(&name.len())
}
