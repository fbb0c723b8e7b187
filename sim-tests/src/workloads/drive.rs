//! Runs a workload: instances on hosts of their own, its steps spread over the storm, and a proof
//! of life when the storm is over.

use std::sync::Arc;
use std::time::Duration;

use madsim::time::{sleep, timeout};
use waltz_client::{AppendRefusal, ClientConfig, PartitionId};
use waltz_core::io::Address;
use waltz_core::time::Random;

use super::app::{App, State};
use super::instance::Instance;
use super::queue::{Queue, spread};
use super::wish::{Numbers, Patience, Wish};
use super::{PATIENCE, Stage, late, service_host};
use crate::operations::Ending;

/// In so many steps of any work an instance makes sure once that it is current.
const FLUSH_EVERY: u64 = 8;

/// In so many milliseconds an append is sent, and often not decided yet.
const SHORT_MS: u64 = 40;

/// One kind of work, and what its application computes from the log.
pub(crate) trait Workload: Clone + Send + Sync + 'static {
    /// The application's memory.
    type State: State;

    /// How the instance of this number follows the log: how long a transaction takes it, and what
    /// else its client is told.
    fn follow(&self, _index: u32, config: ClientConfig) -> (Duration, ClientConfig) {
        (Duration::ZERO, config)
    }

    /// Does one step of the work.
    fn step(&self, instance: &Instance<Self::State>, step: Step)
    -> impl Future<Output = ()> + Send;
}

/// One step of a workload: which, in which cluster, and luck of its own.
pub(crate) struct Step {
    pub(crate) partitions: u32,
    pub(crate) random: Random,
}

impl Step {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.random.bits() % bound
    }

    /// How long to wait for what is asked for: to the end, or up to so many milliseconds, and often
    /// only as long as a message is on its way.
    pub(crate) fn patience(&mut self, longest_ms: u64) -> Patience {
        let longest_ms = if self.below(2) == 0 { longest_ms } else { SHORT_MS };
        let time = Duration::from_millis(1 + self.below(longest_ms));
        match self.below(4) {
            0 => Patience::Until(time),
            1 => Patience::Withdrawn(time),
            _ => Patience::Endless,
        }
    }

    pub(crate) fn partition(&mut self) -> PartitionId {
        PartitionId(self.below(self.partitions.into()) as u32)
    }
}

/// Runs all steps, and says what did not end when everything should.
pub(crate) async fn drive<W: Workload>(stage: &Stage, workload: W) -> Vec<String> {
    let numbers = Numbers::default();
    let mut instances = Vec::new();
    for index in 0..stage.plan.services {
        let (pace, config) = workload.follow(index, stage.client_config());
        let app = App::new(service_host(index), stage.witness.clone(), pace);
        let starting = start(stage, config, app, numbers.clone());
        match timeout(stage.plan.storm + PATIENCE, starting).await {
            Ok(instance) => instances.push(instance),
            Err(_) => return vec![format!("{} never connected", service_host(index))],
        }
    }
    let onlooker =
        App::<()>::new(Address("onlooker".into()), stage.witness.clone(), Duration::ZERO);
    let onlooker = start(stage, stage.client_config(), onlooker, numbers.clone()).await;
    stage.followers.complete();
    let work = work(stage, &workload, &instances);
    if timeout(stage.plan.storm + Duration::from_secs(10) + PATIENCE, work).await.is_err() {
        return vec!["some steps did not end".to_owned()];
    }
    let late = start(stage, stage.client_config(), late(stage, instances[0].app()), numbers);
    let Ok(late) = timeout(PATIENCE, late).await else {
        return vec!["a late consumer never connected".to_owned()];
    };
    let mut unfinished = prove_alive(stage, &instances[0]).await;
    for instance in instances.iter().chain([&late]) {
        unfinished.extend(reach_the_end(stage, instance).await);
    }
    unfinished.extend(reach_the_end(stage, &onlooker).await);
    for instance in &instances {
        if timeout(PATIENCE, instance.settle()).await.is_err() {
            unfinished.push(format!("{} waits for what became of doubts", instance.host()));
        }
    }
    unfinished
}

async fn start<S: State>(
    stage: &Stage,
    config: ClientConfig,
    app: Arc<App<S>>,
    numbers: Numbers,
) -> Instance<S> {
    let follower = app.clone();
    stage.followers.add(move |partition| follower.mark(partition));
    let history = (stage.operations.clone(), numbers);
    Instance::start(&stage.world, (app.host().clone(), config), app, history).await
}

/// Spreads the steps over the storm and over the workers of all instances.
async fn work<W: Workload>(stage: &Stage, workload: &W, instances: &[Instance<W::State>]) {
    let plan = &stage.plan;
    let (sender, steps) = Queue::<Step>::new();
    let mut workers = Vec::new();
    for instance in instances.iter().flat_map(|one| std::iter::repeat_n(one, plan.workers)) {
        let (workload, instance, steps) = (workload.clone(), instance.clone(), steps.clone());
        workers.push(madsim::task::spawn(async move {
            while let Some(mut step) = steps.next().await {
                if step.random.bits().is_multiple_of(FLUSH_EVERY) {
                    drop(instance.flush(step.partitions).await);
                }
                workload.step(&instance, step).await;
            }
        }));
    }
    drop(steps);
    let (mut random, partitions) = (stage.world.random(), plan.shape.partitions);
    let step = |_| Step { partitions, random: Random::new(random.bits()) };
    spread(plan, (0..plan.operations).map(step), sender, workers).await;
    // Whatever had no time to happen during the storm happens after it.
    sleep(Duration::from_millis(1)).await;
}

/// Every partition takes one more record.
async fn prove_alive<S: State>(stage: &Stage, instance: &Instance<S>) -> Vec<String> {
    let mut unfinished = Vec::new();
    for partition in (0..stage.plan.shape.partitions).map(PartitionId) {
        match timeout(PATIENCE, submit_last(instance, partition)).await {
            Ok(Ending::Committed(_)) => {}
            other => unfinished.push(format!("a last record in {partition}: {other:?}")),
        }
    }
    unfinished
}

/// As often as it is refused because disks are full.
async fn submit_last<S: State>(instance: &Instance<S>, partition: PartitionId) -> Ending {
    loop {
        let wish = |_: &S| Some(Wish { header: LAST, ..Wish::default() });
        match instance.submit(partition, Patience::Endless, wish).await {
            Ending::Never(reason) if is_full(&reason) => sleep(UNTIL_ROOM).await,
            ending => return ending,
        }
    }
}

/// Nodes notice only after a while that their disks have room again, and a partition at its quota
/// waits for the operator.
pub(super) const UNTIL_ROOM: Duration = Duration::from_millis(100);

/// Whether a record was refused because disks are full.
pub(super) fn is_full(reason: &str) -> bool {
    reason.contains(&AppendRefusal::Full.to_string())
}

/// The header of the records that prove that a partition is alive: they change nothing.
pub(crate) const LAST: u32 = u32::MAX;

/// The instance applies everything that is committed.
async fn reach_the_end<S: State>(stage: &Stage, instance: &Instance<S>) -> Option<String> {
    let partitions = stage.plan.shape.partitions;
    match timeout(PATIENCE, instance.flush(partitions)).await {
        Ok(Ok(())) => None,
        other => {
            let marks = (0..partitions).map(|p| instance.app().mark(PartitionId(p)).count());
            let marks: Vec<_> = marks.collect();
            Some(format!("{} is at {marks:?} and no further: {other:?}", instance.host()))
        }
    }
}
