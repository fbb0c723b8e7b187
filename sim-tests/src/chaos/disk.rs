//! What happens to disks.

use waltz_runtime_sim::{Chance, DiskQuality, Latency};

use super::Injector;
use crate::cluster::address;
use crate::plan::FaultKind;

impl Injector {
    /// A disk has a fault for a while. A node that stops because of it is booted again when the
    /// fault is over.
    pub(super) async fn harm_disk(&mut self, fault: FaultKind) {
        let index = self.index();
        let host = address(index);
        self.note(&[&host], format_args!("{}", fault.name()));
        let (used, sound) = (self.world.disks().used_bytes(&host), DiskQuality::default());
        self.world.disks().change_quality(&host, |quality| match fault {
            FaultKind::FailingSync => quality.failing_sync = Chance::percent(50),
            FaultKind::FailingWrite => quality.failing_write = Chance::percent(50),
            FaultKind::FailingRead => quality.failing_read = Chance::percent(50),
            FaultKind::FullDisk => quality.capacity_bytes = used,
            _ => quality.sync = Latency::micros(20_000, 2_000_000),
        });
        self.wait(200, 4_000).await;
        self.note(&[&host], format_args!("{} no more", fault.name()));
        self.world.disks().change_quality(&host, |quality| match fault {
            FaultKind::FailingSync => quality.failing_sync = sound.failing_sync,
            FaultKind::FailingWrite => quality.failing_write = sound.failing_write,
            FaultKind::FailingRead => quality.failing_read = sound.failing_read,
            FaultKind::FullDisk => quality.capacity_bytes = sound.capacity_bytes,
            _ => quality.sync = sound.sync,
        });
        self.cluster.revive(index);
    }
}
