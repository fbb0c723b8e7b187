//! What happens to processes and their clocks.

use std::time::Duration;

use madsim::time::{sleep, timeout};
use waltz_runtime_sim::Crash;

use super::Injector;
use crate::cluster::address;
use crate::plan::FaultKind;

impl Injector {
    pub(super) async fn crash(&mut self, fault: FaultKind) {
        let crash = if fault == FaultKind::Kill { Crash::Process } else { Crash::Power };
        let one = self.index();
        let struck = if fault == FaultKind::Blackout { 0..self.nodes } else { one..one + 1 };
        for index in struck.clone() {
            self.note(&[&address(index)], format_args!("{}", fault.name()));
            self.cluster.crash(index, crash);
        }
        self.wait(1, 3_000).await;
        struck.for_each(|index| self.cluster.boot(index));
    }

    /// Power fails while something that a session stands on is on its way to some disk.
    pub(super) async fn brink(&mut self) {
        let Ok(Ok(disk)) = timeout(Duration::from_secs(2), self.operator.history.brink()).await
        else {
            return;
        };
        let moment = self.random.between(Duration::ZERO, Duration::from_micros(500));
        sleep(moment).await;
        let index = disk.node.0 - 1;
        self.note(&[&address(index)], format_args!("power, on the brink"));
        self.cluster.crash(index, Crash::Power);
        self.wait(1, 300).await;
        self.cluster.boot(index);
    }

    /// One step of a rolling upgrade, or of going back.
    pub(super) async fn roll(&mut self) {
        let (index, version) = self.cluster.roll();
        self.note(&[&address(index)], format_args!("rolled to version {version}"));
        self.cluster.crash(index, Crash::Process);
        self.wait(1, 500).await;
        self.cluster.boot(index);
    }

    pub(super) async fn pause(&mut self) {
        let host = address(self.index());
        self.note(&[&host], format_args!("paused"));
        self.world.pause(&host);
        self.wait(100, 5_000).await;
        self.note(&[&host], format_args!("goes on"));
        self.world.resume(&host);
    }

    pub(super) fn jump(&mut self) {
        let (host, jump) = (address(self.index()), self.millis(10, 10_000));
        self.note(&[&host], format_args!("its clock jumps by {jump:?}"));
        self.world.clocks().jump(&host, jump);
    }
}
