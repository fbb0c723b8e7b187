//! What an agent wants to stand in the coordinator for its own node: registration, epochs, and the
//! controller's key.

use super::{AT_ONCE, Agent};
use crate::id::{Epoch, PartitionId};
use crate::io::{Context, Level};
use crate::membership::{AgentConfig, Control, Fact, Name, NodeRecord, StorageRecord};

impl Agent {
    /// Notices when this life's registration is lost.
    pub(super) fn watch_registration(&mut self, cx: &mut Context<'_>) {
        let node = self.config.node;
        let holder = self.mirror.holder(node);
        if !self.registered || holder == Some(self.lease) {
            return;
        }
        self.registered = false;
        let text = match holder {
            None => format!("the lease of {node} ended while it was alive; it registers again"),
            Some(_) => {
                // Registering at once would only make the two take turns faster.
                self.paused.insert(Name::Node(node), cx.now + self.config.lease_ttl);
                format!("another process has registered as {node}: every node needs its own id")
            }
        };
        cx.report(Level::Warning, None, text);
    }

    pub(super) fn wanted_registration(&self) -> Vec<Fact> {
        let AgentConfig { node, address, storage, used, server, preferred, locality, .. } =
            &self.config;
        let directory = &self.mirror.directory;
        let mut wanted = Vec::new();
        let (address, preferred) = (address.clone(), preferred.clone());
        // The node before its disk: whoever counts disks then knows the node as well.
        let record =
            NodeRecord { address: address.clone(), storage: *storage, server: *server, preferred };
        if self.mirror.holder(*node) != Some(self.lease) || directory.nodes[node] != record {
            wanted.push(Fact::Node(*node, record));
        }
        if directory.locality(*node) != Some(locality) {
            wanted.push(Fact::Locality(*node, locality.clone()));
        }
        if let Some(storage) = *storage {
            let record = StorageRecord { storage, address, used: *used };
            if directory.storages.get(node) != Some(&record) {
                wanted.push(Fact::Storage(*node, record));
            }
        }
        wanted
    }

    /// The controller's key while nobody holds it. A node that is not registered does not stand,
    /// nor one that could do nothing: there is no cluster, and it was not told to make one.
    pub(super) fn wanted_control(&self) -> Option<Fact> {
        let Control::Elected { bootstrap } = self.config.control else { return None };
        let stands = (bootstrap.is_some() || self.mirror.revision(Name::Cluster).is_some())
            && self.mirror.holder(self.config.node) == Some(self.lease)
            && self.mirror.revision(Name::Controller).is_none();
        stands.then_some(Fact::Controller(self.config.node))
    }

    /// The epochs to ask for now: as many as there is room for.
    pub(super) fn wanted_epochs(&self) -> Vec<Fact> {
        let next = |(&partition, &above): (&PartitionId, &Option<Epoch>)| {
            let taken = self.taken.get(&partition).copied();
            let last = above.max(taken).max(self.mirror.epoch(partition));
            // After the last number there is no other: the partition can't be opened again.
            let next = last.map_or(Some(1), |last| last.0.checked_add(1))?;
            Some(Fact::Epoch(partition, Epoch(next)))
        };
        let asked = |partition: &PartitionId| self.under_way.has(Name::Epoch(*partition));
        let rest = self.wanted.iter().filter(|(partition, _)| !asked(partition));
        let room = AT_ONCE.saturating_sub(self.under_way.count());
        rest.filter_map(next).take(room).collect()
    }
}
