//! Runs in a few bytes each, as there is one for every entry of a log that is kept.
//!
//! Runs are in blocks, and each is told by how it differs from the one before it: most often it
//! begins where that one ends, has as many records and as many bytes, and lies somewhat later in the
//! same segment. Only the place after that one is told then. A block is found by a binary search,
//! and a run in it by going over the block.
//!
//! Invariants: first ids ascend; no block is empty; `last` is the last block's last run. Two that
//! hold the same runs are equal, whatever their blocks are.

mod coding;

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::StoredRun;
use crate::id::TransactionId;
use crate::journal::Place;

/// How many runs a block has at most: what a search may have to go over.
const BLOCK_RUNS: u8 = 64;

/// Runs by their first ids.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<StoredRun>", into = "Vec<StoredRun>")]
pub(super) struct PackedRuns {
    blocks: VecDeque<Block>,
    last: Option<StoredRun>,
    /// Of all bodies together.
    stored_bytes: u64,
}

/// Neighbouring runs.
#[derive(Debug, Clone)]
struct Block {
    /// Where the first one begins.
    first: TransactionId,
    runs: u8,
    bytes: Vec<u8>,
}

impl Block {
    /// A block that has a single run.
    fn of(run: StoredRun) -> Self {
        let mut block = Self { first: run.first, runs: 0, bytes: Vec::new() };
        block.push(&block.before(), &run);
        block
    }

    /// What the first run is told by.
    fn before(&self) -> StoredRun {
        let place = Place { segment: 0, offset: 0, length: 0 };
        StoredRun { first: self.first, count: 0, place }
    }

    /// Adds a run; `last` is the one before it.
    fn push(&mut self, last: &StoredRun, run: &StoredRun) {
        coding::write(&mut self.bytes, last, run);
        self.runs += 1;
        if self.runs == BLOCK_RUNS {
            self.bytes.shrink_to_fit();
        }
    }

    fn iter(&self) -> impl Iterator<Item = StoredRun> {
        let (mut bytes, mut before) = (self.bytes.as_slice(), self.before());
        std::iter::from_fn(move || {
            before = coding::read(&mut bytes, &before)?;
            Some(before)
        })
    }

    /// Writes the block anew; at least one run has to be left.
    fn edit(&mut self, edit: impl FnMut(StoredRun) -> Option<StoredRun>) {
        let mut runs = self.iter().filter_map(edit);
        let mut last = runs.next().expect("a block that is kept has a run");
        let mut block = Self::of(last);
        for run in runs {
            block.push(&last, &run);
            last = run;
        }
        block.bytes.shrink_to_fit();
        *self = block;
    }
}

impl PackedRuns {
    /// Adds a run that begins after all others.
    pub(super) fn push_back(&mut self, run: StoredRun) {
        self.stored_bytes += run.bytes();
        match (self.last.replace(run), self.blocks.back_mut()) {
            (Some(last), Some(block)) if block.runs < BLOCK_RUNS => block.push(&last, &run),
            _ => self.blocks.push_back(Block::of(run)),
        }
    }

    /// The first run.
    pub(super) fn front(&self) -> Option<StoredRun> {
        self.iter().next()
    }

    /// The last run.
    pub(super) fn back(&self) -> Option<StoredRun> {
        self.last
    }

    /// How many bytes the bodies of all runs have together.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Every run.
    pub(super) fn iter(&self) -> impl Iterator<Item = StoredRun> {
        self.blocks.iter().flat_map(Block::iter)
    }

    /// Runs up to the last one, from some run on that begins at or before `id` if there is one.
    pub(super) fn near(&self, id: TransactionId) -> impl Iterator<Item = StoredRun> {
        let block = self.blocks.partition_point(|block| block.first <= id).saturating_sub(1);
        self.blocks.range(block..).flat_map(Block::iter)
    }

    /// Runs that begin at `id` or later.
    pub(super) fn beginning_from(&self, id: TransactionId) -> impl Iterator<Item = StoredRun> {
        self.near(id).skip_while(move |run| run.first < id)
    }

    /// Forgets runs that begin at `id` or later.
    pub(super) fn truncate(&mut self, id: TransactionId) {
        if self.last.is_none_or(|last| last.first < id) {
            return;
        }
        let cut: u64 = self.beginning_from(id).map(|run| run.bytes()).sum();
        self.stored_bytes -= cut;
        self.blocks.truncate(self.blocks.partition_point(|block| block.first < id));
        if let Some(block) = self.blocks.back_mut() {
            block.edit(|run| Some(run).filter(|run| run.first < id));
        }
        self.last = self.blocks.back().and_then(|block| block.iter().last());
    }

    /// Forgets runs before the last one that begins at or before `id`.
    pub(super) fn trim(&mut self, id: TransactionId) {
        let passed = self.blocks.partition_point(|block| block.first <= id);
        for block in self.blocks.drain(..passed.saturating_sub(1)) {
            self.stored_bytes -= block.iter().map(|run| run.bytes()).sum::<u64>();
        }
        if self.blocks.capacity() / 4 > self.blocks.len() {
            self.blocks.shrink_to(self.blocks.len() * 2);
        }
        let Some(front) = self.blocks.front_mut() else { return };
        let begins = front.iter().map(|run| run.first).take_while(|first| *first <= id).last();
        if let Some(begins) = begins.filter(|begins| *begins > front.first) {
            let trimmed = front.iter().take_while(|run| run.first < begins);
            self.stored_bytes -= trimmed.map(|run| run.bytes()).sum::<u64>();
            front.edit(|run| Some(run).filter(|run| run.first >= begins));
        }
    }

    /// Puts a run in the place of the one that begins with the same id, if there is one.
    pub(super) fn replace(&mut self, run: StoredRun) {
        let block = self.blocks.partition_point(|block| block.first <= run.first).checked_sub(1);
        let Some(block) = block.and_then(|block| self.blocks.get_mut(block)) else { return };
        let old = block.iter().find(|old| old.first == run.first);
        self.stored_bytes -= old.map_or(0, |old| old.bytes());
        self.stored_bytes += old.map_or(0, |_| run.bytes());
        block.edit(|old| Some(if old.first == run.first { run } else { old }));
        self.last = self.last.map(|last| if last.first == run.first { run } else { last });
    }

    /// How much memory it takes beside its own fields.
    #[cfg(test)]
    fn memory_bytes(&self) -> usize {
        let encoded: usize = self.blocks.iter().map(|block| block.bytes.capacity()).sum();
        self.blocks.capacity() * size_of::<Block>() + encoded
    }
}

impl PartialEq for PackedRuns {
    fn eq(&self, other: &Self) -> bool {
        self.last == other.last && self.iter().eq(other.iter())
    }
}

impl Eq for PackedRuns {}

impl Hash for PackedRuns {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.last.hash(state);
        self.iter().for_each(|run| run.hash(state));
    }
}

impl Extend<StoredRun> for PackedRuns {
    fn extend<I: IntoIterator<Item = StoredRun>>(&mut self, runs: I) {
        runs.into_iter().for_each(|run| self.push_back(run));
    }
}

impl From<Vec<StoredRun>> for PackedRuns {
    fn from(runs: Vec<StoredRun>) -> Self {
        let mut packed = Self::default();
        packed.extend(runs);
        packed
    }
}

impl From<PackedRuns> for Vec<StoredRun> {
    fn from(packed: PackedRuns) -> Self {
        packed.iter().collect()
    }
}

#[cfg(test)]
mod tests;
