//! The faults of a run, each kind as often as the plan says, until the storm is over.
//!
//! Each kind draws from a generator of its own, so that a plan without one of them leaves the
//! others as they were.

mod disk;
mod network;
mod process;
mod replicas;

use std::fmt;
use std::time::Duration;

use madsim::time::sleep;
use waltz_core::io::Address;
use waltz_core::time::Random;
use waltz_runtime_sim::{Event, SimWorld};

use crate::cluster::{Cluster, address};
use crate::operator::Operator;
use crate::plan::{FaultKind, Strength};
use crate::story;

/// How long the last fault of a storm may last; everyone is healed then.
const LONGEST: Duration = Duration::from_secs(8);

/// Injects faults until the storm is over, then calms the world, boots what is down, and waits for
/// the operator to settle. Says what did not.
pub(crate) async fn storm(operator: &Operator, clients: &[Address]) -> Vec<String> {
    let Operator { world, cluster, plan, .. } = operator;
    let until = world.now() + plan.storm;
    let seed = world.random().bits();
    network::set_weather(world, plan);
    if plan.archive {
        disk::wear_archive(world);
    }
    let mut injectors = Vec::new();
    for (fault, strength) in &plan.faults {
        let mut injector = Injector {
            world: world.clone(),
            cluster: cluster.clone(),
            operator: operator.clone(),
            nodes: plan.shape.nodes,
            clients: clients.to_vec(),
            random: Random::new(seed ^ fault_seed(*fault)),
        };
        if *fault == FaultKind::Drift {
            injector.drift(*strength);
        }
        if is_weather(*fault) {
            continue;
        }
        let (fault, every) = (*fault, strength.every());
        injectors.push(madsim::task::spawn(async move {
            loop {
                let pause = injector.random.between(every / 2, every * 3 / 2);
                sleep(pause).await;
                if injector.world.now() >= until {
                    return;
                }
                injector.inject(fault).await;
            }
        }));
    }
    let operating = madsim::task::spawn({
        let operator = operator.clone();
        async move { operator.look_after().await }
    });
    let story = madsim::task::spawn({
        let operator = operator.clone();
        async move { if operator.plan.story { story::tell(&operator).await } else { Vec::new() } }
    });
    sleep(plan.storm + LONGEST).await;
    operating.abort();
    world.calm();
    // What needs the newest version of the protocol may be all that an injector still waits for.
    cluster.upgrade();
    for injector in injectors {
        injector.await.expect("every fault ends by itself");
    }
    for index in 0..plan.shape.nodes {
        world.resume(&address(index));
        cluster.boot(index);
    }
    let unsettled = story.await.expect("the story ends");
    match plan.story {
        true => unsettled,
        false => operator.settle().await,
    }
}

/// Whether a kind lasts through the whole storm.
fn is_weather(fault: FaultKind) -> bool {
    matches!(
        fault,
        FaultKind::Loss
            | FaultKind::Duplication
            | FaultKind::Forgetting
            | FaultKind::Delay
            | FaultKind::Drift
    )
}

fn fault_seed(fault: FaultKind) -> u64 {
    u64::from(crc32c::crc32c(fault.name().as_bytes())) << 32
}

/// Injects faults of one kind.
struct Injector {
    world: SimWorld,
    cluster: Cluster,
    operator: Operator,
    nodes: u32,
    clients: Vec<Address>,
    random: Random,
}

impl Injector {
    async fn inject(&mut self, fault: FaultKind) {
        match fault {
            FaultKind::Kill | FaultKind::Power | FaultKind::Blackout => self.crash(fault).await,
            FaultKind::Roll => self.roll().await,
            FaultKind::Pause => self.pause().await,
            FaultKind::Jump => self.jump(),
            FaultKind::Split => self.split().await,
            FaultKind::OneWay => self.cut_one_way().await,
            FaultKind::Flap => self.flap().await,
            FaultKind::Reset => self.reset(),
            FaultKind::SlowLink => self.slow_link().await,
            FaultKind::CoordinatorOutage => self.cut_coordinator_off().await,
            FaultKind::Duel => self.duel().await,
            FaultKind::SlowDisk
            | FaultKind::FailingSync
            | FaultKind::FailingWrite
            | FaultKind::FailingRead
            | FaultKind::FullDisk => self.harm_disk(fault).await,
            FaultKind::Rot | FaultKind::Misdirect => self.harm_record(fault),
            FaultKind::Brink => self.brink().await,
            FaultKind::Wipe => self.wipe(),
            FaultKind::Death => self.bury(),
            FaultKind::Smear => self.smear(),
            FaultKind::Move => self.operator.move_replicas(&mut self.random).await,
            FaultKind::Trim => self.operator.trim(&mut self.random).await,
            FaultKind::Operate => self.operator.operate_node(&mut self.random).await,
            FaultKind::ArchiveOutage => self.take_archive_away().await,
            FaultKind::Grow => self.operator.add_partitions(&mut self.random).await,
            FaultKind::Loss
            | FaultKind::Duplication
            | FaultKind::Forgetting
            | FaultKind::Delay
            | FaultKind::Drift => unreachable!("{fault:?} lasts through the whole storm"),
        }
    }

    fn note(&self, hosts: &[&Address], text: fmt::Arguments<'_>) {
        let text = format_args!("fault: {text}");
        let event = match hosts {
            [one, other] => Event::between(one, other, text),
            [one] => Event::on(one, text),
            _ => Event::world(text),
        };
        self.world.trace().record(self.world.now(), event);
    }

    async fn wait(&mut self, low_ms: u64, high_ms: u64) {
        let pause = self.millis(low_ms, high_ms);
        sleep(pause).await;
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        self.random.between(Duration::from_millis(low), Duration::from_millis(high))
    }

    fn index(&mut self) -> u32 {
        (self.random.bits() % u64::from(self.nodes)) as u32
    }

    fn host(&mut self) -> Address {
        let hosts = self.hosts();
        hosts[(self.random.bits() % hosts.len() as u64) as usize].clone()
    }

    fn hosts(&self) -> Vec<Address> {
        self.cluster.addresses().into_iter().chain(self.clients.iter().cloned()).collect()
    }

    fn drift(&mut self, strength: Strength) {
        let most = i64::from(strength.per_million());
        for host in self.hosts() {
            let ppm = (self.random.bits() % (2 * most as u64 + 1)) as i64 - most;
            self.world.clocks().drift(&host, ppm as i32);
        }
    }
}
