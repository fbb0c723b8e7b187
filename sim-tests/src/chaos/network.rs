//! What happens to links.

use std::slice;

use waltz_core::io::Address;
use waltz_runtime_sim::{Chance, Latency, Quality, SimWorld};

use super::Injector;
use crate::cluster::address;
use crate::plan::{FaultKind, Plan};

/// How well packets travel while the storm lasts.
pub(super) fn set_weather(world: &SimWorld, plan: &Plan) {
    world.network().set_usual_quality(weather(plan));
}

fn weather(plan: &Plan) -> Quality {
    let chance = |fault| {
        let strength = plan.faults.get(&fault);
        strength.map_or(Chance::NEVER, |strength| Chance::per_million(strength.per_million()))
    };
    let calm = Quality::default();
    let delay = plan.faults.get(&FaultKind::Delay);
    Quality {
        latency: delay.map_or(calm.latency, |longest| Latency::micros(50, longest.0)),
        loss: chance(FaultKind::Loss),
        duplication: chance(FaultKind::Duplication),
        reset: chance(FaultKind::Forgetting),
    }
}

impl Injector {
    /// A node is alone; some clients may stay on its side.
    pub(super) async fn split(&mut self) {
        let alone = address(self.index());
        let others: Vec<_> = self.hosts().into_iter().filter(|host| *host != alone).collect();
        let (mut one, mut other) = (vec![alone.clone()], Vec::new());
        for host in others {
            let is_client = self.clients.contains(&host);
            let stays = is_client && self.random.bits().is_multiple_of(3);
            if stays { one.push(host) } else { other.push(host) }
        }
        self.part(&alone, &one, &other, (100, 5_000)).await;
    }

    pub(super) async fn cut_coordinator_off(&mut self) {
        if self.cluster.outside().is_some() {
            let nodes: Vec<u32> = (0..self.nodes).collect();
            return self.cut_from_outside(&nodes, (500, 6_000)).await;
        }
        let host = address(0);
        let others: Vec<_> = self.hosts().into_iter().filter(|other| *other != host).collect();
        self.part(&host, slice::from_ref(&host), &others, (500, 6_000)).await;
    }

    /// The coordinator replaces a server that everybody else still reaches.
    pub(super) async fn duel(&mut self) {
        let index = self.index();
        if self.cluster.outside().is_some() {
            return self.cut_from_outside(&[index], (1_000, 8_000)).await;
        }
        let (coordinator, server) = (address(0), address(index));
        self.part(&server, &[coordinator], slice::from_ref(&server), (1_000, 8_000)).await;
    }

    /// Nodes lose the coordinator that is outside.
    async fn cut_from_outside(&mut self, nodes: &[u32], (low_ms, high_ms): (u64, u64)) {
        let Some(outside) = self.cluster.outside().cloned() else { return };
        let hosts: Vec<_> = nodes.iter().copied().map(address).collect();
        self.note(&[&hosts[0]], format_args!("{} lose the coordinator", names(&hosts)));
        nodes.iter().for_each(|index| outside.cut(*index, true));
        self.wait(low_ms, high_ms).await;
        self.note(&[&hosts[0]], format_args!("{} have the coordinator again", names(&hosts)));
        nodes.iter().for_each(|index| outside.cut(*index, false));
    }

    async fn part(&mut self, of: &Address, one: &[Address], other: &[Address], ms: (u64, u64)) {
        self.note(&[of], format_args!("{} are cut off from {}", names(one), names(other)));
        self.world.network().partition(&[one, other]);
        self.wait(ms.0, ms.1).await;
        self.note(&[of], format_args!("{} reach {} again", names(one), names(other)));
        for (here, there) in one.iter().flat_map(|here| other.iter().map(move |to| (here, to))) {
            self.world.network().heal(here, there);
            self.world.network().heal(there, here);
        }
    }

    pub(super) async fn cut_one_way(&mut self) {
        let (from, to) = (self.host(), self.host());
        self.note(&[&from, &to], format_args!("cut one way, to {to}"));
        self.world.network().cut(&from, &to);
        self.wait(100, 5_000).await;
        self.note(&[&from, &to], format_args!("open again, to {to}"));
        self.world.network().heal(&from, &to);
    }

    /// Often one way only: the other may be sound.
    pub(super) async fn flap(&mut self) {
        let (one, other) = (self.host(), self.host());
        let (up, down) = (self.millis(20, 800), self.millis(20, 1_500));
        let both = self.random.bits().is_multiple_of(2);
        self.note(&[&one, &other], format_args!("flaps, up {up:?}, down {down:?}, both: {both}"));
        self.world.network().flap(&one, &other, up, down);
        if both {
            self.world.network().flap(&other, &one, up, down);
        }
        self.wait(500, 6_000).await;
        self.note(&[&one, &other], format_args!("flaps no more"));
        self.world.network().heal(&one, &other);
        self.world.network().heal(&other, &one);
    }

    pub(super) fn reset(&mut self) {
        let (one, other) = (self.host(), self.host());
        self.note(&[&one, &other], format_args!("connections are reset"));
        self.world.network().reset(&one, &other, Chance::percent(50));
    }

    /// Each packet of the link draws its own delay, while other links are as fast as before: what
    /// was sent later on another connection arrives first.
    pub(super) async fn slow_link(&mut self) {
        let (one, other) = (self.host(), self.host());
        let usual = self.world.network().quality(&one, &other);
        let longest = 10_000 + self.random.bits() % 1_500_000;
        let slow = Quality { latency: Latency::micros(1_000, longest), ..usual };
        self.note(&[&one, &other], format_args!("slow, up to {longest} us"));
        self.world.network().set_quality(&one, &other, slow);
        self.world.network().set_quality(&other, &one, slow);
        self.wait(200, 5_000).await;
        self.note(&[&one, &other], format_args!("slow no more"));
        self.world.network().set_quality(&one, &other, usual);
        self.world.network().set_quality(&other, &one, usual);
    }
}

fn names(hosts: &[Address]) -> String {
    hosts.iter().map(|host| host.0.as_str()).collect::<Vec<_>>().join("+")
}
