//! The bank of a run: service instances on hosts of their own that share a database, a consumer
//! with a database of its own, one that comes late, and an onlooker.

use std::sync::Arc;
use std::time::Duration;

use madsim::time::{sleep, timeout};
use tokio::sync::oneshot;
use waltz_bank::{
    AccountId, Database, Ended, Ending as BankEnding, Operation, Projection, Service, Tally,
    Transfers,
};
use waltz_client::{Client, PartitionId};
use waltz_core::io::Address;
use waltz_runtime_sim::SimRuntime;

use super::app::{App, Callbacks};
use super::drive::{UNTIL_ROOM, is_full};
use super::queue::{Queue, spread};
use super::{Finished, PATIENCE, Stage, service_host};
use crate::operations::{Ending, Number, Operations};

/// What accounts open with.
pub(crate) const OPENING_CENTS: i64 = 10_000;

/// What the bank leaves.
pub(crate) struct Bank {
    pub(crate) tally: Tally,
    pub(crate) shared: Database,
    pub(crate) derived: Database,
}

/// Runs the bank.
pub(crate) async fn perform(stage: &Stage) -> Finished {
    let in_memory = |projection| {
        let database = Database::in_memory(projection, OPENING_CENTS);
        database.expect("SQLite opens a database in memory")
    };
    let bank = Bank {
        tally: Tally::new(),
        shared: in_memory(Projection::Balances),
        derived: in_memory(Projection::Statements),
    };
    let unfinished = match timeout(stage.plan.storm + PATIENCE, staff(stage, &bank)).await {
        Ok(staff) => work(stage, &bank, staff).await,
        Err(_) => vec!["some client never connected".to_owned()],
    };
    Finished { unfinished, bank: Some(bank) }
}

/// Everyone who is connected.
struct Staff {
    services: Vec<Service<SimRuntime>>,
    followers: Vec<Client>,
    onlooker: Arc<App<()>>,
}

async fn staff(stage: &Stage, bank: &Bank) -> Staff {
    for database in [bank.shared.clone(), bank.derived.clone()] {
        let mark = move |partition| database.mark(partition).expect("SQLite reads from memory");
        stage.followers.add(mark);
    }
    let mut services = Vec::new();
    for index in 0..stage.plan.services {
        let database = bank.shared.clone();
        services.push(connect(stage, service_host(index), database, &bank.tally).await);
    }
    let mut followers: Vec<_> = services.iter().map(|service| service.client().clone()).collect();
    let consumer = Address("consumer".into());
    let consumer = connect(stage, consumer, bank.derived.clone(), &bank.tally).await;
    let onlooker = App::new(Address("onlooker".into()), stage.witness.clone(), Duration::ZERO);
    followers.extend([consumer.client().clone(), look_on(stage, onlooker.clone()).await]);
    stage.followers.complete();
    Staff { services, followers, onlooker }
}

async fn connect(
    stage: &Stage,
    host: Address,
    database: Database,
    tally: &Tally,
) -> Service<SimRuntime> {
    let (sender, receiver) = oneshot::channel();
    let (config, tally) = (stage.client_config(), tally.clone());
    let partitions = stage.plan.shape.partitions;
    drop(stage.world.start(&host, move |host| async move {
        let service = Service::connect(host.runtime(), config, partitions, database, tally).await;
        // Nobody waits any more if the run is over.
        let _ = sender.send(service.expect("nobody gives up"));
        std::future::pending::<()>().await;
    }));
    receiver.await.expect("nobody kills a bank's processes")
}

/// A client that follows every partition.
async fn look_on(stage: &Stage, app: Arc<App<()>>) -> Client {
    let (sender, receiver) = oneshot::channel();
    let (config, host) = (stage.client_config(), app.host().clone());
    let follower = app.clone();
    stage.followers.add(move |partition| follower.mark(partition));
    drop(stage.world.start(&host, move |host| async move {
        let client = Client::connect_on(host.runtime(), config, Callbacks(app)).await;
        // Nobody waits any more if the run is over.
        let _ = sender.send(client.expect("nobody gives up"));
        std::future::pending::<()>().await;
    }));
    receiver.await.expect("nobody kills an onlooker")
}

