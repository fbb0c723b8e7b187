//! The bank of a run: service instances on hosts of their own, a consumer, and an onlooker.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use madsim::time::{sleep, timeout};
use tokio::sync::mpsc;
use waltz_bank::{
    AccountId, Database, Ended, Ending, Jobs, Operation, Projection, Service, Tally, Transfers,
};
use waltz_client::{Client, ClientConfig};
use waltz_core::id::PartitionId;
use waltz_core::io::Address;
use waltz_runtime_sim::{SimRuntime, SimWorld};

use crate::cluster::Cluster;
use crate::plan::Plan;
use crate::witness::{Onlooker, Witness};

/// What accounts open with.
pub(crate) const OPENING_CENTS: i64 = 10_000;
/// How long, after the faults have stopped, everything begun may take to end.
const PATIENCE: Duration = Duration::from_secs(90);
/// Longer than any run: in the simulation nobody gives up.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// What the bank shares between its hosts.
#[derive(Clone)]
pub(crate) struct Bank {
    pub(crate) tally: Tally,
    pub(crate) shared: Database,
    pub(crate) derived: Database,
    services: Arc<Mutex<Vec<Service<SimRuntime>>>>,
    followers: Arc<Mutex<Vec<Client>>>,
}

/// A running bank.
pub(crate) struct Running {
    bank: Bank,
    queue: mpsc::Sender<Vec<Operation>>,
    ends: mpsc::UnboundedReceiver<Ended>,
}

/// The hosts that clients run on.
pub(crate) fn hosts(plan: &Plan) -> Vec<Address> {
    let services = (0..plan.services).map(service_host);
    services.chain([Address("consumer".into()), Address("onlooker".into())]).collect()
}

fn service_host(index: u32) -> Address {
    Address(format!("service-{}", index + 1))
}

impl Running {
    /// Starts every client of the bank; they connect when they can.
    pub(crate) fn start(
        world: &SimWorld,
        cluster: &Cluster,
        plan: &Plan,
        witness: &Witness,
    ) -> Self {
        let in_memory = |projection| {
            let database = Database::in_memory(projection, OPENING_CENTS);
            database.expect("SQLite opens a database in memory")
        };
        let bank = Bank {
            tally: Tally::new(),
            shared: in_memory(Projection::Balances),
            derived: in_memory(Projection::Statements),
            services: Arc::default(),
            followers: Arc::default(),
        };
        let addresses = cluster.addresses().into_iter().map(|address| address.0);
        let config = ClientConfig::new(addresses)
            .connect_timeout(FOR_EVER)
            .mount_timeout(FOR_EVER)
            .request_timeout(FOR_EVER);
        let (queue, jobs) = Jobs::queue(1);
        let (ended, ends) = mpsc::unbounded_channel();
        for index in 0..plan.services {
            let (bank, config, jobs) = (bank.clone(), config.clone(), jobs.clone());
            let (ended, workers) = (ended.clone(), plan.workers);
            drop(world.start(&service_host(index), move |host| async move {
                let (database, tally) = (bank.shared.clone(), bank.tally.clone());
                let service = Service::connect(host.runtime(), config, database, tally).await;
                let service = service.expect("nobody gives up");
                service.work(&jobs, workers, &ended);
                drop((jobs, ended));
                lock(&bank.followers).push(service.client().clone());
                lock(&bank.services).push(service);
                std::future::pending::<()>().await;
            }));
        }
        let (following, consumer_config) = (bank.clone(), config.clone());
        drop(world.start(&Address("consumer".into()), move |host| async move {
            let (database, tally) = (following.derived.clone(), following.tally.clone());
            let consumer = Service::connect(host.runtime(), consumer_config, database, tally).await;
            lock(&following.followers).push(consumer.expect("nobody gives up").client().clone());
            std::future::pending::<()>().await;
        }));
        let (following, witness) = (bank.clone(), witness.clone());
        drop(world.start(&Address("onlooker".into()), move |host| async move {
            let onlooker = Onlooker::new(host.address().clone(), witness);
            let client = Client::connect_on(host.runtime(), config, onlooker).await;
            lock(&following.followers).push(client.expect("nobody gives up"));
            std::future::pending::<()>().await;
        }));
        Self { bank, queue, ends }
    }

    /// What outlives the work.
    pub(crate) fn bank(&self) -> Bank {
        self.bank.clone()
    }

    /// Submits every transfer, spread over the storm, and waits for every end and every follower.
    /// Says what did not end.
    pub(crate) async fn finish(self, plan: &Plan, seed: u64) -> Vec<String> {
        let Self { bank, queue, mut ends } = self;
        let transfers = Transfers::new(seed, plan.accounts, plan.partitions, plan.transfers);
        let pause = plan.storm / u32::try_from(plan.transfers).expect("a plan is small");
        let patience = plan.storm + Duration::from_secs(10) + PATIENCE;
        let work = async {
            for transfer in transfers {
                sleep(pause).await;
                if queue.send(vec![transfer]).await.is_err() {
                    break;
                }
            }
            drop(queue);
            let mut ended = 0;
            while ends.recv().await.is_some() {
                ended += 1;
            }
            ended
        };
        let mut unfinished = Vec::new();
        match timeout(patience, work).await {
            Ok(ended) if ended == plan.transfers => {}
            Ok(ended) => unfinished.push(format!("{ended} of {} submits ended", plan.transfers)),
            Err(_) => {
                let totals = bank.tally.totals();
                unfinished.push(format!("some submits did not end: {totals:?}"));
                return unfinished;
            }
        }
        unfinished.extend(bank.prove_alive(plan).await);
        unfinished
    }
}

impl Bank {
    /// Every partition takes one more entry, and every follower reaches the end.
    async fn prove_alive(&self, plan: &Plan) -> Vec<String> {
        let mut unfinished = Vec::new();
        let service = lock(&self.services).first().cloned();
        let Some(service) = service else {
            return vec!["no service ever connected".to_owned()];
        };
        for partition in 0..plan.partitions {
            let account =
                (0..).map(AccountId).find(|a| a.partition(plan.partitions).0 == partition);
            let account = account.expect("every partition has accounts");
            let number = plan.transfers + 1 + u64::from(partition);
            let entry = Operation::Entry { number, account, cents: 0 };
            match timeout(PATIENCE, service.perform(entry)).await {
                Ok(Ended { ending: Ending::Committed(_), .. }) => {}
                other => unfinished.push(format!("an entry in p{partition}: {other:?}")),
            }
        }
        let followers = lock(&self.followers).clone();
        for (index, client) in followers.iter().enumerate() {
            match timeout(PATIENCE, client.flush()).await {
                Ok(Ok(())) => {}
                other => {
                    let marks =
                        (0..plan.partitions).map(|p| client.high_water_mark(PartitionId(p)));
                    let marks: Vec<_> = marks.map(|mark| mark.map(|mark| mark.count())).collect();
                    let text =
                        format!("follower {index} is at {marks:?} and no further: {other:?}");
                    unfinished.push(text);
                }
            }
        }
        if followers.len() != plan.services as usize + 2 {
            unfinished.push(format!("only {} clients ever connected", followers.len()));
        }
        unfinished
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
