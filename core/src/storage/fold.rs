//! The fold: what an entry makes of the state, in replay and live.

use std::collections::BTreeSet;

use crate::id::PartitionId;
use crate::journal::{EntryHead, Place};

use super::decide::Hosted;
use super::inconsistency::Inconsistency;
use super::index::Body;
use super::reads::Wanted;
use super::salvage::Contents;
use super::{ReplayError, Replica, Storage};

impl Storage {
    /// After the replay: finds out which records of which logs recovery could not read.
    pub(super) fn find_damage(&mut self) {
        let places: BTreeSet<Place> = std::mem::take(&mut self.damaged_places);
        if places.is_empty() {
            return;
        }
        for (partition, hosted) in &mut self.hosted {
            let replica = &hosted.replica;
            let (first, last) = (replica.summary().start.next(), replica.last());
            let damaged = Wanted::all(replica, first, last)
                .filter(|wanted| places.contains(&wanted.piece.run.place));
            for wanted in damaged.collect::<Vec<_>>() {
                let Contents { lost, .. } = Contents::unreadable(wanted.piece.run, "");
                hosted.replica.examined(wanted.piece.run, &lost);
                self.scrub.probe(*partition, wanted);
            }
        }
    }

    pub(super) fn fold(&mut self, head: &EntryHead, body: Body) -> Result<(), ReplayError> {
        match head {
            EntryHead::Create { partition, creation, set } => {
                if self.hosted.contains_key(partition) {
                    return Err(Inconsistency::Created.at(*partition));
                }
                let replica = Replica::new(*partition, *creation, set.clone());
                self.hosted.insert(*partition, Box::new(Hosted::new(replica)));
                Ok(())
            }
            EntryHead::Promise { partition, session } => {
                self.hosted_mut(*partition)?.promise(*session)
            }
            EntryHead::Join { partition, session } => self.hosted_mut(*partition)?.join(*session),
            EntryHead::Cut { partition, keep } => self.hosted_mut(*partition)?.replica.cut(*keep),
            EntryHead::Records { partition, session, first, count, low_water } => {
                let replica = &mut self.hosted_mut(*partition)?.replica;
                replica.extend(*session, *first, *count, *low_water, body)
            }
            EntryHead::Change { partition, change } => {
                self.hosted_mut(*partition)?.replica.change(change.clone())
            }
            EntryHead::Trim { partition, start } => {
                let planted = self.planted;
                self.hosted_mut(*partition)?.replica.trim(*start, planted)
            }
            EntryHead::Reset { partition, base } => {
                self.hosted_mut(*partition)?.replica.reset(base.clone())
            }
            EntryHead::Repair { partition, session, first, count } => {
                self.hosted_mut(*partition)?.replica.repair(*session, *first, *count, body)
            }
            EntryHead::LowWater { partition, mark } => {
                self.hosted_mut(*partition)?.replica.raise_low_water(*mark)
            }
            EntryHead::Enroll => {
                self.enrolled = true;
                Ok(())
            }
            EntryHead::Coordinator(_)
            | EntryHead::Checkpoint { .. }
            | EntryHead::CheckpointEnd { .. } => Ok(()),
        }
    }

    fn hosted_mut(&mut self, partition: PartitionId) -> Result<&mut Hosted, ReplayError> {
        let hosted = self.hosted.get_mut(&partition).map(Box::as_mut);
        hosted.ok_or(Inconsistency::NotCreated.at(partition))
    }
}
