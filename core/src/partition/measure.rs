//! What a partition's server says of itself.

use super::server::{PartitionServer, State};
use crate::id::Mark;
use crate::measure::{MountMeasurements, PartitionCounts, PartitionMeasurements, ServingState};
use crate::sequencer::Sequencer;

impl PartitionServer {
    /// Everything that can be counted of it, and how far each consumer is, given what each has
    /// applied.
    pub fn measure<'a>(
        &self,
        consumers: impl Iterator<Item = (&'a str, Mark)>,
    ) -> PartitionMeasurements {
        let sequencer = self.sequencer();
        let committed = sequencer.map_or(Mark::NONE, Sequencer::committed);
        let lag = |mark: Mark| committed.count().saturating_sub(mark.count());
        let none = Box::default();
        let (counts, lock_changes, mounts) = match &self.state {
            State::Serving(serving) => {
                (&serving.counts, serving.locks.changes() as u64, serving.mounts.measure())
            }
            _ => (self.counts.as_ref().unwrap_or(&none), 0, MountMeasurements::default()),
        };
        PartitionMeasurements {
            partition: self.partition,
            state: self.serving_state(),
            has_quorum: sequencer.is_some_and(Sequencer::has_quorum),
            counts: PartitionCounts::clone(counts),
            committed,
            sequenced: sequencer.map_or(Mark::NONE, Sequencer::sequenced),
            start: sequencer.map_or(Mark::NONE, Sequencer::start),
            in_flight_bytes: sequencer.map_or(0, Sequencer::in_flight_bytes) as u64,
            lock_changes,
            mounts,
            replicas: sequencer.map(Sequencer::progress_of_replicas).unwrap_or_default(),
            consumers: consumers.map(|(name, mark)| (name.to_owned(), lag(mark))).collect(),
        }
    }

    fn serving_state(&self) -> ServingState {
        match &self.state {
            State::Resting { .. } => ServingState::Resting,
            State::Seeking => ServingState::Seeking,
            State::Opening(_) => ServingState::Opening,
            State::Rebuilding { .. } => ServingState::Rebuilding,
            State::Serving(_) => ServingState::Open,
        }
    }

    /// The counts, wherever they are.
    pub(super) fn counted(&mut self) -> &mut PartitionCounts {
        match &mut self.state {
            State::Serving(serving) => &mut serving.counts,
            _ => self.counts.get_or_insert_default(),
        }
    }
}
