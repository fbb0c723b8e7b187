//! What is known of some ids of a log: ranges of ids, each with a value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{IdRange, Mark, TransactionId};
use crate::wire::MAX_RANGES;

/// Disjoint ranges, ascending. Neighbours of one value are one range, so that two maps that say the
/// same are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct RangeMap<V> {
    /// By first id: the last one, and the value.
    ranges: BTreeMap<TransactionId, (TransactionId, V)>,
}

impl<V> Default for RangeMap<V> {
    fn default() -> Self {
        Self { ranges: BTreeMap::new() }
    }
}

impl<V: Copy + PartialEq> RangeMap<V> {
    /// Whether there is no range.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Sets the value of every id of a range.
    pub(super) fn insert(&mut self, range: IdRange, value: V) {
        self.remove(range);
        let IdRange { mut first, mut last } = range;
        if let Some((&before, &(end, other))) = self.ranges.range(..first).next_back()
            && (Mark::at(end).next(), other) == (first, value)
        {
            first = before;
        }
        let after = Mark::at(last).next();
        if let Some(&(end, _)) = self.ranges.get(&after).filter(|(_, other)| *other == value) {
            self.ranges.remove(&after);
            last = end;
        }
        self.ranges.insert(first, (last, value));
    }

    /// Forgets every id of a range.
    pub(super) fn remove(&mut self, range: IdRange) {
        let before = self.ranges.range_mut(..range.first).next_back();
        let reaching = before.filter(|(_, (last, _))| *last >= range.first);
        let rest = reaching.map(|(_, (last, value))| {
            let rest = (*last, *value);
            *last = TransactionId(range.first.0 - 1);
            rest
        });
        self.keep_after(range, rest);
        while let Some((&first, _)) = self.ranges.range(range.first..=range.last).next() {
            let removed = self.ranges.remove(&first);
            self.keep_after(range, removed);
        }
    }

    fn keep_after(&mut self, range: IdRange, removed: Option<(TransactionId, V)>) {
        if let Some((last, value)) = removed.filter(|(last, _)| *last > range.last) {
            self.ranges.insert(range.last.next(), (last, value));
        }
    }

    /// Forgets everything after `keep`.
    pub(super) fn cut(&mut self, keep: Mark) {
        self.remove(IdRange { first: keep.next(), last: TransactionId(u64::MAX) });
    }

    /// Forgets everything up to `start`.
    pub(super) fn trim(&mut self, start: Mark) {
        if let Some(last) = start.id() {
            self.remove(IdRange { first: TransactionId::FIRST, last });
        }
    }

    /// The first range that has ids from `first` on: as much of it.
    pub(super) fn next_from(&self, first: TransactionId) -> Option<(IdRange, V)> {
        let reaching =
            self.ranges.range(..=first).next_back().filter(|(_, (end, _))| *end >= first);
        let found = reaching.or_else(|| self.ranges.range(first..).next());
        found.map(|(from, (last, value))| {
            (IdRange { first: (*from).max(first), last: *last }, *value)
        })
    }

    /// All ranges.
    pub(super) fn iter(&self) -> impl Iterator<Item = (IdRange, V)> {
        self.ranges
            .iter()
            .map(|(first, (last, value))| (IdRange { first: *first, last: *last }, *value))
    }
}

/// As many of the ranges as a message names.
pub(super) fn named_ranges(ranges: &RangeMap<()>) -> Vec<IdRange> {
    ranges.iter().map(|(range, ())| range).take(MAX_RANGES).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(first: u64, last: u64) -> IdRange {
        IdRange { first: TransactionId(first), last: TransactionId(last) }
    }

    #[derive(Debug, Clone)]
    enum Op {
        Insert(u64, u64, u8),
        Remove(u64, u64),
        Cut(u64),
        Trim(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0..20_u64, 0..8_u64, 0..2_u8).prop_map(|(first, more, v)| Op::Insert(first, more, v)),
            (0..20_u64, 0..8_u64).prop_map(|(first, more)| Op::Remove(first, more)),
            (0..25_u64).prop_map(Op::Cut),
            (0..9_u64).prop_map(Op::Trim),
        ]
    }

    proptest! {
        #[test]
        fn it_is_like_a_value_for_each_id(ops in prop::collection::vec(op(), 1..20)) {
            let (mut map, mut model) = (RangeMap::default(), [None; 40]);
            for op in ops {
                match op {
                    Op::Insert(first, more, value) => {
                        map.insert(range(first, first + more), value);
                        model[first as usize..=(first + more) as usize].fill(Some(value));
                    }
                    Op::Remove(first, more) => {
                        map.remove(range(first, first + more));
                        model[first as usize..=(first + more) as usize].fill(None);
                    }
                    Op::Cut(keep) => {
                        map.cut(Mark::before(TransactionId(keep)));
                        model[keep as usize..].fill(None);
                    }
                    Op::Trim(start) => {
                        map.trim(Mark::before(TransactionId(start)));
                        model[..start as usize].fill(None);
                    }
                }
                let mut built = RangeMap::default();
                for (id, value) in model.iter().enumerate() {
                    if let Some(value) = value {
                        built.insert(range(id as u64, id as u64), *value);
                    }
                    let at = TransactionId(id as u64);
                    let found = map.next_from(at).filter(|(range, _)| range.first == at);
                    prop_assert_eq!(found.map(|(_, value)| value), *value);
                }
                prop_assert_eq!(&map, &built);
            }
        }
    }
}
