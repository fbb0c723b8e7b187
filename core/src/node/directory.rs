//! What a node does when the cluster, or what is wanted of it, changes: whom it keeps connections
//! to, what it serves, and what its partitions are told.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::links::Peer;
use super::tasks::Task;
use super::timers::Alarm;
use super::{Body, Context};
use crate::id::{NodeId, PartitionId};
use crate::io::Level;
use crate::log::SetChange;
use crate::membership::{Cluster, Edit, PartitionMeta};
use crate::partition::orders::Orders;
use crate::partition::server::PartitionServer;
use crate::wire::{Message, MountRefusal, ServerReply, Version};

impl Body {
    /// The cluster changed: connects to who is new, serves what is assigned here and nothing else.
    pub(super) fn on_directory(&mut self, cx: &mut Context<'_>) {
        let cluster = self.agent.directory().cluster();
        self.links.require(cluster.map_or(Version::OLDEST, |one| Cluster::needs(one.partitions)));
        self.serve_assigned();
        let served: Vec<_> = self.partitions.keys().copied().collect();
        for partition in served {
            self.pass_orders(cx, partition);
        }
        self.connect_replicas(cx);
        self.watch_disks(cx);
        if self.watchers.is_empty() {
            return;
        }
        let view = self.agent.directory().view();
        if view != self.told {
            let message = Message::Server(ServerReply::Cluster(view.clone()));
            for conn in self.watchers.clone() {
                self.links.send(cx, conn, &message);
            }
            self.told = view;
        }
    }

    /// Begins to serve what is newly assigned here, and ends what no longer is.
    fn serve_assigned(&mut self) {
        let directory = self.agent.directory();
        let assigned = |partition: PartitionId| {
            let meta = directory.partition(partition)?;
            let (server, generation) = directory.assignment(partition)?;
            self.is_here(server).then_some((generation, meta))
        };
        let lost = self.partitions.iter().filter_map(|(&partition, server)| {
            let kept = assigned(partition).is_some_and(|(now, _)| now == server.generation());
            (!kept).then_some(partition)
        });
        let lost: BTreeSet<_> = lost.collect();
        let gained = directory.partitions().filter_map(|(partition, _)| {
            let is_served = self.partitions.contains_key(&partition) && !lost.contains(&partition);
            let (generation, meta) = (!is_served).then(|| assigned(partition))??;
            Some((partition, generation, meta.clone()))
        });
        let gained: Vec<_> = gained.collect();
        for partition in lost {
            self.drop_partition(partition);
        }
        for (partition, generation, meta) in gained {
            let mut outputs = Vec::new();
            let server = PartitionServer::new(
                Arc::clone(&self.serving),
                partition,
                generation,
                meta.creation,
                hint(&meta),
                &mut outputs,
            );
            self.partitions.insert(partition, Box::new(server));
            self.touched.insert(partition);
            self.tasks.extend(outputs.into_iter().map(|output| Task::Partition(partition, output)));
        }
    }

    /// Tells a partition's server what the cluster's record says of it.
    pub(super) fn pass_orders(&mut self, cx: &mut Context<'_>, partition: PartitionId) {
        let directory = self.agent.directory();
        let Some(hint) = directory.partition(partition).map(hint) else {
            return;
        };
        let orders = Orders {
            target: directory.target(partition).cloned(),
            consumed: directory.consumers(partition).and_then(|consumers| consumers.slowest()),
        };
        self.with_partition(cx, partition, |server, cx, out| {
            server.on_orders(cx, hint, orders, out);
        });
    }

    /// Keeps a connection to every node that may be asked as a replica, and to no other.
    fn connect_replicas(&mut self, cx: &mut Context<'_>) {
        let directory = self.agent.directory();
        let replicas = directory.partitions().flat_map(|(_, meta)| meta.replicas.nodes());
        let served = self.partitions.values().flat_map(|server| server.nodes());
        let peers: BTreeSet<_> =
            replicas.chain(served).filter(|node| !self.is_here(*node)).collect();
        let address = |node: &NodeId| Some((*node, directory.address(*node)?.clone()));
        let addresses: Vec<_> = peers.iter().filter_map(address).collect();
        for (node, address) in addresses {
            self.want(cx, Peer::Node(node), &address);
        }
        self.with_links(|links, events| {
            links.keep(
                cx,
                |peer| match peer {
                    Peer::Coordinator => true,
                    Peer::Node(node) => peers.contains(&node),
                },
                events,
            );
        });
    }

    /// Connects to a node that a partition's server wants to reach, or says that it is reached.
    pub(super) fn reach(&mut self, cx: &mut Context<'_>, partition: PartitionId, node: NodeId) {
        if let Some(version) = self.reachable(node) {
            self.with_partition(cx, partition, |server, cx, out| {
                server.on_reachable(cx, node, version, out);
            });
        } else if let Some(address) = self.agent.directory().address(node).cloned() {
            self.want(cx, Peer::Node(node), &address);
        }
    }

    /// Has the coordinator know a newer replica set, for as long as that takes.
    pub(super) fn record_set(
        &mut self,
        cx: &mut Context<'_>,
        partition: PartitionId,
        change: SetChange,
    ) {
        let Some(meta) = self.agent.directory().partition(partition) else {
            return;
        };
        let (creation, version, replicas) = (meta.creation, change.version, change.replicas);
        let edit = Edit::Committed { partition, creation, version, replicas };
        if let Err(refusal) = self.agent.edit(edit, None) {
            cx.report(Level::Warning, Some(partition), refusal.to_string());
        }
    }

    /// Says loudly when a replica's node has come back with another disk: what the replica had
    /// promised and stored is gone, and only an operator can say what is to take its place.
    fn watch_disks(&mut self, cx: &mut Context<'_>) {
        let directory = self.agent.directory();
        let served = self
            .partitions
            .keys()
            .filter_map(|partition| Some((*partition, directory.partition(*partition)?)));
        let gone = served.flat_map(|(partition, meta)| {
            let members = meta.replicas.0.iter().map(move |member| (partition, *member));
            members.filter(|(_, member)| directory.is_replaced(*member))
        });
        let gone: BTreeSet<_> = gone.collect();
        for (partition, member) in gone.difference(&self.replaced) {
            let text = format!(
                "{node} has come back with another disk: its replica is gone and counts for \
                 nothing; give it a new one, or another node, with \
                 `waltz admin partition assign`",
                node = member.node
            );
            cx.report(Level::Error, Some(*partition), text);
        }
        self.replaced = gone;
    }

    /// Serves a partition no more.
    pub(super) fn drop_partition(&mut self, partition: PartitionId) {
        let Some(mut server) = self.partitions.remove(&partition) else {
            return;
        };
        let mut outputs = Vec::new();
        server.stop(MountRefusal::NotOwner, &mut outputs);
        self.timers.set(Alarm::Partition(partition), None);
        self.touched.insert(partition);
        self.tasks.extend(outputs.into_iter().map(|output| Task::Partition(partition, output)));
    }
}

/// The replica set to ask first.
fn hint(meta: &PartitionMeta) -> SetChange {
    SetChange::initial(meta.version, meta.replicas.clone())
}
