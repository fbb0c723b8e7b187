//! Which replicas hold a partition, as the durable entries tell it, and what a quorum of them has.

use std::collections::BTreeMap;

use waltz_core::id::{NodeId, PartitionId, TransactionId};
use waltz_core::io::Address;
use waltz_core::log::SetChange;

use crate::disk_log::{DiskLog, Stored};
use crate::history::Logs;

/// The logs of one partition's hosts.
pub(crate) struct Replicas<'a>(BTreeMap<&'a Address, &'a DiskLog>);

impl<'a> Replicas<'a> {
    /// Those of a partition.
    pub(crate) fn of(logs: &'a Logs, partition: PartitionId) -> Self {
        let log = |(host, logs): (&'a Address, &'a BTreeMap<PartitionId, DiskLog>)| {
            Some((host, logs.get(&partition)?))
        };
        Self(logs.iter().filter_map(log).collect())
    }

    /// The given ones.
    pub(crate) fn new(logs: &'a BTreeMap<Address, DiskLog>) -> Self {
        Self(logs.iter().collect())
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

    /// The hosts of the committed set, and their logs.
    pub(crate) fn current(&self) -> Vec<(&'a Address, &'a DiskLog)> {
        let Some(set) = self.set() else { return Vec::new() };
        let is_member = |(host, _): &(&&Address, &&DiskLog)| {
            set.replicas.nodes().any(|node| *host_of(node).0 == host.0)
        };
        self.0.iter().filter(is_member).map(|(host, log)| (*host, *log)).collect()
    }

    /// How many of the committed set's replicas hold a record at this place that is as asked, and
    /// how many must.
    pub(crate) fn copies(&self, id: TransactionId, is: impl Fn(&Stored) -> bool) -> (usize, usize) {
        let quorum = self.set().map_or(1, |set| set.replicas.quorum());
        let holds = |(_, log): &(&Address, &DiskLog)| log.holds(id, &is);
        (self.current().into_iter().filter(holds).count(), quorum)
    }

    fn members(&self, set: &SetChange) -> impl Iterator<Item = &'a DiskLog> {
        let logs = set.replicas.nodes().map(host_of).map(|host| self.0.get(&host).copied());
        logs.flatten().collect::<Vec<_>>().into_iter()
    }
}

/// The host that has a node's name.
pub(crate) fn host_of(node: NodeId) -> Address {
    Address(node.to_string())
}
