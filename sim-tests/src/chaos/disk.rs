//! What happens to disks, and to the archive.

use waltz_core::journal::segment_name;
use waltz_runtime_sim::{Chance, DiskQuality, Latency, SimWorld};

use super::Injector;
use crate::atlas::SECTOR_BYTES;
use crate::cluster::{address, host_of};
use crate::plan::FaultKind;

/// Until the storm is over, so many of a hundred requests to the archive's store fail.
const FAILING_REQUESTS: u32 = 10;
/// And so many are slow: what is read may be trimmed meanwhile, and who reads it killed or replaced.
const SLOW_REQUESTS: u32 = 20;

/// The archive's store is slow and fails now and then.
pub(super) fn wear_archive(world: &SimWorld) {
    world.store().change_quality(|quality| {
        quality.failing = Chance::percent(FAILING_REQUESTS);
        quality.slow = Chance::percent(SLOW_REQUESTS);
    });
}

impl Injector {
    /// The archive's store is away for a while.
    pub(super) async fn take_archive_away(&mut self) {
        self.note(&[], format_args!("the archive is away"));
        self.world.store().change_quality(|quality| quality.is_away = true);
        self.wait(200, 4_000).await;
        self.note(&[], format_args!("the archive is back"));
        self.world.store().change_quality(|quality| quality.is_away = false);
    }

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

    /// Harms one run of records on one disk, unless it holds the last good copy of any of them.
    pub(super) fn harm_record(&mut self, fault: FaultKind) {
        let Some((disk, place)) = self.operator.spare_run(&mut self.random) else {
            return;
        };
        let host = host_of(disk.node);
        let file = segment_name(place.segment);
        let offset = u64::from(place.offset) + self.random.bits() % u64::from(place.length.max(1));
        self.note(&[&host], format_args!("{} at {offset} of {file}", fault.name()));
        let harmed = if fault == FaultKind::Rot {
            self.world.disks().flip(&host, &file, offset, self.random.bits() as u8)
        } else {
            // The segment's header strays: what belongs there is as it was.
            self.world.disks().misdirect(&host, &file, 0, offset - offset % u64::from(SECTOR_BYTES))
        };
        harmed.expect("the atlas knows what is on the disk");
    }
}
