//! What clients were shown: every record that any of them applied, and when it was first seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use waltz_client::Transaction;
use waltz_core::id::{PartitionId, ReqId, TransactionId};
use waltz_core::io::Address;
use waltz_runtime_sim::{Event, SimWorld};

use crate::history::History;
use crate::replicas::Replicas;

/// What somebody was shown of each partition.
pub(crate) type Seen = BTreeMap<PartitionId, BTreeSet<TransactionId>>;

/// One record, as a client was shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) req_id: ReqId,
    pub(crate) data: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    shown: BTreeMap<(PartitionId, TransactionId), Shown>,
    /// What each host was shown of each partition.
    by_host: BTreeMap<Address, Seen>,
    violations: Vec<String>,
}

/// All that was shown; clones share it.
#[derive(Clone)]
pub(crate) struct Witness {
    state: Arc<Mutex<State>>,
    world: SimWorld,
    history: History,
}

impl Witness {
    pub(crate) fn new(world: SimWorld, history: History) -> Self {
        Self { state: Arc::default(), world, history }
    }

    /// A client is shown a record: nobody may have been shown another one in its place, and a
    /// quorum of disks must hold it now.
    pub(crate) fn see(&self, host: &Address, transaction: &Transaction, data: &[u8]) {
        let (partition, id) = (transaction.partition(), transaction.id());
        let text = format_args!("is shown {partition} {id}, {}", transaction.req_id());
        let event = Event::on(host, text).of_transaction(partition, id);
        self.world.trace().record(self.world.now(), event);
        let shown = Shown { req_id: transaction.req_id(), data: data.to_vec() };
        let mut state = self.lock();
        let by_host = state.by_host.entry(host.clone()).or_default();
        by_host.entry(partition).or_default().insert(id);
        match state.shown.get(&(partition, id)) {
            Some(before) if *before == shown => return,
            Some(before) => {
                let text = format!(
                    "promises 1 and 3: {partition} {id} was shown as {} and is shown as {}",
                    before.req_id, shown.req_id
                );
                state.violations.push(text);
                return;
            }
            None => {}
        }
        let logs = self.history.logs_of(partition);
        let (copies, quorum) = Replicas::new(&logs).copies(id, |stored| {
            let record = stored.record();
            record.req_id() == shown.req_id && record.data() == shown.data
        });
        if copies < quorum {
            let text = format!(
                "promise 2: {partition} {id} ({}) was shown while {copies} disks held it; {quorum} \
                 must",
                shown.req_id
            );
            state.violations.push(text);
        }
        state.shown.insert((partition, id), shown);
    }

    /// Something that a client was shown is not as it must be.
    pub(crate) fn object(&self, text: String) {
        self.lock().violations.push(text);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    pub(crate) fn shown(&self) -> BTreeMap<(PartitionId, TransactionId), Shown> {
        self.lock().shown.clone()
    }

    /// What was shown on a host.
    pub(crate) fn shown_on(&self, host: &Address) -> Seen {
        self.lock().by_host.get(host).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
