//! The nodes of a run: how they boot, crash and come back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use waltz_core::id::{ClusterKey, NodeId};
use waltz_core::io::{Address, Report};
use waltz_core::limits::Limits;
use waltz_core::membership::ControllerConfig;
use waltz_core::node::{CoordinatorAt, Node, NodeConfig, Recovered};
use waltz_runtime::journal::JournalConfig;
use waltz_runtime::node::{World, run_node};
use waltz_runtime_sim::{Crash, Event, SimHost, SimWorld};

use crate::history::{History, Watched};
use crate::plan::Plan;

const CLUSTER: ClusterKey = ClusterKey(0x0057_414c_545a);

/// Small, so that small segments hold any entry.
pub(crate) const LIMITS: Limits =
    Limits { frame_head: 8 << 10, frame_payload: 32 << 10, record: 8 << 10, locks: 64 };

/// All nodes of a run; clones share it.
#[derive(Clone)]
pub(crate) struct Cluster {
    world: SimWorld,
    plan: Plan,
    history: History,
    violations: Arc<Mutex<Vec<String>>>,
    boots: Arc<AtomicU64>,
}

impl Cluster {
    pub(crate) fn new(world: SimWorld, plan: Plan, history: History) -> Self {
        Self { world, plan, history, violations: Arc::default(), boots: Arc::default() }
    }

    /// Where the nodes listen.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        (0..self.plan.nodes).map(address).collect()
    }

    /// How many replicas each partition has.
    pub(crate) fn replicas(&self) -> usize {
        self.plan.nodes.min(3) as usize
    }

    /// Boots a node on what its disk holds; one that still runs is killed first.
    pub(crate) fn boot(&self, index: u32) {
        self.boots.fetch_add(1, Ordering::Relaxed);
        let cluster = self.clone();
        drop(self.world.start(&address(index), move |host| async move {
            if let Err(text) = cluster.live(index, &host).await {
                cluster.violation(text);
            }
        }));
    }

    /// How often a node was booted.
    pub(crate) fn boots(&self) -> u64 {
        self.boots.load(Ordering::Relaxed)
    }

    /// Ends a node without asking.
    pub(crate) fn crash(&self, index: u32, crash: Crash) {
        self.world.crash(&address(index), crash);
    }

    /// What recovery and the nodes themselves found wrong.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One life of a node.
    async fn live(&self, index: u32, host: &SimHost) -> Result<(), String> {
        let config = self.config(index);
        let journal_config = JournalConfig {
            cluster: CLUSTER,
            node: config.node,
            segment_bytes: self.plan.segment_bytes,
            limits: config.limits,
        };
        let mut recovered = Recovered::new(config.limits, config.planted);
        let mut found = Vec::new();
        let opened = host.journal(journal_config, &mut |head, place| {
            recovered.replay(&head, place)?;
            found.push(head);
            Ok(())
        });
        let (journal, recovery) = opened.map_err(|error| format!("{}: {error}", address(index)))?;
        self.history.recovered(host.address(), &found)?;
        let node = Node::new(config, recovered, recovery.storage, host.random().bits());
        let journal = Watched::new(journal, host.address().clone(), self.history.clone());
        let world = World { net: host.listener(), journal, timer: host.timer() };
        let (trace, sim) = (self.world.trace().clone(), self.world.clone());
        let name = host.address().clone();
        let report = move |Report { level, partition, text, .. }: Report| {
            let text = format_args!("{level:?}: {text}");
            let event = Event::on(&name, text);
            let event = partition.map_or(event, |partition| event.of(partition));
            trace.record(sim.now(), event);
        };
        let reason = run_node(node, world, Box::new(report), std::future::pending()).await;
        Err(format!("{} stopped itself: {reason}", host.address()))
    }

    fn config(&self, index: u32) -> NodeConfig {
        let coordinator = if index == 0 {
            let replicas = self.replicas() as u32;
            let shape = ControllerConfig::new(self.plan.partitions, replicas, self.plan.nodes);
            CoordinatorAt::Here(shape.expect("a plan's cluster can be"))
        } else {
            CoordinatorAt::Remote(address(0))
        };
        let node = NodeId(index + 1);
        let mut config = NodeConfig::new(node, CLUSTER, address(index), coordinator)
            .with_limits(LIMITS)
            .with_planted(self.plan.planted);
        config.lease = self.plan.lease;
        config
    }

    fn violation(&self, text: String) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

/// Where a node listens: at a host that has its name.
pub(crate) fn address(index: u32) -> Address {
    Address(NodeId(index + 1).to_string())
}
