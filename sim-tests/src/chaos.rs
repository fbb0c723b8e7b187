//! The faults of a run, each kind as often as the plan says, until the storm is over.

use std::fmt;
use std::time::Duration;

use madsim::time::sleep;
use waltz_core::io::Address;
use waltz_core::time::Random;
use waltz_runtime_sim::{Chance, Crash, DiskQuality, Event, Latency, Quality, SimWorld};

use crate::cluster::{Cluster, address};
use crate::plan::Plan;

/// A kind of fault and how to inject one of it.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Power,
    Blackout,
    Split,
    OneWay,
    Reset,
    CoordinatorOutage,
    Duel,
    Pause,
    Jump,
    SlowDisk,
}

/// Injects faults until the storm is over, then calms the world and boots what is down.
pub(crate) async fn storm(world: &SimWorld, cluster: &Cluster, plan: &Plan, clients: &[Address]) {
    if plan.drift {
        let mut random = world.random();
        for host in cluster.addresses().iter().chain(clients) {
            world.clocks().drift(host, (random.bits() % 400_000) as i32 - 200_000);
        }
    }
    if plan.bad_links {
        world.network().set_usual_quality(Quality {
            latency: Latency::micros(50, 5_000),
            loss: Chance::percent(1),
            duplication: Chance::percent(1),
            reset: Chance::per_million(500),
        });
    }
    let kinds = [
        (Fault::Kill, plan.kills),
        (Fault::Power, plan.power),
        (Fault::Blackout, plan.blackouts),
        (Fault::Split, plan.splits),
        (Fault::OneWay, plan.one_way),
        (Fault::Reset, plan.resets),
        (Fault::CoordinatorOutage, plan.coordinator_outages),
        (Fault::Duel, plan.duels),
        (Fault::Pause, plan.pauses),
        (Fault::Jump, plan.jumps),
        (Fault::SlowDisk, plan.slow_disks),
    ];
    let until = world.now() + plan.storm;
    for (fault, every) in kinds {
        let Some(every) = every else {
            continue;
        };
        let injector = Injector {
            world: world.clone(),
            cluster: cluster.clone(),
            nodes: plan.nodes,
            clients: clients.to_vec(),
            random: world.random(),
        };
        drop(madsim::task::spawn(async move {
            let mut injector = injector;
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
    sleep(plan.storm + Duration::from_secs(8)).await;
    world.calm();
    for index in 0..plan.nodes {
        world.resume(&address(index));
        cluster.boot(index);
    }
}

struct Injector {
    world: SimWorld,
    cluster: Cluster,
    nodes: u32,
    clients: Vec<Address>,
    random: Random,
}

impl Injector {
    async fn inject(&mut self, fault: Fault) {
        self.note(format_args!("fault: {fault:?} begins"));
        self.strike(fault).await;
        self.note(format_args!("fault: {fault:?} is over"));
    }

    fn note(&self, text: fmt::Arguments<'_>) {
        self.world.trace().record(self.world.now(), Event::world(text));
    }

    async fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => self.crash(Crash::Process).await,
            Fault::Power => self.crash(Crash::Power).await,
            Fault::Blackout => {
                (0..self.nodes).for_each(|index| self.cluster.crash(index, Crash::Power));
                self.wait(10, 1_000).await;
                (0..self.nodes).for_each(|index| self.cluster.boot(index));
            }
            Fault::Split => {
                let alone = self.node();
                let others = self.hosts().into_iter().filter(|host| *host != alone);
                // Some clients may stay on the lonely side.
                let (mut one, mut other) = (vec![alone.clone()], Vec::new());
                for host in others {
                    let is_client = self.clients.contains(&host);
                    let stays = is_client && self.random.bits().is_multiple_of(3);
                    if stays { one.push(host) } else { other.push(host) }
                }
                self.world.network().partition(&[&one, &other]);
                self.wait(100, 5_000).await;
                self.world.network().heal_all();
            }
            Fault::OneWay => {
                let (from, to) = (self.host(), self.host());
                self.world.network().cut(&from, &to);
                self.wait(100, 5_000).await;
                self.world.network().heal(&from, &to);
            }
            Fault::Reset => {
                let (one, other) = (self.host(), self.host());
                self.world.network().reset(&one, &other, Chance::percent(50));
            }
            Fault::CoordinatorOutage => {
                let host = address(0);
                let others: Vec<_> = self.hosts().into_iter().filter(|o| *o != host).collect();
                self.world.network().partition(&[&[host], &others]);
                self.wait(500, 6_000).await;
                self.world.network().heal_all();
            }
            Fault::Duel => {
                // The coordinator replaces a server that everybody else still reaches.
                let (coordinator, server) = (address(0), self.node());
                self.world.network().partition(&[&[coordinator], &[server]]);
                self.wait(1_000, 8_000).await;
                self.world.network().heal_all();
            }
            Fault::Pause => {
                let host = self.node();
                self.world.pause(&host);
                self.wait(100, 5_000).await;
                self.world.resume(&host);
            }
            Fault::Jump => {
                let (host, jump) = (self.node(), self.millis(10, 10_000));
                self.world.clocks().jump(&host, jump);
            }
            Fault::SlowDisk => {
                let host = self.node();
                let slow = Latency::micros(20_000, 2_000_000);
                let quality = DiskQuality { sync: slow, ..DiskQuality::default() };
                self.world.disks().set_quality(&host, quality);
                self.wait(200, 4_000).await;
                self.world.disks().set_quality(&host, DiskQuality::default());
            }
        }
    }

    async fn crash(&mut self, crash: Crash) {
        let index = (self.random.bits() % u64::from(self.nodes)) as u32;
        self.cluster.crash(index, crash);
        self.wait(1, 3_000).await;
        self.cluster.boot(index);
    }

    async fn wait(&mut self, low_ms: u64, high_ms: u64) {
        let pause = self.millis(low_ms, high_ms);
        sleep(pause).await;
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        self.random.between(Duration::from_millis(low), Duration::from_millis(high))
    }

    fn node(&mut self) -> Address {
        address((self.random.bits() % u64::from(self.nodes)) as u32)
    }

    fn host(&mut self) -> Address {
        let hosts = self.hosts();
        hosts[(self.random.bits() % hosts.len() as u64) as usize].clone()
    }

    fn hosts(&self) -> Vec<Address> {
        self.cluster.addresses().into_iter().chain(self.clients.iter().cloned()).collect()
    }
}
