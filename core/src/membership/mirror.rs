//! An agent's copy of the coordinator's keys: typed, with what a compare-and-set needs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::coordinator::{Key, LeaseId, Revision, Versioned};
use crate::id::{Epoch, NodeId, PartitionId};
use crate::io::{Context, Level};
use crate::membership::{Directory, Fact, Name};

/// The keys as the coordinator last told them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Mirror {
    pub(super) directory: Directory,
    revisions: BTreeMap<Name, Revision>,
    /// Keys whose values this program can't read: nothing is written over them.
    unreadable: BTreeSet<Name>,
    epochs: BTreeMap<PartitionId, Epoch>,
    /// The lease each live node's key is tied to.
    holders: BTreeMap<NodeId, LeaseId>,
    /// The lease that the controller's key is tied to.
    controller: Option<LeaseId>,
}

impl Mirror {
    /// The revision of a key; `None`: there is no such key.
    pub(super) fn revision(&self, name: Name) -> Option<Revision> {
        self.revisions.get(&name).copied()
    }

    /// Whether a key may be written: what it says is known, be it nothing.
    pub(super) fn is_readable(&self, name: Name) -> bool {
        !self.unreadable.contains(&name)
    }

    /// The last epoch handed out in a partition.
    pub(super) fn epoch(&self, partition: PartitionId) -> Option<Epoch> {
        self.epochs.get(&partition).copied()
    }

    /// The lease a node's key is tied to.
    pub(super) fn holder(&self, node: NodeId) -> Option<LeaseId> {
        self.holders.get(&node).copied()
    }

    /// The lease of whoever controls.
    pub(super) fn controller(&self) -> Option<LeaseId> {
        self.controller
    }

    /// What is known under a name that edits are made to.
    pub(super) fn fact(&self, name: Name) -> Option<Fact> {
        match name {
            Name::Epoch(partition) => Some(Fact::Epoch(partition, self.epoch(partition)?)),
            name => self.directory.fact(name),
        }
    }

    /// Starts over with a snapshot. Only where nodes last listened is kept, and how high
    /// generations were.
    pub(super) fn reset(&mut self, cx: &mut Context<'_>, entries: Vec<(Key, Versioned)>) {
        let Directory { addresses, generations, .. } = std::mem::take(&mut self.directory);
        let directory = Directory { addresses, generations, ..Directory::default() };
        *self = Self { directory, ..Self::default() };
        for (key, versioned) in entries {
            if let Some(name) = Name::parse(&key) {
                self.learn(cx, name, Some(versioned));
            }
        }
    }

    /// Takes in a key as it is now.
    pub(super) fn learn(&mut self, cx: &mut Context<'_>, name: Name, current: Option<Versioned>) {
        self.unreadable.remove(&name);
        let Some(Versioned { revision, value, lease }) = current else {
            self.revisions.remove(&name);
            self.forget(name);
            return self.forget_address(name);
        };
        self.revisions.insert(name, revision);
        match Fact::decode(name, &value) {
            Ok(fact) => self.insert(fact, lease),
            Err(error) => {
                let text = format!("can't read {} in the coordinator: {error}", name.key());
                cx.report(Level::Error, None, text);
                self.unreadable.insert(name);
                self.forget(name);
            }
        }
    }

    /// A dead node whose permanent record was deleted is forgotten for good.
    fn forget_address(&mut self, name: Name) {
        if let Name::Storage(node) | Name::Locality(node) = name
            && !self.directory.nodes.contains_key(&node)
        {
            self.directory.addresses.remove(&node);
        }
    }

    fn insert(&mut self, fact: Fact, lease: Option<LeaseId>) {
        let directory = &mut self.directory;
        match fact {
            Fact::Cluster(cluster) => directory.cluster = Some(cluster),
            Fact::Node(node, record) => {
                if let Some(address) = &record.address {
                    directory.addresses.insert(node, address.clone());
                }
                directory.nodes.insert(node, record);
                match lease {
                    Some(lease) => self.holders.insert(node, lease),
                    None => self.holders.remove(&node),
                };
            }
            Fact::Storage(node, record) => {
                if let Some(address) = &record.address
                    && !directory.nodes.contains_key(&node)
                {
                    directory.addresses.insert(node, address.clone());
                }
                directory.storages.insert(node, record);
            }
            Fact::Partition(partition, meta) => {
                directory.partitions.insert(partition, meta);
            }
            Fact::Assignment(partition, assignment) => {
                let seen = directory.generations.entry(partition).or_insert(assignment.generation);
                *seen = assignment.generation.max(*seen);
                directory.assignments.insert(partition, assignment);
            }
            Fact::Epoch(partition, epoch) => {
                self.epochs.insert(partition, epoch);
            }
            Fact::Target(partition, target) => {
                directory.targets.insert(partition, target);
            }
            Fact::Consumers(partition, consumers) => {
                directory.consumers.insert(partition, consumers);
            }
            Fact::Controller(node) => {
                directory.controller = Some(node);
                self.controller = lease;
            }
            Fact::Operations(node, operations) => {
                directory.operations.insert(node, operations);
            }
            Fact::Locality(node, locality) => {
                directory.localities.insert(node, locality);
            }
            Fact::Region(partition, region) => {
                directory.regions.insert(partition, region);
            }
            Fact::Loads(loads) => directory.loads = loads,
        }
    }

    fn forget(&mut self, name: Name) {
        let directory = &mut self.directory;
        match name {
            Name::Cluster => directory.cluster = None,
            Name::Node(node) => {
                directory.nodes.remove(&node);
                self.holders.remove(&node);
            }
            Name::Storage(node) => {
                directory.storages.remove(&node);
            }
            Name::Partition(partition) => {
                directory.partitions.remove(&partition);
            }
            Name::Assignment(partition) => {
                directory.assignments.remove(&partition);
            }
            Name::Epoch(partition) => {
                self.epochs.remove(&partition);
            }
            Name::Target(partition) => {
                directory.targets.remove(&partition);
            }
            Name::Consumers(partition) => {
                directory.consumers.remove(&partition);
            }
            Name::Controller => {
                directory.controller = None;
                self.controller = None;
            }
            Name::Operations(node) => {
                directory.operations.remove(&node);
            }
            Name::Locality(node) => {
                directory.localities.remove(&node);
            }
            Name::Region(partition) => {
                directory.regions.remove(&partition);
            }
            Name::Loads => directory.loads.clear(),
        }
    }
}
