//! Which replicas hold a partition, as the durable entries tell it, and what a quorum of them has.

use std::collections::BTreeMap;

use waltz_core::id::{Member, PartitionId, TransactionId};
use waltz_core::log::SetChange;

use crate::disk_log::{DiskLog, Stored};
use crate::history::Logs;

/// One partition's logs.
pub(crate) struct Replicas<'a>(BTreeMap<Member, &'a DiskLog>);

impl<'a> Replicas<'a> {
    /// Those of a partition.
    pub(crate) fn of(logs: &'a Logs, partition: PartitionId) -> Self {
        let log = |(disk, logs): (&Member, &'a BTreeMap<PartitionId, DiskLog>)| {
            Some((*disk, logs.get(&partition)?))
        };
        Self(logs.iter().filter_map(log).collect())
    }

    /// The given ones.
    pub(crate) fn new(logs: &'a BTreeMap<Member, DiskLog>) -> Self {
        Self(logs.iter().map(|(disk, log)| (*disk, log)).collect())
    }

    /// The newest replica set that is durable on a quorum of itself. One that is changed since, and
    /// not there yet, differs from it by one replica.
    pub(crate) fn set(&self) -> Option<&'a SetChange> {
        let sets = self.0.values().flat_map(|log| log.sets());
        let committed = sets.filter(|set| {
            let holds = |log: &&DiskLog| log.sets().contains(set);
            self.members(set).filter(holds).count() >= set.replicas.quorum()
        });
        committed.max_by_key(|set| set.version)
    }

    /// The members of the committed set, and their logs.
    pub(crate) fn current(&self) -> Vec<(Member, &'a DiskLog)> {
        let Some(set) = self.set() else { return Vec::new() };
        let logs = self.0.iter().filter(|(disk, _)| set.replicas.contains(**disk));
        logs.map(|(disk, log)| (*disk, *log)).collect()
    }

    /// How many of the committed set's replicas hold a record at this place that is as asked, and
    /// how many must.
    pub(crate) fn copies(&self, id: TransactionId, is: impl Fn(&Stored) -> bool) -> (usize, usize) {
        let quorum = self.set().map_or(1, |set| set.replicas.quorum());
        let holds = |(_, log): &(Member, &DiskLog)| log.holds(id, &is);
        (self.current().into_iter().filter(holds).count(), quorum)
    }

    /// The record at this place that most of the logs hold, whoever's they are.
    pub(crate) fn most_held(&self, id: TransactionId) -> Option<&'a Stored> {
        let held: Vec<_> = self.0.values().filter_map(|log| log.at(id)).collect();
        let copies = |stored: &&Stored| held.iter().filter(|other| other == &stored).count();
        held.iter().copied().max_by_key(copies)
    }

    fn members(&self, set: &SetChange) -> impl Iterator<Item = &'a DiskLog> {
        let logs = set.replicas.0.iter().map(|member| self.0.get(member).copied());
        logs.flatten().collect::<Vec<_>>().into_iter()
    }
}
