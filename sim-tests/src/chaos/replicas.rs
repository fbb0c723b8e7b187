//! What happens to whole replicas: for as long as a majority of each set is left.

use waltz_core::journal::segment_name;
use waltz_runtime_sim::Crash;

use super::Injector;
use crate::atlas::SECTOR_BYTES;
use crate::cluster::address;

/// What is lost of a journal at once.
const SMEARED_BYTES: u64 = 16 << 10;

impl Injector {
    /// A disk is lost. Its node comes back with an empty one, and counts no more.
    pub(super) async fn wipe(&mut self) {
        let Some(index) = self.spare_node() else { return };
        self.note(&[&address(index)], format_args!("its disk is lost"));
        self.cluster.replace_disk(index);
    }

    /// A node comes back and can't read part of its journal, which more was written after: neither
    /// the entries nor the seals that would name them.
    pub(super) async fn smear(&mut self) {
        let Some(index) = self.spare_node() else { return };
        let host = address(index);
        let Some(place) = self.cluster.old_place(index, SMEARED_BYTES) else { return };
        let (file, offset) = (segment_name(place.segment), u64::from(place.offset));
        self.note(&[&host], format_args!("{SMEARED_BYTES} bytes at {offset} of {file} are lost"));
        self.cluster.crash(index, Crash::Power);
        let first = offset - offset % u64::from(SECTOR_BYTES);
        for sector in (first..first + SMEARED_BYTES).step_by(SECTOR_BYTES as usize) {
            let lost = self.world.disks().misdirect(&host, &file, 0, sector);
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
