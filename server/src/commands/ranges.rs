//! Partitions as people name them.

use std::collections::BTreeSet;
use std::str::FromStr;

use thiserror::Error;
use waltz_client::{ClusterView, PartitionId};
use waltz_core::membership::MAX_PARTITIONS;

/// Partitions by numbers and ranges, such as `0`, `0-3` or `0-3,7`, or `all` of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PartitionRanges {
    /// All that the cluster has.
    All,
    /// These.
    Some(BTreeSet<PartitionId>),
}

/// Why partitions can't be told from a text or found in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RangesError {
    /// It is no list of ranges.
    #[error("write partitions as all, 0, 0-3 or 0-3,7, not {0:?}")]
    Malformed(String),
    /// The cluster is not formed.
    #[error("the cluster has no partitions yet; it waits for its storage nodes")]
    NoPartitions,
    /// The cluster has fewer.
    #[error("the cluster has no partition {partition}; {present}", partition = partition.0)]
    Unknown {
        /// What was named.
        partition: PartitionId,
        /// What there is.
        present: String,
    },
}

impl PartitionRanges {
    /// The partitions that are meant in this cluster, ascending.
    ///
    /// # Errors
    /// When it has none, or not all that are named.
    pub(crate) fn resolve(&self, view: &ClusterView) -> Result<BTreeSet<PartitionId>, RangesError> {
        let known: BTreeSet<_> = view.partitions.iter().map(|view| view.partition).collect();
        let Some(last) = known.last() else { return Err(RangesError::NoPartitions) };
        let Self::Some(named) = self else { return Ok(known) };
        match named.difference(&known).next() {
            None => Ok(named.clone()),
            Some(&partition) => {
                let present = match last.0 {
                    0 => "its only one is 0".to_owned(),
                    last => format!("it has 0 to {last}"),
                };
                Err(RangesError::Unknown { partition, present })
            }
        }
    }
}

impl FromStr for PartitionRanges {
    type Err = RangesError;

    fn from_str(text: &str) -> Result<Self, RangesError> {
        if text == "all" {
            return Ok(Self::All);
        }
        let wrong = || RangesError::Malformed(text.to_owned());
        let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
        let mut partitions = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last || last >= MAX_PARTITIONS {
                return Err(wrong());
            }
            partitions.extend((first..=last).map(PartitionId));
        }
        Ok(Self::Some(partitions))
    }
}

/// Partitions as people write them.
pub(crate) fn written(partitions: &BTreeSet<PartitionId>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for partition in partitions {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == partition.0 => *last = partition.0,
            _ => ranges.push((partition.0, partition.0)),
        }
    }
    let range = |(first, last): (u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    match ranges.is_empty() {
        true => "none".to_owned(),
        false => ranges.into_iter().map(range).collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests {
    use waltz_client::PartitionView;
    use waltz_core::id::{Generation, ReplicaSet, SetVersion};

    use super::*;

    fn view(partitions: u32) -> ClusterView {
        let view = |partition| PartitionView {
            partition: PartitionId(partition),
            generation: Generation(1),
            owner: None,
            version: SetVersion::FIRST,
            replicas: ReplicaSet(Vec::new()),
        };
        ClusterView { partitions: (0..partitions).map(view).collect(), nodes: Vec::new() }
    }

    fn read(text: &str) -> Result<Vec<u32>, RangesError> {
        let partitions = text.parse::<PartitionRanges>()?.resolve(&view(8))?;
        Ok(partitions.into_iter().map(|partition| partition.0).collect())
    }

    #[test]
    fn partitions_are_numbers_ranges_or_all() {
        assert_eq!(read("3"), Ok(vec![3]));
        assert_eq!(read("4-6,1,5"), Ok(vec![1, 4, 5, 6]));
        assert_eq!(read("all"), Ok((0..8).collect()));
    }

    #[test]
    fn ranges_are_written_as_they_are_read() {
        for text in ["0", "0-3", "0-1,3,5-7"] {
            let partitions = text.parse::<PartitionRanges>().and_then(|all| all.resolve(&view(8)));
            assert_eq!(partitions.map(|partitions| written(&partitions)), Ok(text.to_owned()));
        }
        assert_eq!(written(&BTreeSet::new()), "none");
    }

    #[test]
    fn what_is_no_range_is_refused_with_how_one_is_written() {
        for text in ["", "a", "1-", "-1", "3-1", "0-4294967295", "1,,2", "1 2", "all,1", "All"] {
            assert_eq!(read(text), Err(RangesError::Malformed(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn partitions_that_a_cluster_lacks_are_named_with_those_it_has() {
        let error = read("6-9").expect_err("there is no 8");
        assert_eq!(error.to_string(), "the cluster has no partition 8; it has 0 to 7");
        let ranges = PartitionRanges::All;
        assert_eq!(ranges.resolve(&view(0)), Err(RangesError::NoPartitions));
    }
}
