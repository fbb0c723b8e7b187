//! One simulated world: hosts with processes on them, and whatever connects and stores.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use madsim::runtime::Handle;
use madsim::task::{JoinHandle, NodeId};
use waltz_core::io::Address;
use waltz_core::journal::Fold;
use waltz_core::time::{Random, Time};
use waltz_runtime::journal::{JournalConfig, JournalError, Recovery};

use crate::alarm::{TrueTimer, VirtualTime};
use crate::clock::{Clocks, SimTimer};
use crate::disk::{SimDisk, SimDisks};
use crate::fault::Crash;
use crate::journal::SimJournal;
use crate::network::{Network, SimNet};
use crate::runtime::SimRuntime;
use crate::store::SimStore;
use crate::trace::{Event, Trace};

/// What differs from one life of a host to the next.
struct State {
    random: Random,
    /// The process that runs on a host, if one does.
    processes: BTreeMap<Address, NodeId>,
}

/// Everything that outlives processes; clones share it. The harness holds it, outside of every
/// host, and injects faults through its parts.
#[derive(Clone)]
pub struct SimWorld {
    time: VirtualTime,
    trace: Trace,
    network: Network,
    disks: SimDisks,
    clocks: Clocks,
    store: SimStore,
    state: Arc<Mutex<State>>,
}

impl SimWorld {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut part = || Random::new(random.bits());
        let time = VirtualTime::current();
        let trace = Trace::new();
        Self {
            network: Network::new(time.clone(), part(), trace.clone()),
            disks: SimDisks::new(time.clone(), part(), trace.clone()),
            clocks: Clocks::new(time.clone(), part()),
            state: Arc::new(Mutex::new(State { random: part(), processes: BTreeMap::new() })),
            store: SimStore::new(time.clone(), part(), trace.clone()),
            trace,
            time,
        }
    }

    /// The true clock, which no host has.
    pub fn timer(&self) -> TrueTimer {
        TrueTimer::new(self.time.clone())
    }

    /// The network and its faults.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The disks and their faults.
    pub fn disks(&self) -> &SimDisks {
        &self.disks
    }

    /// The clocks and their faults.
    pub fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// The object store and its faults.
    pub fn store(&self) -> &SimStore {
        &self.store
    }

    /// What happened so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Every process that runs.
    pub(crate) fn running(&self) -> Vec<NodeId> {
        self.lock().processes.values().copied().collect()
    }

    /// A generator of its own, drawn from the seed: for a schedule or a workload.
    pub fn random(&self) -> Random {
        Random::new(self.lock().random.bits())
    }

    /// True time, which no process sees.
    pub fn now(&self) -> Time {
        self.time.now()
    }

    /// Boots a host and runs a process on it; one that still runs there is killed first.
    pub fn start<F>(
        &self,
        host: &Address,
        process: impl FnOnce(SimHost) -> F,
    ) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.crash(host, Crash::Process);
        self.network.boot(host);
        self.disks.boot(host);
        self.clocks.boot(host);
        self.trace.record(self.now(), Event::on(host, format_args!("boots")));
        let node = Handle::current().create_node().name(&host.0).build();
        self.lock().processes.insert(host.clone(), node.id());
        node.spawn(process(SimHost { world: self.clone(), address: host.clone() }))
    }

    /// Ends the process that runs on a host, if one does, at once and wherever it is.
    pub fn crash(&self, host: &Address, crash: Crash) {
        let Some(node) = self.lock().processes.remove(host) else { return };
        // First the world, so that what dies late finds that it is dead.
        self.network.crash(host, crash);
        self.disks.crash(host, crash);
        Handle::current().kill(node);
    }

    /// The process on a host stands still; its host goes on taking in what comes.
    pub fn pause(&self, host: &Address) {
        if let Some(node) = self.process(host) {
            Handle::current().pause(node);
        }
    }

    /// The process on a host goes on.
    pub fn resume(&self, host: &Address) {
        if let Some(node) = self.process(host) {
            Handle::current().resume(node);
        }
    }

    /// No more faults from now on: links, disks, clocks and the store are sound. Processes that
    /// are down stay down.
    pub fn calm(&self) {
        self.network.calm();
        self.disks.calm();
        self.clocks.calm();
        self.store.calm();
    }

    fn process(&self, host: &Address) -> Option<NodeId> {
        self.lock().processes.get(host).copied()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A host as one process on it sees it: where its parts come from.
#[derive(Clone)]
pub struct SimHost {
    world: SimWorld,
    address: Address,
}

impl SimHost {
    /// Where a process on this host listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Connections of a process that listens at the host's address.
    pub fn listener(&self) -> SimNet {
        self.world.network.listen(&self.address)
    }

    /// Connections of a process that only dials.
    pub fn dialer(&self) -> SimNet {
        self.world.network.dialer(&self.address)
    }

    /// The host's clock, and an alarm.
    pub fn timer(&self) -> SimTimer {
        self.world.clocks.timer(&self.address)
    }

    /// The host's disk.
    pub fn disk(&self) -> SimDisk {
        self.world.disks.disk(&self.address)
    }

    /// Opens or formats the journal on the host's disk; every entry found goes through `fold`.
    ///
    /// # Errors
    /// Those of [`waltz_runtime::journal::Journal::open`].
    pub fn journal(
        &self,
        config: JournalConfig,
        fold: &mut dyn Fold,
    ) -> Result<(SimJournal, Recovery), JournalError> {
        let world = &self.world;
        let parts = (world.time.clone(), world.trace.clone(), self.random());
        SimJournal::open(&self.address, parts, &world.disks, config, fold)
    }

    /// What a client on this host runs on.
    pub fn runtime(&self) -> SimRuntime {
        SimRuntime::new(self.clone(), self.random())
    }

    /// A generator of its own, drawn from the seed.
    pub fn random(&self) -> Random {
        self.world.random()
    }
}
