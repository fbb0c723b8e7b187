//! What happens to whole replicas: for as long as a majority of each set is left.

use waltz_core::journal::{BLOCK_BYTES, segment_name};
use waltz_runtime_sim::Crash;

use super::Injector;
use crate::atlas::SECTOR_BYTES;
use crate::cluster::address;

/// What is lost of a journal at once.
const SMEARED_BYTES: u32 = 16 << 10;
/// The share of a segment that its seals take, after its header.
const SEALS_SHARE: u32 = 8;

impl Injector {
    /// A disk is lost. Its node comes back with an empty one, and counts no more.
    pub(super) fn wipe(&mut self) {
        let Some(index) = self.spare_node() else { return };
        self.note(&[&address(index)], format_args!("its disk is lost"));
        self.cluster.replace_disk(index);
    }

    /// A node never comes back; others have to do its work. A node is left to serve.
    pub(super) fn bury(&mut self) {
        let Some(index) = self.spare_node().filter(|index| self.operator.can_serve_without(*index))
        else {
            return;
        };
        self.note(&[&address(index)], format_args!("it and its disk are lost"));
        self.cluster.bury(index);
    }

    /// A node comes back and can't read part of its journal, which more was written after: neither
    /// the entries nor the seals that would name them.
    pub(super) fn smear(&mut self) {
        let Some(index) = self.spare_node() else { return };
        let (host, Some(disk)) = (address(index), self.cluster.disk(index)) else { return };
        let Some(place) = self.cluster.old_place(index, SMEARED_BYTES.into()) else { return };
        let (file, offset) = (segment_name(place.segment), place.offset);
        self.note(&[&host], format_args!("{SMEARED_BYTES} bytes at {offset} of {file} are lost"));
        self.cluster.suspect(disk);
        self.cluster.crash(index, Crash::Power);
        let seals = BLOCK_BYTES..BLOCK_BYTES + self.operator.plan.segment_bytes / SEALS_SHARE;
        let first = offset - offset % SECTOR_BYTES;
        let batches = first..first + SMEARED_BYTES;
        let sectors = seals.step_by(SECTOR_BYTES as usize);
        for sector in sectors.chain(batches.step_by(SECTOR_BYTES as usize)) {
            let lost = self.world.disks().misdirect(&host, &file, 0, sector.into());
            lost.expect("more was written after it");
        }
        self.cluster.boot(index);
    }

    /// A node whose disk the cluster can do without. Never the coordinator's.
    fn spare_node(&mut self) -> Option<u32> {
        let index = self.index();
        (index > 0 && self.operator.can_do_without(index)).then_some(index)
    }
}
