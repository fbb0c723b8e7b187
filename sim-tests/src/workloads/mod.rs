//! What clients do in a run: one kind of work a file, all through the public client.

mod app;
pub(crate) mod bank;
mod big_records;
mod drive;
mod family;
pub(crate) mod followers;
mod hot_lock;
mod instance;
mod many_partitions;
pub(crate) mod newcomers;
mod questions;
mod queue;
mod slow_consumers;
mod storms;
mod submitted;
mod succession;
mod wish;

use std::sync::Arc;
use std::time::Duration;

use waltz_client::ClientConfig;
use waltz_core::io::Address;
use waltz_runtime_sim::SimWorld;

use crate::cluster::Cluster;
use crate::history::History;
use crate::operations::Operations;
use crate::operator::Operator;
use crate::plan::Plan;
use crate::witness::Witness;
use app::{App, State};
use bank::Bank;
use drive::drive;
use followers::Followers;

/// How long, after the faults have stopped, everything begun may take to end.
const PATIENCE: Duration = Duration::from_secs(90);
/// Longer than any run: in the simulation nobody gives up.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// Transfers between accounts that several instances keep in one database.
    Bank,
    /// Many clients count up behind one lock.
    HotLock,
    /// Children append to their parents, readers sum them up.
    Family,
    /// Many partitions, a few records each.
    ManyPartitions,
    /// Records at the limit of their size, and over it.
    BigRecords,
    /// Consumers that take their time, on little credit.
    SlowConsumers,
    /// Clients that come and go, unmount, flush, fetch and give up.
    Storms,
}

impl WorkloadKind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Bank,
        Self::HotLock,
        Self::Family,
        Self::ManyPartitions,
        Self::BigRecords,
        Self::SlowConsumers,
        Self::Storms,
    ];

    /// The fewest and the most partitions it is run with.
    pub(crate) fn partitions(self) -> (u32, u32) {
        match self {
            Self::HotLock => (1, 2),
            Self::ManyPartitions => (8, 24),
            _ => (1, 3),
        }
    }
}

/// What a workload finds.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) world: SimWorld,
    pub(crate) cluster: Cluster,
    pub(crate) plan: Plan,
    pub(crate) witness: Witness,
    pub(crate) operations: Operations,
    pub(crate) followers: Followers,
    pub(crate) seed: u64,
}

impl Stage {
    /// What every client is told: nobody gives up by itself.
    pub(crate) fn client_config(&self) -> ClientConfig {
        let config = ClientConfig::new(self.cluster.addresses().into_iter().map(|at| at.0))
            .connect_timeout(FOR_EVER)
            .mount_timeout(FOR_EVER)
            .request_timeout(FOR_EVER);
        let config = ClientConfig { planted: self.plan.planted, ..config };
        if self.plan.tight {
            let (credit_bytes, batch_bytes) = (16 << 10, 8 << 10);
            return ClientConfig { credit_bytes, batch_bytes, max_outstanding: 4, ..config };
        }
        config
    }

    /// Who moves replicas and trims logs.
    pub(crate) fn operator(&self, history: History) -> Operator {
        let what = (self.cluster.clone(), self.plan.clone());
        let operator = Operator::new(self.world.clone(), what, history, self.followers.clone());
        if self.plan.is_operated() {
            operator.start(self.client_config());
        }
        operator
    }
}

/// How a workload ended.
pub(crate) struct Finished {
    /// What should have ended and did not.
    pub(crate) unfinished: Vec<String>,
    /// The bank, if it was open.
    pub(crate) bank: Option<Bank>,
}

/// Does all the work of a run.
pub(crate) async fn perform(stage: &Stage) -> Finished {
    let unfinished = match stage.plan.workload {
        WorkloadKind::Bank => return bank::perform(stage).await,
        WorkloadKind::HotLock => drive(stage, hot_lock::HotLock).await,
        WorkloadKind::Family => drive(stage, family::Family).await,
        WorkloadKind::ManyPartitions => drive(stage, many_partitions::ManyPartitions).await,
        WorkloadKind::BigRecords => drive(stage, big_records::BigRecords).await,
        WorkloadKind::SlowConsumers => drive(stage, slow_consumers::SlowConsumers).await,
        WorkloadKind::Storms => drive(stage, storms::Storms).await,
    };
    Finished { unfinished, bank: None }
}

/// The hosts that clients of a plan run on.
pub(crate) fn hosts(plan: &Plan) -> Vec<Address> {
    let others: &[&str] = match plan.workload {
        WorkloadKind::Bank => &["consumer", "onlooker", "late"],
        _ => &["onlooker", "late"],
    };
    let others = others.iter().map(|name| Address((*name).to_owned()));
    (0..plan.services).map(service_host).chain(others).collect()
}

pub(crate) fn service_host(index: u32) -> Address {
    Address(format!("service-{}", index + 1))
}

/// Where the consumer runs that comes last.
pub(crate) fn late_host() -> Address {
    Address("late".to_owned())
}

/// A new consumer: with everything to learn or, where logs are trimmed and not archived, with a copy
/// of what another one knows.
fn late<S: State>(stage: &Stage, other: &App<S>) -> Arc<App<S>> {
    let host = late_host();
    match stage.plan.trims() && !stage.plan.archive {
        true => other.copy(host),
        false => App::new(host, stage.witness.clone(), Duration::ZERO),
    }
}