/// Submits every transfer, spread over the storm, and waits for every end and every follower.
/// Says what did not end.
async fn work(stage: &Stage, bank: &Bank, mut staff: Staff) -> Vec<String> {
    let patience = stage.plan.storm + Duration::from_secs(10) + PATIENCE;
    if timeout(patience, transfer(stage, &staff.services)).await.is_err() {
        return vec![format!("some submits did not end: {:?}", bank.tally.totals())];
    }
    let late = super::late(stage, &staff.onlooker);
    match timeout(PATIENCE, look_on(stage, late)).await {
        Ok(late) => staff.followers.push(late),
        Err(_) => return vec!["a late consumer never connected".to_owned()],
    }
    prove_alive(stage, &staff).await
}

async fn transfer(stage: &Stage, services: &[Service<SimRuntime>]) {
    let plan = &stage.plan;
    let (sender, transfers) = Queue::<Operation>::new();
    let mut workers = Vec::new();
    for service in services.iter().flat_map(|one| std::iter::repeat_n(one, plan.workers)) {
        let (stage, service, transfers) = (stage.clone(), service.clone(), transfers.clone());
        workers.push(madsim::task::spawn(async move {
            while let Some(transfer) = transfers.next().await {
                submit(&stage, &service, transfer).await;
            }
        }));
    }
    drop(transfers);
    let (accounts, partitions) = (accounts(stage), plan.shape.partitions);
    let work = Transfers::new(stage.seed, accounts, partitions, plan.operations);
    spread(plan, work, sender, workers).await;
}

/// Few accounts make many conflicts.
fn accounts(stage: &Stage) -> u64 {
    let partitions = u64::from(stage.plan.shape.partitions);
    (8 + stage.seed % 32).max(2 * partitions)
}

async fn submit(stage: &Stage, service: &Service<SimRuntime>, operation: Operation) -> BankEnding {
    let operations: &Operations = &stage.operations;
    // Nobody kills a service of the bank: each of its operations is told its end.
    let (number, life) = (Number(operation.number()), operations.live());
    operations.begin(number, operation.account().partition(stage.plan.shape.partitions), life);
    let Ended { ending, .. } = service.perform(operation).await;
    operations.end(
        number,
        match &ending {
            BankEnding::Committed(id) => Ending::Committed(*id),
            BankEnding::Ignored => Ending::Never("ignored".to_owned()),
            BankEnding::Failed(reason) => Ending::Never(reason.clone()),
            BankEnding::InDoubt => Ending::InDoubt,
        },
    );
    ending
}

/// Every partition takes one more entry, and every follower reaches the end.
async fn prove_alive(stage: &Stage, staff: &Staff) -> Vec<String> {
    let (plan, mut unfinished) = (&stage.plan, Vec::new());
    let partitions = plan.shape.partitions;
    for partition in 0..partitions {
        let account = (0..).map(AccountId).find(|a| a.partition(partitions).0 == partition);
        let account = account.expect("every partition has accounts");
        let first = plan.operations + 1 + u64::from(partition);
        let mut numbers = (first..).step_by(partitions as usize);
        let entered = async {
            loop {
                let number = numbers.next().expect("they don't end");
                let entry = Operation::Entry { number, account, cents: 0 };
                match submit(stage, &staff.services[0], entry).await {
                    BankEnding::Failed(reason) if is_full(&reason) => sleep(UNTIL_ROOM).await,
                    ending => return ending,
                }
            }
        };
        match timeout(PATIENCE, entered).await {
            Ok(BankEnding::Committed(_)) => {}
            other => unfinished.push(format!("an entry in p{partition}: {other:?}")),
        }
    }
    for (index, client) in staff.followers.iter().enumerate() {
        match timeout(PATIENCE, client.flush()).await {
            Ok(Ok(())) => {}
            other => {
                let marks = (0..partitions).map(|p| client.high_water_mark(PartitionId(p)));
                let marks: Vec<_> = marks.map(|mark| mark.map(|mark| mark.count())).collect();
                let text = format!("follower {index} is at {marks:?} and no further: {other:?}");
                unfinished.push(text);
            }
        }
    }
    unfinished
}
