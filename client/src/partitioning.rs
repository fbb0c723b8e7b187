//! Which partition a key belongs to.
//!
//! A key's partition follows from a hash that never changes: FNV-1a over its bytes, SplitMix64's
//! finalizer, and the high half of its product with the number of partitions. So instances, programs
//! in other languages and later versions agree without asking anyone.
//!
//! Partitions can be added, but a key must stay where its history is. A [`Layouts`] therefore
//! remembers each number of partitions there ever was, and an application remembers with each thing it
//! creates which of these *layouts* was the newest then: in a column beside the key, or in the key itself.
//! Old keys go on by their old layout; new ones are spread over all partitions there are.

use thiserror::Error;
use waltz_core::hash::stable_hash;
use waltz_core::id::PartitionId;

/// The partition of a key among so many, of which there is at least one.
///
/// ```
/// use waltz_client::{PartitionId, partition_of};
///
/// assert_eq!(partition_of("customer/7", 16), PartitionId(9));
/// assert_eq!(partition_of(7_u64.to_le_bytes(), 16), PartitionId(10));
/// ```
///
/// # Panics
/// If there are no partitions.
pub fn partition_of(key: impl AsRef<[u8]>, partitions: u32) -> PartitionId {
    assert!(partitions > 0, "a cluster has at least one partition");
    let product = u128::from(stable_hash(key.as_ref().iter().copied())) * u128::from(partitions);
    PartitionId((product >> u64::BITS) as u32)
}

/// Names one of an application's [`Layouts`]: 0 is the first. Stored with what was created under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layout(pub u16);

/// How many partitions an application's keys were ever spread over, oldest first. It belongs into the
/// program or its configuration, the same for all instances; numbers are only ever added at the end.
///
/// ```
/// use waltz_client::{Layout, Layouts};
///
/// // The application began with 4 partitions and has 16 now.
/// let layouts = Layouts::new([4, 16])?;
/// let born_under = Layout(0);
///
/// let old = layouts.partition(born_under, "customer/7")?;
/// assert_eq!(old, Layouts::new([4])?.partition(born_under, "customer/7")?);
/// let new = layouts.partition(layouts.newest(), "customer/70001")?;
/// assert!(old.0 < 4 && new.0 < 16);
/// # Ok::<(), waltz_client::LayoutError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layouts(Vec<u32>);

/// Why there are no such layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// There is none at all.
    #[error("an application has at least one layout")]
    Empty,
    /// There are more than there are names for.
    #[error("{0} layouts: there can be 65,536")]
    TooMany(usize),
    /// Partitions are never taken away, and a layout with as many as the last would be the same.
    #[error("layout {index} has {partitions} partitions, no more than the one before it has")]
    NotGrown {
        /// Which layout.
        index: usize,
        /// How many partitions it has.
        partitions: u32,
    },
    /// The key was created under a layout that this program was not told of.
    #[error("layout {} is not known here; this program knows {known}", layout.0)]
    Unknown {
        /// The layout.
        layout: Layout,
        /// How many are known.
        known: usize,
    },
}

impl Layouts {
    /// Layouts with so many partitions, oldest first.
    ///
    /// # Errors
    /// When there is none, or one does not have more partitions than the one before it.
    pub fn new(partitions: impl IntoIterator<Item = u32>) -> Result<Self, LayoutError> {
        let layouts: Vec<_> = partitions.into_iter().collect();
        let mut last = 0;
        for (index, partitions) in layouts.iter().copied().enumerate() {
            if partitions <= last {
                return Err(LayoutError::NotGrown { index, partitions });
            }
            last = partitions;
        }
        match layouts.len() {
            0 => Err(LayoutError::Empty),
            many if many > usize::from(u16::MAX) + 1 => Err(LayoutError::TooMany(many)),
            _ => Ok(Self(layouts)),
        }
    }

    /// What new keys are created under.
    pub fn newest(&self) -> Layout {
        Layout((self.0.len() - 1) as u16)
    }

    /// The partition of a key that was created under this layout.
    ///
    /// # Errors
    /// When the layout is not known: the key was created by a newer program.
    pub fn partition(
        &self,
        layout: Layout,
        key: impl AsRef<[u8]>,
    ) -> Result<PartitionId, LayoutError> {
        let partitions = self.0.get(usize::from(layout.0));
        let unknown = LayoutError::Unknown { layout, known: self.0.len() };
        partitions.map(|partitions| partition_of(key, *partitions)).ok_or(unknown)
    }

    /// Where a key may be whose layout was not kept, each place once, the newest layout's first.
    pub fn candidates(&self, key: impl AsRef<[u8]>) -> Vec<PartitionId> {
        let mut candidates: Vec<_> = Vec::new();
        for partitions in self.0.iter().rev() {
            let partition = partition_of(&key, *partitions);
            if !candidates.contains(&partition) {
                candidates.push(partition);
            }
        }
        candidates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> impl Iterator<Item = String> {
        (0..20_000).map(|n| format!("customer/{n}"))
    }

    #[test]
    fn a_key_has_the_same_partition_for_ever() {
        let keys = ["", "a", "customer/7", "customer/8", "κλειδί"];
        let partitions = keys.map(|key| partition_of(key, 1000).0);
        assert_eq!(partitions, [957, 10, 618, 263, 826]);
        assert_eq!(partition_of("anything", 1), PartitionId(0));
    }

    #[test]
    fn keys_are_spread_evenly() {
        for partitions in [2, 7, 64] {
            let mut held = vec![0_u32; partitions as usize];
            keys().for_each(|key| held[partition_of(key, partitions).0 as usize] += 1);
            let even = 20_000 / partitions;
            let is_near = |count: &u32| count.abs_diff(even) < even / 4;
            assert!(held.iter().all(is_near), "{partitions}: {held:?}");
        }
    }

    #[test]
    fn old_keys_stay_where_they_are_and_new_ones_go_everywhere() {
        let (before, after) = (Layouts::new([4]).unwrap(), Layouts::new([4, 10]).unwrap());
        let old = before.newest();
        let mut used = vec![false; 10];
        for key in keys() {
            let place = before.partition(old, &key).unwrap();
            assert_eq!(after.partition(old, &key), Ok(place));
            let new = after.partition(after.newest(), &key).unwrap();
            used[new.0 as usize] = true;
            let candidates = after.candidates(&key);
            assert_eq!(candidates.first(), Some(&new));
            assert!(candidates.contains(&place) && candidates.len() <= 2);
        }
        assert_eq!(used, [true; 10]);
    }

    #[test]
    fn a_key_of_an_unknown_layout_is_refused() {
        let unknown = LayoutError::Unknown { layout: Layout(2), known: 2 };
        let layouts = Layouts::new([4, 16]).unwrap();
        assert_eq!(layouts.partition(Layout(2), "customer/7"), Err(unknown));
    }

    #[test]
    fn layouts_only_grow() {
        assert_eq!(Layouts::new([]), Err(LayoutError::Empty));
        let not_grown = |index, partitions| Err(LayoutError::NotGrown { index, partitions });
        assert_eq!(Layouts::new([0]), not_grown(0, 0));
        assert_eq!(Layouts::new([4, 4]), not_grown(1, 4));
        assert_eq!(Layouts::new([4, 16, 8]), not_grown(2, 8));
        assert_eq!(Layouts::new(1..=65_537), Err(LayoutError::TooMany(65_537)));
    }
}
